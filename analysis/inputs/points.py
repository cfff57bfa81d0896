"""The three tables of an analysis: accuracies, frequencies, the points that join them; and what was left out of them.

Not here: reading them from files (one module a layout), joining by name (`joining.py`), what is fitted (`fits`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tailwag.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

# Every value is a share between 0 and 1, whatever the file had; `task` is the test set. n is nan where nobody says.
ACCURACY_COLUMNS = ("model", "pretraining", "task", "concept", "metric", "value", "n")
# `task` is "" for a count that holds for every test set. Unknown rows, estimate, lower, upper are nan; a grade is "".
FREQUENCY_COLUMNS = ("pretraining", "side", "task", "concept", "count", "rows", "estimate", "lower", "upper", "grade")
POINT_COLUMNS = (
    "model",
    "pretraining",
    "task",
    "concept",
    "metric",
    "value",
    "n",
    "side",
    "count",
    "rows",
    "frequency",
    "lower",
    "upper",
    "grade",
)
SIDES = ("image", "caption", "joint")


@dataclass(frozen=True)
class Exclusion:
    """Something of the input that is not in the result, and why.

    Attributes
    ----------
    source
        The file or table it stood in.
    name
        The concept, model or row.
    reason
        One of a few short phrases, so that exclusions can be counted by it: ``no count of this name``.
    detail
        What else helps to find it; may be empty.
    """

    source: str
    name: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.name!r}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Accuracies:
    """How well models do on single concepts.

    Attributes
    ----------
    table
        One row a model, task, concept and metric, with the columns `ACCURACY_COLUMNS` in that order: text but for
        ``value``, a float64 share from 0 to 1, and ``n``, the float64 number of test samples, nan where unknown.
    exclusions
        What the files had and the table has not.
    """

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...] = field(default=())

    def __post_init__(self) -> None:
        _require_columns("accuracies", self.table, ACCURACY_COLUMNS)


@dataclass(frozen=True)
class Frequencies:
    """How often a pretraining set shows single concepts.

    Attributes
    ----------
    table
        One row a pretraining set, side (`SIDES`), task and concept, with the columns `FREQUENCY_COLUMNS` in that order:
        text but for ``count`` (rows at or above the threshold, or with the words), ``rows`` (N), ``estimate``,
        ``lower`` and ``upper``, float64 numbers of rows.
    exclusions
        What the files had and the table has not.
    """

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...] = field(default=())

    def __post_init__(self) -> None:
        _require_columns("frequencies", self.table, FREQUENCY_COLUMNS)


@dataclass(frozen=True)
class Points:
    """Accuracy beside frequency, one concept of one test set and model a point.

    Attributes
    ----------
    table
        The columns `POINT_COLUMNS` in that order, those of both tables; ``frequency`` is the estimate where there is
        one and the count where there is none. ``lower`` and ``upper`` are the ends of its interval, nan without one.
    exclusions
        Those of both tables, and every name that met no partner.
    """

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...] = field(default=())

    def __post_init__(self) -> None:
        _require_columns("points", self.table, POINT_COLUMNS)

    def __len__(self) -> int:
        return len(self.table)


def _require_columns(what: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if tuple(table.columns) != columns:
        raise BadInput(f"{what} have the columns {', '.join(map(str, table.columns))}, not {', '.join(columns)}")
