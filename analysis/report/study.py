"""One analysis run: points read, everything fitted, cells for figures. What the command prints and the report shows.

Not here: any formula (`fits`), any file written (`folder.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..inputs.points import Points
from .cell import Cell
from .request import FitRequest, read_other_thresholds, read_points
from .similarity import read_similarities

if TYPE_CHECKING:
    from ..fits.together import Fits


@dataclass(frozen=True)
class Study:
    """An analysis that has been run.

    Attributes
    ----------
    request
        What was asked.
    points
        What was fitted, and what was left out.
    fits
        What came out.
    """

    request: FitRequest
    points: Points
    fits: Fits

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """A cell a model, in the order of the fits."""
        points: Any = self.points.table
        return tuple(
            Cell.of(each, self.fits.pretraining, self.fits.side, points[points["model"] == each.model])
            for each in self.fits.models
        )

    def as_dict(self) -> dict[str, Any]:
        """Give everything that came out as what JSON can hold; a number that is not defined is None."""
        return {
            "pretraining": self.fits.pretraining,
            "side": self.fits.side,
            "metric": self.fits.metric,
            "models": [cell.model for cell in self.cells],
            "concepts": len(self.points),
            "numbers": [
                {name: defined(value) for name, value in asdict(number).items()} for number in self.fits.numbers
            ],
            "flags": [asdict(flag) for flag in self.fits.flags],
            "left_out": dict(self.reasons),
            "configuration": self.request.configuration(),
        }

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """How much was left out, by reason, most first."""
        return Counter(exclusion.reason for exclusion in self.points.exclusions).most_common()


def defined(value: Any) -> Any:
    """Give None for a number that JSON cannot hold: nan, and the ends of an interval that is open."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_study(request: FitRequest) -> Study:
    """Read, join and fit.

    Raises
    ------
    TailwagError
        As the readers and fits do.
    """
    from ..fits.together import FitSettings, fit_points

    points = read_points(request)
    similarity = None
    if request.similarity is not None:
        similarity, unmet = read_similarities(request.similarity, points)
        points = replace(points, exclusions=points.exclusions + unmet)
    settings = FitSettings(
        procedure=request.procedure,
        count_repeated=request.count_repeated,
        level=request.level,
        replicates=request.replicates,
        seed=request.seed,
    )
    return Study(
        request, points, fit_points(points, settings, similarity=similarity, thresholds=read_other_thresholds(request))
    )
