"""One cell of an analysis (a model on counts of one side) as arrays that figures are drawn from.

Not here: the statistics (`fits`), which this only looks up; the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailwag.errors import BadInput

from ..fits.concept_level import log_frequency
from ..fits.curvature import Curvature, curvature
from ..fits.numbers import Flag, Number
from ..fits.published import PublishedFit
from ..fits.within_sets import Decomposition, SetSlope, decompose

ONCE = ", each test set once"  # how `fits` marks a number that leaves out repeated test sets


@dataclass(frozen=True)
class SetSummary:
    """One test set of a cell.

    Attributes
    ----------
    line
        The line through its concepts, in log10(1 + frequency) and points.
    zeros
        How many of its concepts have count 0.
    value_at_zero, value_found
        Mean accuracy in points of its concepts with count 0, and of the others; nan of none.
    """

    line: SetSlope
    zeros: int
    value_at_zero: float
    value_found: float

    @property
    def task(self) -> str:
        """Its name."""
        return self.line.task

    @property
    def fitted(self) -> bool:
        """Whether there is a slope."""
        return math.isfinite(self.line.slope)

    def values_at(self, places: np.ndarray) -> np.ndarray:
        """Give its line at places of log10(1 + frequency), not beyond 0 and 100."""
        return np.clip(self.line.mean_y + self.line.slope * (places - self.line.mean_x), 0, 100)


@dataclass(frozen=True)
class Cell:
    """A model, a pretraining set and a side, with everything that was fitted to it.

    Attributes
    ----------
    model, pretraining, side
        What it is.
    tasks, concepts
        (C,) names.
    counts, values
        (C,) float64 rows, and accuracies in points, 0 to 100.
    published
        The published procedure.
    published_counts, published_values
        What that rests on: as `counts` and `values`, test sets that repeat another's counts included.
    numbers, flags
        Those of this cell.
    """

    model: str
    pretraining: str
    side: str
    tasks: np.ndarray
    concepts: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    published: PublishedFit
    published_counts: np.ndarray
    published_values: np.ndarray
    numbers: tuple[Number, ...]
    flags: tuple[Flag, ...]

    def number(self, section: str, quantity: str) -> Number:
        """Look a number up; one whose value is nan where it was not computed."""
        for number in self.numbers:
            if number.section == section and number.quantity == quantity:
                return number
        return Number(section, quantity, math.nan)

    def once(self, section: str, quantity: str) -> Number:
        """Look a number up that counts each test set once, where there are both."""
        found = self.number(section, quantity + ONCE)
        return self.number(section, quantity) if math.isnan(found.value) else found

    @property
    def concept_r(self) -> Number:
        """Pearson's r over the concepts that were found."""
        return self.once("concepts", "Pearson's r of found concepts")

    @property
    def concept_slope(self) -> Number:
        """The slope over concepts, pooled, in points per decade."""
        return self.once("concepts", "slope of all concepts")

    @property
    def within_r(self) -> Number:
        """Pearson's r inside test sets."""
        return self.once("within", "r within test sets")

    @property
    def within(self) -> Number:
        """The slope inside test sets, in points per decade."""
        return self.once("within", "slope within test sets")

    @property
    def between(self) -> Number:
        """The slope between means of test sets, in points per decade."""
        return self.once("within", "slope between test sets")

    @cached_property
    def decomposition(self) -> Decomposition:
        """The slopes within and between test sets, and the line of each set."""
        return decompose(log_frequency(self.counts), self.values / 100, self.tasks)

    @cached_property
    def curve(self) -> Curvature | None:
        """The line and two curves through the concepts; None where there are too few different counts."""
        try:
            return curvature(log_frequency(self.counts), self.values / 100, self.tasks)
        except BadInput:
            return None

    @cached_property
    def sets(self) -> tuple[SetSummary, ...]:
        """Each test set, in the order of mean log frequency: rare ones first."""
        found = []
        for line in self.decomposition.sets:
            inside = self.tasks == line.task
            lost = self.counts[inside] == 0
            values = self.values[inside]
            found.append(SetSummary(line, int(lost.sum()), mean(values[lost]), mean(values[~lost])))
        return tuple(sorted(found, key=lambda each: (each.line.mean_x, each.task)))


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Give the mean; nan of nothing."""
    return float(np.mean(values)) if len(values) else math.nan
