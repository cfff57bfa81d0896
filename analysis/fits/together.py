"""The door: everything fitted to the points of one pretraining set, the published figure beside what it leaves out.

Not here: one model's fits (`one_model.py`) and numbers (`rows.py`), tables and pictures (`report`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput

from ..inputs.known_names import KnownNames
from ..inputs.points import Points
from .multiple_testing import adjust
from .numbers import Flag, Number, of_cell
from .one_model import ModelFit, fit_model
from .over_models import numbers_over_models
from .published import PublishedFit
from .remarks import grade_flags, model_flags
from .rows import model_numbers
from .settings import FitSettings, procedure_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitSettings", "Fits", "ModelFit", "fit_points", "procedure_name"]

Frame = Any  # pandas ships partial types under which half of a frame's methods are errors


@dataclass(frozen=True)
class Fits:
    """Everything fitted to one pretraining set, side and metric.

    Attributes
    ----------
    pretraining, side, metric
        As in the points.
    models
        One a model, in the points' order.
    numbers
        All of them: each model's, then those over models; p corrected for all tests among them.
    flags
        All of them, warnings first, without repetition; each says its model where there are several.
    points
        The rows that concept-level fits rest on: test sets counted once.
    settings
        What was asked for.
    """

    pretraining: str
    side: str
    metric: str
    models: tuple[ModelFit, ...]
    numbers: tuple[Number, ...]
    flags: tuple[Flag, ...]
    points: pd.DataFrame
    settings: FitSettings

    @property
    def published(self) -> tuple[PublishedFit, ...]:
        """The published figure of each model."""
        return tuple(model.published for model in self.models)


def fit_points(
    points: Points,
    settings: FitSettings | None = None,
    *,
    similarity: np.ndarray | None = None,
    thresholds: Mapping[float, Points] | None = None,
) -> Fits:
    """Fit everything to the points of one pretraining set, side and metric.

    Parameters
    ----------
    points
        Of one pretraining set, side and metric, and one model or a few.
    settings
        None takes the defaults.
    similarity
        (n,) how similar each point's test images are to the pretraining set, in the points' order and any unit; nan
        where unknown. None leaves out the correlation that holds it fixed.
    thresholds
        Threshold -> the same models and concepts counted there. None leaves the comparison out.

    Returns
    -------
    Fits

    Raises
    ------
    BadInput
        When there is no point, more than one pretraining set, side or metric, a concept twice, or a similarity for
        another number of points.
    """
    settings = settings or FitSettings()
    table: Frame = points.table
    if not len(table):
        raise BadInput("there is no point to fit: no concept has both an accuracy and a frequency")
    pretraining, side, metric = (_only(table, column) for column in ("pretraining", "side", "metric"))
    twice = table[table.duplicated(["model", "task", "concept"])]
    if len(twice):
        first = twice.iloc[0]
        raise BadInput(f"{first['concept']!r} of {first['task']} stands twice among the points of {first['model']}")
    if similarity is not None:
        if np.shape(similarity) != (len(table),):
            raise BadInput(f"{np.size(similarity)} similarities for {len(table)} points; give one each, in their order")
        table = table.assign(similarity=np.asarray(similarity, dtype=np.float64))
    repeated = _repeated(table, settings)
    once = table if settings.count_repeated else table[~table["task"].isin(list(repeated))]
    models = []
    for model in dict.fromkeys(table["model"]):
        own, own_once = table[table["model"] == model], once[once["model"] == model]
        at = {threshold: _of_model(other, model, metric) for threshold, other in (thresholds or {}).items()}
        fit = fit_model(str(model), own, own_once, repeated, settings, at)
        numbers = of_cell(
            tuple(model_numbers(fit, own, repeated, settings.level)),
            model=fit.model,
            pretraining=pretraining,
            side=side,
        )
        models.append(replace(fit, numbers=numbers, flags=tuple(model_flags(fit, repeated))))
    over, over_flags = numbers_over_models(once, settings.level)
    numbers = adjust(
        [
            *(number for each in models for number in each.numbers),
            *of_cell(over, model="", pretraining=pretraining, side=side),
        ]
    )
    several = len(models) > 1
    flags = [
        Flag(flag.severity, f"{each.model}: {flag.text}" if several else flag.text)
        for each in models
        for flag in each.flags
    ]
    flags += [*over_flags, *grade_flags(list(once["grade"]))]
    ordered = sorted(dict.fromkeys(flags), key=lambda flag: flag.severity != "warning")
    return Fits(
        pretraining=pretraining,
        side=side,
        metric=metric,
        models=tuple(
            replace(each, numbers=tuple(number for number in numbers if number.model == each.model)) for each in models
        ),
        numbers=numbers,
        flags=tuple(ordered),
        points=once.reset_index(drop=True),
        settings=settings,
    )


def _repeated(table: Frame, settings: FitSettings) -> dict[str, str]:
    """Which test sets repeat another one that is there as well?"""
    tasks = [str(task) for task in dict.fromkeys(table["task"])]
    if settings.repeated_tasks is None:
        return KnownNames.load().repeated(tasks)
    return {one: other for one, other in settings.repeated_tasks if one in tasks and other in tasks}


def _of_model(points: Points, model: str, metric: str) -> Frame:
    table: Frame = points.table
    own = table[(table["model"] == model) & (table["metric"] == metric)]
    if own.empty:
        raise BadInput(f"the points at another threshold have none of {model!r}")
    return own


def _only(table: Frame, column: str) -> str:
    values = list(dict.fromkeys(table[column]))
    if len(values) != 1:
        raise BadInput(f"the points have {len(values)} values of {column} ({', '.join(map(str, values))}); choose one")
    return str(values[0])
