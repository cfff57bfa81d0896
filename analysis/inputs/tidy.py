"""Accuracies as a tidy table, one row a model, test set, concept and metric, in a CSV or parquet file.

Not here: other layouts (`released.py`, `clip_benchmark.py`), which file has which (`reading.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tailwag.errors import BadInput

from .points import ACCURACY_COLUMNS, Accuracies, Exclusion
from .raw_tables import RawTable, number, read_raw_table, text

Values = Literal["fraction", "percent"]
REQUIRED = ("model", "task", "concept", "metric", "value")
NO_VALUE = "no value"
NO_MODEL_NAMED = "no model"
REPEATED_ROW = "the same row again"
_UPPER = {"fraction": 1.0, "percent": 100.0}


def read_tidy(path: str | Path | RawTable, values: Values = "fraction") -> Accuracies:
    """Read accuracies from a table with the columns model, task, concept, metric and value; pretraining and n optional.

    Parameters
    ----------
    path
        A CSV or parquet file, or its raw table.
    values
        The unit of ``value``: ``fraction`` (0 to 1) or ``percent`` (0 to 100). It is declared, never guessed.

    Returns
    -------
    Accuracies
        An empty concept stands for the whole test set. Rows without a value or a model, rows that say the same again,
        and columns that nobody reads are listed as exclusions.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When a column is missing or misspelt, a value is no number or outside its unit's range, or two rows of one
        model, test set, concept and metric differ; names the row (the header is row 1).
    """
    if values not in _UPPER:
        raise BadInput(f"values are {' or '.join(_UPPER)}, not {values!r}")
    raw = path if isinstance(path, RawTable) else read_raw_table(path)
    raw.require(REQUIRED, "a table of accuracies")
    exclusions = list(raw.unread(ACCURACY_COLUMNS))
    found: dict[tuple[str, ...], tuple[int, float, float]] = {}
    for row, cells in raw.records(ACCURACY_COLUMNS):
        model, pretraining, task, concept, metric = map(text, cells[:5])
        where = f"{raw.path}, row {row} (model {model!r}, concept {concept!r})"
        value, n = number(cells[5], where), number(cells[6], f"{where}, n")
        if not model or value != value:
            exclusions.append(Exclusion(str(raw.path), concept, NO_VALUE if model else NO_MODEL_NAMED, f"row {row}"))
            continue
        share = _share(value, values, where)
        if n == n and (n < 1 or n != int(n)):
            raise BadInput(f"{where}: n is {n:g}; it is a number of test samples, 1 or more")
        key = (model, pretraining, task, concept, metric)
        if key in found:
            _refuse_difference(found[key], (row, share, n), where)
            exclusions.append(Exclusion(str(raw.path), concept, REPEATED_ROW, f"row {row} repeats row {found[key][0]}"))
            continue
        found[key] = (row, share, n)

    import pandas as pd

    rows = [(*key, share, n) for key, (_, share, n) in found.items()]
    table = pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS)).astype({"value": "float64", "n": "float64"})
    return Accuracies(table, tuple(exclusions))


def _share(value: float, values: Values, where: str) -> float:
    upper = _UPPER[values]
    if 0 <= value <= upper:
        return value / upper
    remedy = "if the file holds percents, pass --values percent" if values == "fraction" and 0 <= value <= 100 else ""
    raise BadInput(f"{where}: the value {value:g} is no {values} from 0 to {upper:g}" + (remedy and f"; {remedy}"))


def _refuse_difference(first: tuple[int, float, float], second: tuple[int, float, float], where: str) -> None:
    same_n = first[2] == second[2] or (first[2] != first[2] and second[2] != second[2])
    if first[1] != second[1] or not same_n:
        raise BadInput(f"{where}: row {first[0]} gave the same concept another value or n: leave one of them")
