"""Accuracies and frequencies joined by name into points; every name that finds no partner is listed.

Not here: reading either (one module a layout), what is known of names (`known_names.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailwag.errors import BadInput

from .known_names import KnownNames
from .points import FREQUENCY_COLUMNS, POINT_COLUMNS, Accuracies, Exclusion, Frequencies, Points

# pandas ships partial types under which half of a frame's methods are errors: inside, a frame is what tests say it is.
Frame = Any

NO_COUNT = "no count of this name"
NO_ACCURACY = "no accuracy of this name"
NO_EVALUATION = "no accuracies of this test set"
NO_COUNTS = "no counts of this test set"
NO_PRETRAINING = "no counts of this pretraining set"
NO_NAME = "a name without a letter or digit"
TWO_VALUES = "several values under one name"
WHOLE_SET = "a value of a whole test set"
DIFFERENT_COUNTS = "different counts of one name"
SAME_VALUE = "the same value under one name"
_VALUES = ["count", "rows", "estimate", "lower", "upper", "grade"]


def join(
    accuracies: Accuracies,
    frequencies: Frequencies,
    *,
    names: KnownNames | None = None,
    pretraining: Mapping[str, str] | None = None,
) -> Points:
    """Set each concept's accuracy beside its frequency.

    Concepts meet by name within their test set and pretraining set, never by position. Names are folded (case, ``_``
    and ``-`` disregarded), after which `names` apply; the folded name is the point's. A count of a test set goes before
    one that holds for all of them (task ``""``).

    Two spellings of one name with the same value count once; with different values both are left out. Either is listed.
    Where accuracies and frequencies are of one pretraining set each, they belong together whatever it is called on
    either side, since they were handed over together; of several, equal names belong together.

    Parameters
    ----------
    accuracies, frequencies
        What is joined. Several models, sides and pretraining sets give the points of each.
    names
        What is known of names; None loads what ships with tailwag.
    pretraining
        What accuracies call a pretraining set -> what frequencies call it, where the names differ.

    Returns
    -------
    Points
        In the order of the accuracies; ``frequency`` is the estimate, or the count where there is none. The pretraining
        set is called as the accuracies call it, or as the frequencies do where those say nothing.

    Raises
    ------
    BadInput
        When accuracies are of whole test sets, nothing meets anything, or several pretraining sets stand against one
        without a name.
    """
    import pandas as pd

    names = KnownNames.load() if names is None else names
    _refuse_whole_sets(accuracies)
    exclusions: list[Exclusion] = [*accuracies.exclusions, *frequencies.exclusions]
    left = _named(accuracies.table, names, "accuracies", exclusions)
    right = _named(frequencies.table, names, "counts", exclusions)
    left["counted"] = _counted_as(accuracies.table, frequencies.table, pretraining or {}).reindex(left.index)
    right["counted"] = right["pretraining"]
    left = _one_a_name(
        left, ["model", "pretraining", "task", "metric", "name"], ["value", "n"], "accuracies", exclusions
    )
    right = _one_a_name(right, ["counted", "side", "task", "name"], _VALUES, "counts", exclusions)
    left = _of_counted_sets(left, right, exclusions)

    own = right[right["task"] != ""]
    general = right[right["task"] == ""]
    found: list[Frame] = []
    for side in right["side"].drop_duplicates():
        met = left.merge(own[own["side"] == side], on=["counted", "task", "name"], how="left", suffixes=("", "_count"))
        missing = met["count"].isna() & met["estimate"].isna()
        fallback = left.merge(
            general[general["side"] == side].drop(columns="task"),
            on=["counted", "name"],
            how="left",
            suffixes=("", "_count"),
        )
        met[missing.to_numpy()] = fallback.reindex(columns=met.columns)[missing.to_numpy()]
        met["side"] = side
        found.append(met)
    together: Frame = (
        pd.concat(found, ignore_index=True) if found else left.reindex(columns=[*left.columns, "side", *_VALUES])
    )
    together["frequency"] = together["estimate"].fillna(together["count"])
    there = together["frequency"].notna()
    _list_unmet(together[~there], right, together[there], left, exclusions)
    points = together[there].copy()
    if points.empty:
        raise BadInput(
            f"not one of {len(left):,} accuracies and {len(right):,} counts has a name in common: "
            f"{_examples(left)} against {_examples(right)}"
        )
    points["pretraining"] = points["pretraining"].where(points["pretraining"] != "", points["counted"])
    points["concept"] = points["name"]
    return Points(points[list(POINT_COLUMNS)].reset_index(drop=True), tuple(dict.fromkeys(exclusions)))


def pool(frequencies: Frequencies, *, names: KnownNames | None = None, as_spelt: bool = False) -> Frequencies:
    """Make the counts of many test sets one list of concepts, which holds for every test set (task ``""``).

    A concept of several test sets stands once. Where their counts differ, since the sets spell it differently and words
    were searched as they were spelt, the largest is kept: the spelling that found most. Each such name is listed.

    Parameters
    ----------
    frequencies
        Of any number of test sets, sides and pretraining sets.
    names
        What is known of names; None loads what ships with tailwag.
    as_spelt
        Take every spelling for a concept of its own, as the paper's correlations of pretraining sets do.

    Returns
    -------
    Frequencies
        The concept is the folded name, or the spelling.
    """
    names = KnownNames.load() if names is None else names
    exclusions = list(frequencies.exclusions)
    table: Frame = _named(frequencies.table, names, "counts", exclusions)
    if as_spelt:
        table["name"] = table["concept"]
    key = ["pretraining", "side", "name"]
    table["most"] = table["estimate"].fillna(table["count"])
    varying: Frame = table.groupby(key, sort=False)["most"].agg(["min", "max"]).query("min != max")
    for (pretraining, side, name), low, high in varying.itertuples(name=None):
        source = f"counts, {pretraining} {side}".rstrip()
        exclusions.append(Exclusion(source, str(name), DIFFERENT_COUNTS, f"{low:,.0f} to {high:,.0f}"))
    table = table.sort_values("most", ascending=False, kind="stable").drop_duplicates(key).sort_index()
    table["concept"], table["task"] = table["name"], ""
    return Frequencies(table[list(FREQUENCY_COLUMNS)].reset_index(drop=True), tuple(dict.fromkeys(exclusions)))


def _refuse_whole_sets(accuracies: Accuracies) -> None:
    table: Frame = accuracies.table
    whole = table["concept"] == ""
    if len(table) and whole.all():
        raise BadInput(
            f"the {len(whole):,} accuracies are of whole test sets ({table['task'].iloc[0]!r} first), not of single "
            " concepts: a plot of concepts needs accuracies per class, in the layout of docs/accuracies.md"
        )


def _named(table: Frame, names: KnownNames, source: str, exclusions: list[Exclusion]) -> Frame:
    """Add the column ``name``; a concept whose name folds to nothing is listed and left out."""
    table = table.copy()
    pairs = table[["task", "concept"]].drop_duplicates()
    known = {pair: names.canonical(*pair) for pair in pairs.itertuples(index=False, name=None)}
    pairs_of_rows = zip(table["task"], table["concept"], strict=True)
    table["name"] = [known[pair] for pair in pairs_of_rows]
    for (task, concept), name in known.items():
        if not name:
            exclusions.append(Exclusion(_source(source, task), concept, NO_NAME if concept else WHOLE_SET))
    return table[table["name"] != ""]


def _counted_as(left: Frame, right: Frame, given: Mapping[str, str]) -> Frame:
    """Under which pretraining set of the counts does each accuracy look?"""
    of_accuracies, of_counts = set(left["pretraining"]), set(right["pretraining"])
    for name, other in given.items():
        if name not in of_accuracies or other not in of_counts:
            raise BadInput(
                f"pretraining sets {name!r} and {other!r} cannot go together: accuracies are of "
                f"{_listed(of_accuracies)}, counts of {_listed(of_counts)}"
            )
    if len(of_accuracies) == 1 and len(of_counts) == 1:
        given = {next(iter(of_accuracies)): next(iter(of_counts))}
    elif "" in (of_accuracies - set(given)) | of_counts:
        raise BadInput(
            f"accuracies are of the pretraining sets {_listed(of_accuracies)}, counts of {_listed(of_counts)}: "
            "with several, each must be named"
        )
    return left["pretraining"].map(lambda name: given.get(name, name))


def _one_a_name(table: Frame, key: list[str], values: list[str], source: str, exclusions: list[Exclusion]) -> Frame:
    """Keep one row a name: of equal rows the first, of different ones none."""
    repeated = table[table.duplicated(key, keep=False)]
    if repeated.empty:
        return table
    differing = []
    for _, rows in repeated.groupby(key, sort=False):
        same = len(rows[values].drop_duplicates()) == 1
        shown = ", ".join(f"{row.concept!r} {getattr(row, values[0]):g}" for row in rows.itertuples())
        first = rows.iloc[0]
        reason = SAME_VALUE if same else TWO_VALUES
        for concept in rows["concept"].iloc[1:] if same else rows["concept"]:
            exclusions.append(Exclusion(_source(source, first["task"]), concept, reason, shown))
        differing += [] if same else list(rows.index)
    return table.drop(index=differing).drop_duplicates(key)


def _of_counted_sets(left: Frame, right: Frame, exclusions: list[Exclusion]) -> Frame:
    """Leave out models of pretraining sets that have no counts; one exclusion a model."""
    there = left["counted"].isin(set(right["counted"]))
    for model, pretraining in left.loc[~there, ["model", "pretraining"]].drop_duplicates().itertuples(index=False):
        exclusions.append(Exclusion("accuracies", f"{model}/{pretraining}", NO_PRETRAINING))
    return left[there]


def _list_unmet(unmet: Frame, right: Frame, met: Frame, left: Frame, exclusions: list[Exclusion]) -> None:
    """List names without a partner: once each, not once a model; whole test sets as one."""
    key = ["counted", "side", "task", "name"]
    counted_sets = set(right[["counted", "side", "task"]].itertuples(index=False, name=None))
    uncounted: dict[tuple[str, str, str], int] = {}
    for row in unmet.drop_duplicates(key).itertuples():
        where = f"{row.counted} {row.side}".strip()
        if (row.counted, row.side, row.task) in counted_sets or (row.counted, row.side, "") in counted_sets:
            exclusions.append(Exclusion(_source("accuracies", row.task), str(row.concept), NO_COUNT, where))
        else:
            uncounted[row.task, row.counted, row.side] = uncounted.get((row.task, row.counted, row.side), 0) + 1
    for (task, counted, side), number in uncounted.items():
        exclusions.append(Exclusion("accuracies", task, NO_COUNTS, f"{number:,} names, {counted} {side}".strip()))
    evaluated = set(left["task"])
    used = set(met[key].itertuples(index=False, name=None))
    used_anywhere = {(counted, side, name) for counted, side, _, name in used}
    silent: dict[tuple[str, str, str], int] = {}
    for row in right.itertuples():
        if row.task and row.task not in evaluated:
            silent[row.task, row.counted, row.side] = silent.get((row.task, row.counted, row.side), 0) + 1
        elif (
            (row.counted, row.side, row.task, row.name) not in used
            if row.task
            else ((row.counted, row.side, row.name) not in used_anywhere)
        ):
            where = _source("counts", row.task)
            exclusions.append(Exclusion(where, str(row.concept), NO_ACCURACY, f"{row.counted} {row.side}".strip()))
    for (task, counted, side), number in silent.items():
        exclusions.append(Exclusion("counts", task, NO_EVALUATION, f"{number:,} counts, {counted} {side}".strip()))


def _source(what: str, task: str) -> str:
    return f"{what} of {task}" if task else what


def _listed(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _examples(table: Frame) -> str:
    return ", ".join(repr(name) for name in table["concept"].head(3)) or "none"
