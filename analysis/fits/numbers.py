"""One row of the table of every number that an analysis reports, and remarks about them.

Not here: how any number is computed (one module a method), how the table is written (`report`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

NAN = math.nan


@dataclass(frozen=True)
class Number:
    """One reported number with what it rests on.

    Attributes
    ----------
    section
        The part of docs/statistics.md that explains it: ``published``, ``within``, …
    quantity
        What it is, in words: ``slope within test sets``.
    value
        The number; nan where it is undefined, and `note` says why.
    lower, upper
        The ends of its interval; nan without one, infinite where the data allow anything on that side.
    p
        Two-sided, of the hypothesis that the value is nothing (0); nan without a test.
    unit
        ``r``, ``points per decade`` (of accuracy from 0 to 100, for ten times the frequency), ``times``, …
    method
        How value and interval were made, in words.
    points
        Over how many concepts or bins.
    clusters
        Over how many test sets the interval takes its information; 0 where clusters play no part.
    note
        What a reader must know to use it; may be empty.
    model, pretraining, side
        Which cell it belongs to; ``model`` is empty for a number over several models.
    holm, benjamini_hochberg
        The p after a correction for many tests (`multiple_testing.adjust`); nan before it.
    """

    section: str
    quantity: str
    value: float
    lower: float = NAN
    upper: float = NAN
    p: float = NAN
    unit: str = ""
    method: str = ""
    points: int = 0
    clusters: int = 0
    note: str = ""
    model: str = ""
    pretraining: str = ""
    side: str = ""
    holm: float = NAN
    benjamini_hochberg: float = NAN

    def __str__(self) -> str:
        interval = "" if math.isnan(self.lower) else f" [{self.lower:.3g}, {self.upper:.3g}]"
        p = "" if math.isnan(self.p) else f", p = {self.p:.2g}"
        return f"{self.quantity}: {self.value:.3g}{interval} {self.unit}".rstrip() + p


@dataclass(frozen=True)
class Flag:
    """A remark that stands beside the numbers, since they mislead without it.

    Attributes
    ----------
    severity
        ``warning`` where a conclusion would change, ``note`` elsewhere.
    text
        One sentence.
    """

    severity: Literal["note", "warning"]
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


def of_cell(numbers: Sequence[Number], *, model: str, pretraining: str, side: str) -> tuple[Number, ...]:
    """Give the same numbers with the cell written on each."""
    return tuple(replace(number, model=model, pretraining=pretraining, side=side) for number in numbers)


def numbers_table(numbers: Sequence[Number]) -> pd.DataFrame:
    """Give a table with one row a number and the fields of `Number` as columns, in their order."""
    import pandas as pd

    names = [field.name for field in fields(Number)]
    return pd.DataFrame([[getattr(number, name) for name in names] for number in numbers], columns=names)
