"""Frequencies from what tailwag writes: tables of counts, captions and estimates, JSON answers, the saved counts.

Not here: the release's files (`released.py`), which file has which layout (`reading.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailwag.errors import BadInput, NotFound

from .json_files import read_counts, read_json
from .points import FREQUENCY_COLUMNS, Exclusion, Frequencies
from .raw_tables import RawTable, number, text

if TYPE_CHECKING:
    from ...embed.database import Database

REPEATED_COUNT = "the same count again"
NO_NUMBER = "no count"
# A caption's vector compared as an image's is: a side of its own, which is no count of words.
SIDES_READ = ("image", "caption", "joint", "text")
CAPTION_RULES = ("words", "phrase", "paper")
_TEXTS = ("pretraining", "corpus", "side", "task", "concept", "control", "grade")
_NUMBERS = ("count", "rows", "estimate", "lower", "upper", "threshold")
# Columns that tailwag's own tables have beside those: known, and of no use here.
_KNOWN_UNUSED = (
    *("corpus_version", "recipe", "threshold_source", "share", "both_count", "margin_count", "confidence"),
    *("approximate", "method", "hits", "sampled", "run", "created", "space"),
    *("rule", "expected", "lift", "unseen_share", "unnamed_share"),
)
_JOINT_COLUMNS = ("joint", "joint_count", "mention_count")
_CAPTION_COLUMNS = ("caption", "caption_count")


@dataclass(frozen=True)
class Choice:
    """Which of a table's counts are meant; None leaves it to the table, which then must hold but one.

    Attributes
    ----------
    pretraining
        What to call the pretraining set, instead of the corpus's name.
    side
        ``image``, ``caption``, ``joint`` or ``text``; None takes every side there is. Counts of a table that says no
        side are of this one, of ``image`` for None.
    threshold
        Of the similarity.
    control
        The control's name; ``""`` for the counts of all rows.
    task
        The test set that the counts are for; None: what the table says, else every one.
    caption_rule
        Which count of a table of captions: ``words``, ``phrase`` or ``paper``.
    """

    pretraining: str | None = None
    side: str | None = None
    threshold: float | None = None
    control: str | None = None
    task: str | None = None
    caption_rule: str = "words"

    def __post_init__(self) -> None:
        if self.side is not None and self.side not in SIDES_READ:
            raise BadInput(f"there is no side {self.side!r}; there are {', '.join(SIDES_READ)}")
        if self.caption_rule not in CAPTION_RULES:
            raise BadInput(f"there is no caption rule {self.caption_rule!r}; there are {', '.join(CAPTION_RULES)}")


def frequencies_of_table(raw: RawTable, choice: Choice | None = None) -> Frequencies:
    """Read the counts of a CSV or parquet file.

    Parameters
    ----------
    raw
        With the column ``concept`` and one of ``count``, ``estimate``, or a caption count's ``words`` and ``phrase``;
        pretraining (or corpus), side, task, rows, lower, upper, grade, threshold and control where there are some. The
        columns of `tailwag count`, `tailwag count --estimate` and `tailwag captions` are all known.
    choice
        Which counts are meant.

    Raises
    ------
    BadInput
        When a column is missing or misspelt, a number is none or negative, or several counts of one concept are there
        and `choice` does not tell which.
    """
    choice = choice or Choice()
    caption_table = "count" not in raw.columns and "estimate" not in raw.columns
    if caption_table and choice.caption_rule in raw.columns:
        columns = {**raw.columns, "count": raw.columns[choice.caption_rule]}
        columns["side"] = ["caption"] * raw.rows
        raw = RawTable(
            raw.path, {name: cells for name, cells in columns.items() if name not in CAPTION_RULES}, raw.rows
        )
    raw.require(["concept"], "a table of counts")
    if "count" not in raw.columns and "estimate" not in raw.columns:
        raw.require(["count"], "a table of counts")
    parts = (*_JOINT_COLUMNS, *_CAPTION_COLUMNS)
    exclusions = list(raw.unread((*_TEXTS, *_NUMBERS, *_KNOWN_UNUSED, *parts)))
    unsaid = choice.side if choice.side and not set(parts) & set(raw.columns) else "image"
    rows = []
    for row, cells in raw.records((*_TEXTS, *_NUMBERS)):
        where = f"{raw.path}, row {row}"
        texts = dict(zip(_TEXTS, map(text, cells), strict=False))
        values = {
            name: number(cell, f"{where}, {name}") for name, cell in zip(_NUMBERS, cells[len(_TEXTS) :], strict=True)
        }
        one = {"where": where, **texts, **values, "side": texts["side"] or unsaid}
        rows.append(one)
        for side, names in (("joint", _JOINT_COLUMNS), ("caption", _CAPTION_COLUMNS)):
            column = next((name for name in names if name in raw.columns), None)
            if column is not None:
                counted = number(raw.columns[column][row - 2], f"{where}, {column}")
                if counted == counted:
                    nan = float("nan")
                    rows.append({**one, "side": side, "count": counted, "estimate": nan, "lower": nan, "upper": nan})
    return _chosen(rows, choice, str(raw.path), exclusions)


def frequencies_of_json(path: str | Path, choice: Choice | None = None) -> Frequencies:
    """Read what `tailwag count --json` printed, or a flat object ``{concept: count}``; raises as the table's reader."""
    choice, path = choice or Choice(), Path(path)
    content = read_json(path)
    entries = content.get("counts", content.get("estimates")) if isinstance(content, dict) else None
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        shared = {name: content.get(name, "") for name in ("corpus", "side", "control", "rows")}
        names = dict.fromkeys(name for entry in entries for name in entry)
        columns = {name: [entry.get(name, "") for entry in entries] for name in names if name != "narrow_enough"}
        columns |= {name: [value] * len(entries) for name, value in shared.items() if name not in columns}
        return frequencies_of_table(RawTable(path, columns, len(entries)), choice)
    counts = read_counts(path)
    columns = {"concept": list(counts), "count": list(counts.values())}
    return frequencies_of_table(RawTable(path, columns, len(counts)), choice)


def saved_frequencies(
    database: Database, corpus: str, *, run: str | None = None, choice: Choice | None = None
) -> Frequencies:
    """Read the counts that `tailwag count --save` keeps in a database.

    Parameters
    ----------
    database, corpus
        Where, and of which corpus.
    run
        The run's name; None takes the newest of each side.
    choice
        Which counts are meant.

    Raises
    ------
    NotFound
        When nothing of that kind is saved; names what is.
    BadInput
        When a run holds several thresholds and `choice` does not tell which.
    """
    from ...retrieval.records.saved_counts import FREQUENCIES
    from ...retrieval.records.tables import read_rows

    choice = choice or Choice()
    saved = read_rows(database, FREQUENCIES, corpus=corpus)
    rows = [one for one in saved if run in (None, one["run"]) and choice.side in (None, one["side"])]
    rows = [one for one in rows if choice.control in (None, one["control"])]
    if not rows:
        have = sorted({f"{one['run']} ({one['side']})" for one in saved})
        found = f"there are {', '.join(have[:5])}" if have else "none is saved: count with --save"
        asked = " ".join(filter(None, (run and f"run {run}", choice.side and f"of side {choice.side}")))
        raise NotFound(f"{database.uri} has no saved counts of corpus {corpus!r} {asked}".rstrip() + f"; {found}")
    newest = {side: max(one["run"] for one in rows if one["side"] == side) for side in {one["side"] for one in rows}}
    rows = [
        {
            "where": f"run {one['run']}",
            **{name: one.get(name) or "" for name in _TEXTS if name not in ("pretraining", "task")},
            **{name: float("nan") if one[name] is None else float(one[name]) for name in _NUMBERS},
            "pretraining": "",
            "task": "",
        }
        for one in rows
        if run is not None or one["run"] == newest[one["side"]]
    ]
    return _chosen(rows, choice, f"{database.uri}, frequencies", [])


def _chosen(rows: Iterable[dict[str, Any]], choice: Choice, source: str, exclusions: list[Exclusion]) -> Frequencies:
    """Keep the rows that are meant, one a concept."""
    kept = [row for row in rows if choice.side in (None, row["side"])]
    kept = [row for row in kept if choice.control in (None, row["control"])]
    if choice.threshold is not None:
        there = _thresholds(kept)
        kept = [row for row in kept if row["threshold"] == choice.threshold or row["threshold"] != row["threshold"]]
        if there and choice.threshold not in there:
            raise BadInput(f"{source} has no counts at threshold {choice.threshold:g}; it has {_shown(there)}")
    controls = sorted({row["control"] for row in kept})
    if len(controls) > 1:
        raise BadInput(f"{source} has counts under the controls {controls}: choose one")
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in kept:
        _check(row)
        row["pretraining"] = choice.pretraining or row["pretraining"] or row["corpus"]
        row["task"] = row["task"] if choice.task is None else choice.task
        if row["count"] != row["count"] and row["estimate"] != row["estimate"]:
            exclusions.append(Exclusion(source, row["concept"], NO_NUMBER, row["where"]))
            continue
        key = tuple(row[name] for name in ("pretraining", "side", "task", "concept"))
        if key in found:
            first = found[key]
            if first["threshold"] != row["threshold"] and len(_thresholds([first, row])) > 1:
                raise BadInput(
                    f"{source} has counts of {row['concept']!r} at several thresholds, {_shown(_thresholds(kept))}: "
                    "choose one with --threshold"
                )
            if any(first[name] != row[name] and first[name] == first[name] for name in _NUMBERS):
                raise BadInput(f"{row['where']}: {row['concept']!r} has another count in {first['where']}: leave one")
            exclusions.append(Exclusion(source, row["concept"], REPEATED_COUNT, f"{row['where']}, {first['where']}"))
            continue
        found[key] = row
    if not found:
        sides = f" of side {choice.side}" if choice.side else ""
        raise BadInput(f"{source} has no counts{sides}")

    import pandas as pd

    table = pd.DataFrame([[row[name] for name in FREQUENCY_COLUMNS] for row in found.values()])
    table.columns = pd.Index(FREQUENCY_COLUMNS)
    reals = dict.fromkeys(("count", "rows", "estimate", "lower", "upper"), "float64")
    return Frequencies(table.astype(reals), tuple(exclusions))


def _check(row: dict[str, Any]) -> None:
    if row["side"] not in SIDES_READ:
        raise BadInput(f"{row['where']}: there is no side {row['side']!r}; there are {', '.join(SIDES_READ)}")
    for name in ("count", "rows", "estimate", "lower", "upper"):
        if row[name] < 0:
            raise BadInput(f"{row['where']}: {name} is {row[name]:g}; a number of rows is 0 or more")
    for name in ("count", "estimate"):
        if row[name] > row["rows"]:
            raise BadInput(f"{row['where']}: {name} is {row[name]:g} of {row['rows']:g} rows")
    if row["lower"] > row["upper"]:
        raise BadInput(f"{row['where']}: the interval begins at {row['lower']:g} and ends at {row['upper']:g}")


def _thresholds(rows: Sequence[dict[str, Any]]) -> list[float]:
    return sorted({row["threshold"] for row in rows if row["threshold"] == row["threshold"]})


def _shown(thresholds: Sequence[float]) -> str:
    shown = ", ".join(f"{threshold:g}" for threshold in thresholds[:6])
    return shown + (f" and {len(thresholds) - 6:,} more" if len(thresholds) > 6 else "")
