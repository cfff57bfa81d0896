"""Reading and writing the labels that people give: CSV for spreadsheets, JSON lines for programs.

Not here: which rows were asked about, and what labels come to (`audit_session.py`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tailwag.errors import BadInput, NotFound

from ...retrieval.concepts import fold, refuse
from ...retrieval.result_tables import replaced_when_done

Answer = Literal["yes", "no", "unsure"]
_SPELLINGS: dict[str, Answer] = {
    **dict.fromkeys(("yes", "y", "1", "true", "t"), "yes"),
    **dict.fromkeys(("no", "n", "0", "false", "f"), "no"),
    **dict.fromkeys(("unsure", "u", "?", "maybe"), "unsure"),
}
COLUMNS = ("key", "concept", "label")


@dataclass(frozen=True)
class Label:
    """What someone said of one row.

    Attributes
    ----------
    key
        The row's.
    concept
        What was asked; empty where the file does not say.
    answer
        ``yes``, ``no`` or ``unsure``; None where nothing was said yet.
    line
        Of the file, from 1; 0 where there is none.
    """

    key: str
    concept: str
    answer: Answer | None
    line: int = 0


def read_labels(path: str | Path) -> tuple[Label, ...]:
    """Read a file of labels: JSON lines if its name ends so (``.jsonl``, ``.ndjson``), else CSV.

    Parameters
    ----------
    path
        With the fields ``key``, ``label`` and, where an audit is of several concepts, ``concept``. A label is yes, no
        or unsure, in any case, or y, n, u, 1, 0, true, false; empty where there is none yet. Other fields are
        disregarded.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        With every mistake of the file: labels that are none of these, rows without a key, rows that two lines call
        differently.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"no file of labels {str(path)!r}: pass the sheet or what the page downloaded")
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    try:
        rows = list(_json_rows(path) if is_json else _csv_rows(path))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not in UTF-8 ({error.reason}): save it as CSV in UTF-8") from error
    except (csv.Error, json.JSONDecodeError) as error:
        raise BadInput(f"{path} cannot be read as {'JSON lines' if is_json else 'CSV'}: {error}") from error
    labels: list[Label] = []
    mistakes: list[str] = []
    for line, row in rows:
        key, said = _text(row.get("key")), _text(row.get("label")).lower()
        if not key:
            mistakes.append(f"line {line}: there is no key")
        if said and said not in _SPELLINGS:
            mistakes.append(f"line {line}: the label of {key!r} is {said!r}, not yes, no or unsure")
        labels.append(Label(key, _text(row.get("concept")), _SPELLINGS.get(said), line))
    mistakes += contradictions(labels)
    refuse(str(path), mistakes)
    return tuple(labels)


def contradictions(labels: Iterable[Label]) -> list[str]:
    """Say which rows are called differently by two lines of one file."""
    first: dict[tuple[str, str], Label] = {}
    found = []
    for label in labels:
        if label.answer is None:
            continue
        earlier = first.setdefault((fold(label.concept), label.key), label)
        if earlier.answer != label.answer:
            found.append(
                f"line {label.line}: {label.key!r} is {label.answer!r}, and {earlier.answer!r} in line {earlier.line}"
            )
    return found


def write_labels(labels: Sequence[Label], path: str | Path) -> None:
    """Write a sheet to fill in: a line a row, the label empty where there is none."""
    with replaced_when_done(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((label.key, label.concept, label.answer or "") for label in labels)


def _csv_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        start = file.read(4096)
        file.seek(0)
        # Spreadsheets of many countries save with semicolons.
        heading = start.partition("\n")[0]
        delimiter = ";" if heading.count(";") > heading.count(",") else ","
        reader = csv.DictReader(file, delimiter=delimiter)
        missing = [name for name in ("key", "label") if name not in (reader.fieldnames or [])]
        if missing:
            raise BadInput(f"{path} has no column {missing[0]!r}: a file of labels needs key,concept,label")
        yield from ((reader.line_num, row) for row in reader)


def _json_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        if text.strip():
            row = json.loads(text)
            if not isinstance(row, dict):
                raise BadInput(f'{path}, line {line}: not an object; write {{"key": ..., "label": "yes"}} a line')
            yield line, row


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value).strip()
