"""Slopes shared by the models of one pretraining set, which were tested on the same concepts with the same counts.

Not here: one model's slopes (`one_model.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tailwag.errors import BadInput

from .cluster_robust import cluster_robust
from .concept_level import POINTS, log_frequency
from .mixed_effects import mixed_slope
from .moments import cluster_index, demeaned
from .numbers import Flag, Number
from .resampling import Interval

Frame = Any  # pandas ships partial types under which half of a frame's methods are errors


def numbers_over_models(table: Frame, level: float) -> tuple[tuple[Number, ...], tuple[Flag, ...]]:
    """How steep is accuracy within test sets, over all models?

    Each model has an intercept in each test set; the slope is shared. Two errors are given: clustered by test set
    (CR2), and by concept across models (CR1; thousands of clusters), which lets a concept be easy for every model but
    takes concepts of one test set as independent. The mixed model rests on each concept's mean over models: counts are
    the same for all of them, so that nothing about the shared slope is lost.

    Parameters
    ----------
    table
        Points of one pretraining set with the columns ``model``, ``task``, ``concept``, ``value``, ``frequency``.
    level
        Of intervals.

    Returns
    -------
    tuple
        Numbers and flags; none for a single model.
    """
    models = list(dict.fromkeys(table["model"]))
    if len(models) < 2:
        return (), ()
    x, y = log_frequency(table["frequency"].to_numpy(dtype=float)), POINTS * table["value"].to_numpy(dtype=float)
    tasks = table["task"].to_numpy()
    concepts = (table["task"] + "\0" + table["concept"]).to_numpy()
    cells = (table["model"] + "\0" + table["task"]).to_numpy()
    names, index = cluster_index(cells)
    n_tasks = len(np.unique(tasks))
    numbers: list[Number] = []
    flags: list[Flag] = []
    method = f"{len(models)} models, an intercept for each in each test set"
    try:
        by_task, by_concept = (
            cluster_robust(demeaned(x, index)[:, None], demeaned(y, index), clusters, absorbed=len(names))
            for clusters in (tasks if n_tasks > 1 else concepts, concepts)
        )
    except BadInput as problem:
        return (), (Flag("note", f"the slope over models was left out: {problem}"),)
    over: dict[str, Any] = {"unit": "points per decade", "points": len(np.unique(concepts)), "clusters": n_tasks}
    rows = (("within", by_task.cr2_interval(0, level)), ("intervals", by_concept.cr1_interval(0, level)))
    for section, interval in rows:
        numbers.append(
            _number(
                section,
                "slope within test sets, over models",
                by_task.coefficients[0],
                interval,
                f"{method}; {interval.method}",
                over,
            )
        )
    mean = table.groupby(["task", "concept"], sort=False)[["value", "frequency"]].mean().reset_index()
    try:
        mixed = mixed_slope(
            log_frequency(mean["frequency"].to_numpy(dtype=float)),
            mean["value"].to_numpy(),
            mean["task"].to_numpy(),
            level,
        )
    except BadInput as problem:
        flags.append(Flag("note", f"the mixed model over models was left out: {problem}"))
    else:
        flags += [Flag(flag.severity, f"over models: {flag.text}") for flag in mixed.flags]
        numbers.append(
            _number(
                "mean slope",
                "mean slope of test sets, over models",
                mixed.slope,
                mixed.interval,
                f"means over {len(models)} models; {mixed.interval.method}",
                over,
            )
        )
    return tuple(numbers), tuple(flags)


def _number(
    section: str, quantity: str, value: float, interval: Interval, method: str, shared: dict[str, Any]
) -> Number:
    return Number(section, quantity, float(value), interval.lower, interval.upper, interval.p, method=method, **shared)
