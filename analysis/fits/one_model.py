"""Everything fitted to the points of one model: the published figure first, then what it leaves out.

Not here: any formula (one module a method), the rows of numbers (`rows.py`), several models at once (`together.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tailwag.errors import BadInput

from .binomial import Logistic, logistic_slope
from .concept_level import log_frequency
from .curvature import Curvature, curvature
from .frequency_errors import Simex, log_error, simex
from .mixed_effects import MeanSlope, mean_of_slopes, mixed_slope
from .numbers import Flag, Number
from .partial import Partial, partial_correlation
from .published import PROCEDURES, Procedure, PublishedFit, published_fit
from .resampling import Interval, percentile_interval
from .sensitivity import CutSensitivity, published_with_other_sets, sensitivity_to_cut, sensitivity_to_threshold
from .settings import FitSettings
from .slope_intervals import SlopeIntervals, pooled_slope, within_slope
from .within_sets import Decomposition, decompose
from .zeros import Hurdle, hurdle

if TYPE_CHECKING:
    import pandas as pd

Found = TypeVar("Found")
Frame = Any  # pandas ships partial types under which half of a frame's methods are errors


@dataclass(frozen=True)
class ModelFit:
    """What was fitted to one model's points. What could not be fitted is None, and a flag says why.

    Attributes
    ----------
    model, metric
        As in the points.
    procedure
        Of the published figure.
    published, published_once
        The published figure as it was made, and with each test set counted once; the same where none is repeated.
    published_usual
        With the slice and edges that classification usually has, where `procedure` is another kind of classification.
    published_interval, published_slope_interval
        Of its r and slope, with test sets drawn anew.
    points
        The model's rows with test sets counted once; everything below rests on them.
    apart
        Slopes within and between test sets, and each set's own line.
    pooled, within
        Both slopes with every interval.
    within_r
        The correlation within test sets.
    mean_slope
        The mean of the test sets' slopes: of a mixed model, or of the sets' own where that did not converge.
    own_slopes
        The random-effects mean of the sets' own slopes.
    zeros, zeros_pooled
        Zeros apart, with an intercept a test set and with one for all.
    curve
        Curvature within test sets.
    logistic
        Where the number of test images is known.
    without_error
        Where frequencies have intervals.
    given_similarity
        Where similarities were handed in.
    cuts
        The published r over other cuts.
    thresholds
        The published r over other thresholds, where counts at several were handed in.
    numbers, flags
        Of this model.
    """

    model: str
    metric: str
    procedure: Procedure
    published: PublishedFit
    published_once: PublishedFit
    published_usual: PublishedFit | None
    published_interval: Interval
    published_slope_interval: Interval
    points: pd.DataFrame
    apart: Decomposition | None
    pooled: SlopeIntervals | None
    within: SlopeIntervals | None
    within_r: Partial | None
    mean_slope: MeanSlope | None
    own_slopes: MeanSlope | None
    zeros: Hurdle | None
    zeros_pooled: Hurdle | None
    curve: Curvature | None
    logistic: Logistic | None
    without_error: Simex | None
    given_similarity: Partial | None
    cuts: CutSensitivity
    thresholds: pd.DataFrame | None
    numbers: tuple[Number, ...] = ()
    flags: tuple[Flag, ...] = ()


def counts_of(table: Frame) -> np.ndarray:
    """Give (n,) counts; estimates stand in where a source has estimates alone."""
    return table["count"].where(table["count"].notna(), table["frequency"]).to_numpy(dtype=float)


def fit_model(
    model: str,
    table: Frame,
    once: Frame,
    repeated: Mapping[str, str],
    settings: FitSettings,
    thresholds: Mapping[float, Frame] | None = None,
) -> ModelFit:
    """Fit everything to one model's points.

    Parameters
    ----------
    model
        Its name.
    table, once
        Its points, all of them and with test sets counted once; both may have a column ``similarity``.
    repeated
        Test set -> the one whose counts it repeats.
    settings
        What was chosen.
    thresholds
        Threshold -> the same points (all of them) counted there.

    Returns
    -------
    ModelFit
        Without numbers (`rows.py` makes them), and with the flags of what could not be fitted.
    """
    metric = str(table["metric"].iloc[0])
    procedure = settings.chosen_procedure(str(table["pretraining"].iloc[0]), metric)
    flags: list[Flag] = []

    def attempt(what: str, function: Callable[[], Found]) -> Found | None:
        try:
            return function()
        except BadInput as problem:
            flags.append(Flag("note", f"{what} was left out: {problem}"))
            return None

    def published(rows: Frame, chosen: Procedure = procedure) -> PublishedFit:
        return published_fit(counts_of(rows), rows["value"].to_numpy(), edges=chosen.edges, drawn=chosen.drawn)

    as_made = published(table)
    usual = PROCEDURES["classification"]
    cut = (procedure.edges, procedure.drawn)
    other = procedure.name != "retrieval" and cut != (usual.edges, usual.drawn)
    # A test set that repeats another is drawn together with it.
    drawn_as = table["task"].map(lambda task: repeated.get(task, task)).to_numpy()
    r_draws, slope_draws = published_with_other_sets(
        counts_of(table),
        table["value"].to_numpy(),
        drawn_as,
        edges=procedure.edges,
        drawn=procedure.drawn,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    alone = len(set(drawn_as)) == 1
    frequency, values, sets = once["frequency"].to_numpy(dtype=float), once["value"].to_numpy(), once["task"].to_numpy()
    x, level = log_frequency(frequency), settings.level
    draws = {"level": level, "replicates": settings.replicates, "seed": settings.seed}
    apart = attempt("the split within and between test sets", lambda: decompose(x, values, sets, level))
    own, mixed = None, None
    if apart is not None and len(apart.sets) > 1:
        slopes, errors = (np.array([getattr(each, name) for each in apart.sets]) for name in ("slope", "error"))
        own = attempt("the mean of the test sets' slopes", lambda: mean_of_slopes(slopes, errors, level))
        mixed = attempt("the mixed model", lambda: mixed_slope(x, values, sets, level))
        if mixed is not None:
            flags += mixed.flags
        if mixed is None or any(flag.severity == "warning" for flag in mixed.flags):
            mixed = own
    return ModelFit(
        model=model,
        metric=metric,
        procedure=procedure,
        published=as_made,
        published_once=as_made if len(once) == len(table) else published(once),
        published_usual=published(table, usual) if other else None,
        published_interval=_of_several(alone, r_draws, level),
        published_slope_interval=_of_several(alone, slope_draws, level),
        points=once.reset_index(drop=True),
        apart=apart,
        pooled=attempt("the pooled slope", lambda: pooled_slope(x, values, sets, **draws)),
        within=attempt("the slope within test sets", lambda: within_slope(x, values, sets, **draws)),
        within_r=attempt(
            "the correlation within test sets",
            lambda: partial_correlation(x, values, np.empty((len(x), 0)), sets, level),
        ),
        mean_slope=mixed,
        own_slopes=own,
        zeros=attempt("the model of zeros", lambda: hurdle(frequency, values, sets, level)),
        zeros_pooled=attempt("the pooled model of zeros", lambda: hurdle(frequency, values, sets, level, within=False)),
        curve=attempt("the curve", lambda: curvature(x, values, sets, level)),
        logistic=_logistic(once, x, level, attempt, flags),
        without_error=_simex(once, x, settings, attempt, flags),
        given_similarity=_given_similarity(once, x, level, attempt, flags),
        cuts=sensitivity_to_cut(counts_of(table), table["value"].to_numpy(), as_made.r, edges=_edges(procedure)),
        thresholds=attempt("other thresholds", lambda: _thresholds(table, thresholds or {}, procedure)),
        flags=tuple(flags),
    )


def _edges(procedure: Procedure) -> tuple[int, ...]:
    """Other numbers of edges: from about half to about double the published one."""
    return tuple(range(max(5, procedure.edges // 2 + 1), 2 * procedure.edges - 3))


def _of_several(alone: bool, draws: np.ndarray, level: float) -> Interval:
    if alone:
        return Interval(np.nan, np.nan, np.nan, "one test set: none to draw anew")
    return percentile_interval(draws, level)


def _logistic(
    once: Frame, x: np.ndarray, level: float, attempt: Callable[..., Any], flags: list[Flag]
) -> Logistic | None:
    known = once["n"].notna().to_numpy()
    if not known.any():
        flags.append(Flag("note", "the binomial model was left out: nobody says how many test images concepts have"))
        return None
    if not known.all():
        text = (
            f"the binomial model rests on the {known.sum():,} of {len(known):,} concepts whose test images are counted"
        )
        flags.append(Flag("note", text))
    rows = once[known]
    found = attempt(
        "the binomial model",
        lambda: logistic_slope(
            x[known], rows["value"].to_numpy(), rows["n"].to_numpy(dtype=float), rows["task"].to_numpy(), level
        ),
    )
    if found is not None and found.left_out:
        text = f"the binomial model leaves out {', '.join(found.left_out)}: every answer is right there, or wrong"
        flags.append(Flag("note", text))
    return found


def _simex(
    once: Frame, x: np.ndarray, settings: FitSettings, attempt: Callable[..., Any], flags: list[Flag]
) -> Simex | None:
    known = once["lower"].notna().to_numpy() & once["upper"].notna().to_numpy()
    if not known.any():
        flags.append(Flag("note", "errors of the frequencies are not allowed for: they come without intervals"))
        return None
    if not known.all():
        text = f"errors of the frequencies rest on the {known.sum():,} of {len(known):,} concepts that have intervals"
        flags.append(Flag("note", text))
    rows = once[known]

    def fit() -> Simex:
        errors = log_error(rows["lower"].to_numpy(dtype=float), rows["upper"].to_numpy(dtype=float))
        values, sets = rows["value"].to_numpy(), rows["task"].to_numpy()
        return simex(x[known], errors, values, sets, settings.level, seed=settings.seed)

    return attempt("the allowance for errors of the frequencies", fit)


def _given_similarity(
    once: Frame, x: np.ndarray, level: float, attempt: Callable[..., Any], flags: list[Flag]
) -> Partial | None:
    if "similarity" not in once.columns:
        return None
    known = once["similarity"].notna().to_numpy()
    if not known.all():
        flags.append(Flag("note", f"{(~known).sum():,} of {len(known):,} concepts have no similarity"))
    rows = once[known]
    return attempt(
        "the correlation given similarity",
        lambda: partial_correlation(
            x[known], rows["value"].to_numpy(), rows[["similarity"]].to_numpy(float), rows["task"].to_numpy(), level
        ),
    )


def _thresholds(table: Frame, thresholds: Mapping[float, Frame], procedure: Procedure) -> Frame | None:
    if not thresholds:
        return None
    key = ["task", "concept"]
    met = table[[*key, "value"]]
    for threshold, other in thresholds.items():
        counted = other[key].assign(**{f"at {threshold:g}": counts_of(other)})
        met = met.merge(counted, on=key, how="inner", validate="one_to_one")
    counts = {threshold: met[f"at {threshold:g}"].to_numpy() for threshold in thresholds}
    return sensitivity_to_threshold(
        counts, met["value"].to_numpy(), met["task"].to_numpy(), edges=procedure.edges, drawn=procedure.drawn
    )
