"""One cell of an analysis (a model on counts of one side) as arrays and looked-up numbers that figures are drawn from.

Not here: the statistics (`fits`), which this only asks; the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..fits.concept_level import Correlation, log_frequency, pearson_of_all, pearson_of_found, spearman
from ..fits.curvature import Curvature
from ..fits.numbers import NAN, Flag, Number
from ..fits.one_model import ModelFit, counts_of
from ..fits.published import PublishedFit
from ..fits.slope_intervals import SlopeIntervals
from ..fits.within_sets import Decomposition, SetSlope

_PER_DECADE = "points per decade"


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
    fit
        What was fitted.
    pretraining, side
        What it is.
    tasks, concepts
        (C,) names, each test set once.
    counts, values
        (C,) float64 rows, and accuracies in points, 0 to 100.
    published_counts, published_values
        What the published figure rests on: the same, test sets that repeat another's counts included.
    """

    fit: ModelFit
    pretraining: str
    side: str
    tasks: np.ndarray
    concepts: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    published_counts: np.ndarray
    published_values: np.ndarray

    @classmethod
    def of(cls, fit: ModelFit, pretraining: str, side: str, whole: Any) -> Cell:
        """Make the cell of a model's fit; `whole` are all its points as a frame, repeated test sets included."""
        once: Any = fit.points
        return cls(
            fit=fit,
            pretraining=pretraining,
            side=side,
            tasks=once["task"].to_numpy(dtype=object),
            concepts=once["concept"].to_numpy(dtype=object),
            counts=once["frequency"].to_numpy(dtype=np.float64),
            values=100 * once["value"].to_numpy(dtype=np.float64),
            published_counts=counts_of(whole),
            published_values=100 * whole["value"].to_numpy(dtype=np.float64),
        )

    @property
    def model(self) -> str:
        """The model's name."""
        return self.fit.model

    @property
    def published(self) -> PublishedFit:
        """The published figure as it was made."""
        return self.fit.published

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What a reader must know of this model's numbers."""
        return self.fit.flags

    @cached_property
    def concept_r(self) -> Correlation:
        """Pearson's r over the concepts that were found, each test set once."""
        return pearson_of_found(self.counts, self.values)

    @cached_property
    def concept_r_all(self) -> Correlation:
        """The same with repeated test sets, as the published figure has them."""
        return pearson_of_found(self.published_counts, self.published_values)

    @cached_property
    def pooled_r(self) -> Correlation:
        """Pearson's r of log10(1 + count) over all concepts."""
        return pearson_of_all(self.counts, self.values)

    @cached_property
    def spearman(self) -> Correlation:
        """Spearman's ρ over all concepts."""
        return spearman(self.counts, self.values)

    @cached_property
    def spearman_all(self) -> Correlation:
        """The same with repeated test sets."""
        return spearman(self.published_counts, self.published_values)

    @property
    def apart(self) -> Decomposition | None:
        """The slopes within and between test sets; None where they could not be told apart."""
        return self.fit.apart

    @property
    def pooled(self) -> Number:
        """The slope over all concepts, in points per decade."""
        return _slope("slope over all concepts", self.fit.pooled)

    @property
    def within(self) -> Number:
        """The slope inside test sets, in points per decade, with its recommended interval."""
        return _slope("slope within test sets", self.fit.within)

    @property
    def within_r(self) -> float:
        """Pearson's r inside test sets; nan without any."""
        return self.apart.within_r if self.apart else NAN

    @property
    def between(self) -> Number:
        """The slope between means of test sets, in points per decade."""
        if self.apart is None:
            return Number("between", "slope between test sets", NAN, unit=_PER_DECADE)
        reach = self.apart.between_interval
        return Number("between", "slope between test sets", self.apart.between, reach.lower, reach.upper, reach.p)

    @property
    def curve(self) -> Curvature | None:
        """The line and two curves through the concepts; None where there are too few different counts."""
        return self.fit.curve

    @cached_property
    def sets(self) -> tuple[SetSummary, ...]:
        """Each test set, in the order of mean log frequency: rare ones first."""
        found = []
        for line in self.apart.sets if self.apart else ():
            inside = self.tasks == line.task
            lost = self.counts[inside] == 0
            values = self.values[inside]
            found.append(SetSummary(line, int(lost.sum()), mean(values[lost]), mean(values[~lost])))
        return tuple(sorted(found, key=lambda each: (each.line.mean_x, each.task)))

    @property
    def decades(self) -> np.ndarray:
        """(C,) log10(1 + count)."""
        return log_frequency(self.counts)


def _slope(quantity: str, found: SlopeIntervals | None) -> Number:
    if found is None:
        return Number("slopes", quantity, NAN, unit=_PER_DECADE)
    reach = found.cr2
    return Number("slopes", quantity, found.slope, reach.lower, reach.upper, reach.p, unit=_PER_DECADE)


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Give the mean; nan of nothing."""
    return float(np.mean(values)) if len(values) else NAN
