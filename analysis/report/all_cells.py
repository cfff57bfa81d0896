"""All cells of the paper's release in one table: every pretraining set and model, published beside inside test sets.

Not here: one pretraining set by itself (`study.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tailwag.errors import BadInput, NotFound

from . import drawing as draw
from .cell import Cell
from .drawing import p_text
from .models import cell_name
from .request import FitRequest
from .study import Study, defined, run_study

if TYPE_CHECKING:
    from ..fits.numbers import Number

HEADINGS = (
    "cell",
    "concepts",
    "r of bins",
    "slope of bins",
    "concept r",
    "ρ",
    "r inside",
    "slope inside",
    "interval",
    "Holm p",
    "BH p",
)


@dataclass(frozen=True)
class AllCells:
    """Every cell of a release that has counts and accuracies.

    Attributes
    ----------
    request
        What was asked, without a pretraining set.
    studies
        One a pretraining set.
    within
        The slope inside test sets of each cell, in the order of `cells`, with p corrected for as many tests as there
        are cells.
    left_out
        Pretraining sets without such counts or models, and why.
    """

    request: FitRequest
    studies: tuple[Study, ...]
    within: tuple[Number, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell."""
        return tuple(cell for study in self.studies for cell in study.cells)

    def rows(self) -> list[list[str]]:
        """Give the table, a row a cell, under `HEADINGS`."""
        return [
            [
                cell_name(cell, self.cells),
                f"{cell.published.concepts:,}",
                draw.r_text(cell.published.r),
                draw.number_text(cell.published.slope),
                draw.r_text(cell.concept_r.value),
                draw.r_text(cell.spearman.value),
                draw.r_text(cell.within_r),
                draw.number_text(within.value),
                draw.interval_text(within.lower, within.upper),
                p_text(within.holm),
                p_text(within.benjamini_hochberg),
            ]
            for cell, within in zip(self.cells, self.within, strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Give everything as what JSON can hold."""
        return {
            "cells": self.records(),
            "left_out": dict(self.left_out),
            "flags": [
                {"pretraining": study.fits.pretraining, **asdict(flag)}
                for study in self.studies
                for flag in study.fits.flags
            ],
            "configuration": self.request.configuration(),
        }

    def records(self) -> list[dict[str, Any]]:
        """Give a flat record a cell, numbers whole."""
        found = []
        for cell, within in zip(self.cells, self.within, strict=True):
            values = {
                "model": cell.model,
                "pretraining": cell.pretraining,
                "side": cell.side,
                "concepts": cell.published.concepts,
                "concepts_once": len(cell.counts),
                "zeros": cell.published.zeros,
                "never_drawn": cell.published.never_drawn,
                "drawn_bins": int(cell.published.drawn.sum()),
                "smallest_bin": int(cell.published.sizes[cell.published.drawn].min()),
                "largest_bin": int(cell.published.sizes[cell.published.drawn].max()),
                "published_r": cell.published.r,
                "published_slope": cell.published.slope,
                "published_once_r": cell.fit.published_once.r,
                "published_once_slope": cell.fit.published_once.slope,
                "concept_r": cell.concept_r.value,
                "concept_r_all": cell.concept_r_all.value,
                "spearman": cell.spearman.value,
                "spearman_all": cell.spearman_all.value,
                "pooled_slope": cell.pooled.value,
                "pooled_lower": cell.pooled.lower,
                "pooled_upper": cell.pooled.upper,
                "within_r": cell.within_r,
                "within_slope": within.value,
                "within_lower": within.lower,
                "within_upper": within.upper,
                "within_p": within.p,
                "within_holm": within.holm,
                "within_benjamini_hochberg": within.benjamini_hochberg,
                "between_slope": cell.between.value,
                "sets": len(cell.sets),
            }
            found.append({name: defined(value) for name, value in values.items()})
        return found


def run_all(request: FitRequest, told: Callable[[str], None] | None = None) -> AllCells:
    """Run every pretraining set of a release.

    Parameters
    ----------
    request
        With `paper`, and without a pretraining set.
    told
        Takes the name of each pretraining set as its turn comes.

    Raises
    ------
    BadInput
        When not one can be run.
    """
    from ..fits.multiple_testing import adjust
    from ..inputs import Release

    if request.paper is None:
        raise BadInput("--all goes through the paper's release: pass its folder with --paper")
    studies, left_out = [], []
    for pretraining in Release(request.paper).pretrainings():
        if told is not None:
            told(pretraining)
        try:
            studies.append(run_study(replace(request, pretraining=pretraining, every=False)))
        except (NotFound, BadInput) as error:
            left_out.append((pretraining, str(error)))
    if not studies:
        raise BadInput(f"no pretraining set of {request.paper} can be fitted: {left_out[0][1] if left_out else 'none'}")
    within: Sequence[Number] = adjust([cell.within for study in studies for cell in study.cells])
    return AllCells(request, tuple(studies), tuple(within), tuple(left_out))


def text_alternative(found: AllCells) -> str:
    """Say in a sentence what the table shows."""
    published = [cell.published.r for cell in found.cells if math.isfinite(cell.published.r)]
    inside = [cell.within_r for cell in found.cells if math.isfinite(cell.within_r)]
    clear = sum(each.lower > 0 for each in found.within)
    return (
        f"{len(found.cells)} cells: the published r lies between {draw.r_text(min(published))} and "
        f"{draw.r_text(max(published))}, r inside test sets between {draw.r_text(min(inside))} and "
        f"{draw.r_text(max(inside))}; the slope inside is clearly above zero in {clear} of them."
    )
