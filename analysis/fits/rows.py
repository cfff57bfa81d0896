"""The numbers of one model as rows of the table, section by section.

Not here: any fit (`one_model.py`), what the numbers say side by side (`remarks.py`), several models (`together.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import concept_level
from .exponential_need import data_needed
from .mixed_effects import MeanSlope
from .multiple_testing import ALTERNATIVES
from .numbers import NAN, Number
from .one_model import ModelFit
from .published import PublishedFit
from .resampling import Interval, fisher_jackknife_interval
from .slope_intervals import SlopeIntervals

Frame = Any  # pandas ships partial types under which half of a frame's methods are errors

PER_DECADE = "points per decade"
ONCE = ", each test set once"
_NOTHING = Interval(NAN, NAN, NAN, "")


def model_numbers(fit: ModelFit, table: Frame, repeated: Mapping[str, str], level: float) -> Iterator[Number]:
    """Give every number of a model.

    Parameters
    ----------
    fit
        What was fitted.
    table
        All of the model's points, repeated test sets included.
    repeated
        Test set -> the one whose counts it repeats: both are one cluster.
    level
        Of intervals that are made here.
    """
    twice = len(fit.points) < len(table)
    yield from _published(fit, twice)
    clusters = table["task"].map(lambda task: repeated.get(task, task)).to_numpy()
    yield from _correlations("", table, clusters, level)
    if twice:
        yield from _correlations(ONCE, fit.points, fit.points["task"].to_numpy(), level)
    yield from _slopes(fit)
    yield from _mean_slopes(fit)
    yield from _zeros(fit)
    yield from _curve(fit)
    yield from _others(fit)
    yield from _cuts(fit)
    yield from _needs(fit)


def _tasks(fit: ModelFit) -> int:
    table: Frame = fit.points
    return int(table["task"].nunique())


def _number(section: str, quantity: str, value: float, interval: Interval = _NOTHING, **rest: Any) -> Number:
    rest.setdefault("method", interval.method)
    rest.setdefault("p", interval.p)
    return Number(section, quantity, value, interval.lower, interval.upper, **rest)


def _published(fit: ModelFit, twice: bool) -> Iterator[Number]:
    clusters = _tasks(fit)
    variants: list[tuple[str, PublishedFit, Interval, Interval]] = [
        ("", fit.published, fit.published_interval, fit.published_slope_interval)
    ]
    if twice:
        variants.append((ONCE, fit.published_once, _NOTHING, _NOTHING))
    if fit.published_usual is not None:
        variants.append((", usual slice", fit.published_usual, _NOTHING, _NOTHING))
    method = "bin means at upper edges against log10 count, as published"
    for suffix, found, r_interval, slope_interval in variants:
        shared = {
            "points": int(found.drawn.sum()),
            "clusters": 0 if np.isnan(r_interval.lower) else clusters,
            "method": method + ("" if np.isnan(r_interval.lower) else "; interval by drawing test sets anew"),
        }
        note = "p as if bins were independent points of equal weight"
        yield _number(
            "published", "r of bin means" + suffix, found.r, r_interval, p=found.p, unit="r", note=note, **shared
        )
        yield _number(
            "published", "slope of bin means" + suffix, found.slope, slope_interval, p=NAN, unit=PER_DECADE, **shared
        )
    drawn = fit.published
    share = 100 * drawn.never_drawn / drawn.concepts
    yield Number("published", "concepts never drawn", share, unit="%", method="count", points=drawn.concepts)
    yield Number(
        "published", "concepts with count 0", drawn.zeros, unit="concepts", method="count", points=drawn.concepts
    )


def _correlations(suffix: str, table: Frame, clusters: np.ndarray, level: float) -> Iterator[Number]:
    frequency, values = table["frequency"].to_numpy(dtype=float), table["value"].to_numpy(dtype=float)
    names = np.unique(clusters)
    kinds = (
        (
            "Pearson's r of found concepts",
            "r",
            concept_level.pearson_of_found,
            "log10 count, concepts with a count above 0",
        ),
        ("Pearson's r of all concepts", "r", concept_level.pearson_of_all, "log10(1 + count)"),
        ("Spearman's ρ", "ρ", concept_level.spearman, "ranks, zeros tied"),
        ("Kendall's τ", "τ", concept_level.kendall, "τ-b, zeros tied"),
    )
    for quantity, unit, function, what in kinds:
        found = function(frequency, values)
        left_out = [function(frequency[clusters != name], values[clusters != name]).value for name in names]
        interval = fisher_jackknife_interval(found.value, np.array(left_out), level) if len(names) > 1 else _NOTHING
        yield _number(
            "concepts",
            quantity + suffix,
            found.value,
            interval,
            p=interval.p if len(names) > 1 else found.p,
            unit=unit,
            method="; ".join(each for each in (what, interval.method) if each),
            points=found.concepts,
            clusters=len(names) if len(names) > 1 else 0,
        )


def _intervals(quantity: str, slope: SlopeIntervals) -> Iterator[Number]:
    """Every other interval of a slope, named by its method."""
    for interval in slope.all()[1:]:
        if np.isfinite(interval.lower) or np.isfinite(interval.upper):
            shared = {"unit": PER_DECADE, "points": slope.points, "clusters": slope.clusters}
            yield _number(ALTERNATIVES, quantity, slope.slope, interval, **shared)


def _slopes(fit: ModelFit) -> Iterator[Number]:
    shared: dict[str, Any] = {"points": len(fit.points), "clusters": _tasks(fit)}
    if fit.pooled is not None:
        yield _number("concepts", "slope of all concepts", fit.pooled.slope, fit.pooled.cr2, unit=PER_DECADE, **shared)
        yield from _intervals("slope of all concepts", fit.pooled)
    if fit.within is not None:
        yield _number("within", "slope within test sets", fit.within.slope, fit.within.cr2, unit=PER_DECADE, **shared)
        yield from _intervals("slope within test sets", fit.within)
    if fit.apart is None:
        return
    apart = fit.apart
    if fit.within_r is not None:
        yield _number("within", "r within test sets", fit.within_r.r, fit.within_r.interval, unit="r", **shared)
    if len(apart.sets) > 1:
        between = {**shared, "points": len(apart.sets)}
        yield _number(
            "within", "slope between test sets", apart.between, apart.between_interval, unit=PER_DECADE, **between
        )
        yield _number(
            "within",
            "slope between less slope within",
            apart.contextual_slope,
            apart.contextual,
            unit=PER_DECADE,
            note="Mundlak's test; sets weighted by their concepts",
            **shared,
        )
        share = 100 * apart.share_within
        yield Number(
            "within", "variance of log frequency within test sets", share, unit="%", method="sums of squares", **shared
        )
        for each in apart.sets:
            interval = Interval(each.lower, each.upper, each.p, f"HC3, t with {each.points - 2} degrees of freedom")
            yield _number(
                "sets", f"slope in {each.task}", each.slope, interval, unit=PER_DECADE, points=each.points, clusters=1
            )


def _mean_slopes(fit: ModelFit) -> Iterator[Number]:
    found: list[tuple[str, MeanSlope]] = []
    if fit.mean_slope is not None:
        found.append(("mean slope of test sets", fit.mean_slope))
    if fit.own_slopes is not None and fit.own_slopes is not fit.mean_slope:
        found.append(("mean of the sets' own slopes", fit.own_slopes))
    for quantity, mean in found:
        shared: dict[str, Any] = {"unit": PER_DECADE, "points": len(fit.points), "clusters": mean.clusters}
        yield _number("mean slope", quantity, mean.slope, mean.interval, **shared)
        method = "standard deviation of true slopes, REML"
        yield _number("mean slope", f"spread around {quantity}", mean.spread, method=method, **shared)
        if np.isfinite(mean.new_lower):
            new = Interval(mean.new_lower, mean.new_upper, NAN, "Higgins, Thompson and Spiegelhalter, t with G − 2")
            yield _number("mean slope", "slope of another test set like these", mean.slope, new, **shared)


def _zeros(fit: ModelFit) -> Iterator[Number]:
    for where, found in (("within test sets", fit.zeros), ("pooled", fit.zeros_pooled)):
        if found is None:
            continue
        shared: dict[str, Any] = {"points": found.concepts, "clusters": _tasks(fit)}
        yield _number(
            "zeros",
            f"slope of found concepts, {where}",
            found.slope_of_found,
            found.of_found,
            unit=PER_DECADE,
            **shared,
        )
        yield _number(
            "zeros",
            f"slope with zeros on the line, {where}",
            found.slope_with_zeros,
            found.with_zeros,
            unit=PER_DECADE,
            **{**shared, "p": NAN, "note": "the slope above, again"},
        )
        yield _number(
            "zeros",
            f"step at zero, {where}",
            found.step,
            found.step_interval,
            unit="points",
            note="above 0: never found, yet better than the line at count 1",
            **shared,
        )
        difference = found.akaike_hurdle - found.akaike_with_zeros
        yield Number(
            "zeros",
            f"AIC of a step less AIC without, {where}",
            difference,
            unit="AIC",
            method="normal noise",
            note="below 0: zeros are not where the line has them",
            **shared,
        )


def _curve(fit: ModelFit) -> Iterator[Number]:
    if fit.curve is None:
        return
    curve = fit.curve
    shared: dict[str, Any] = {"points": len(fit.points), "clusters": _tasks(fit)}
    yield _number(
        "curvature",
        "bend within test sets",
        curve.bend,
        curve.bend_interval,
        unit="points per squared decade",
        **shared,
    )
    for what, akaike, p in (
        ("quadratic", curve.akaike_quadratic, curve.p_quadratic),
        ("natural spline", curve.akaike_spline, curve.p_spline),
    ):
        yield Number(
            "curvature",
            f"AIC of the {what} less that of the line",
            akaike - curve.akaike_line,
            p=p,
            unit="AIC",
            method="likelihood ratio, concepts as if independent",
            **shared,
        )


def _others(fit: ModelFit) -> Iterator[Number]:
    if fit.logistic is not None:
        found = fit.logistic
        shared: dict[str, Any] = {"points": found.points, "clusters": found.clusters}
        yield _number(
            "binomial",
            "log odds within test sets",
            found.log_odds,
            found.interval,
            unit="log odds per decade",
            **shared,
        )
        yield _number(
            ALTERNATIVES,
            "log odds within test sets",
            found.log_odds,
            found.quasi_interval,
            unit="log odds per decade",
            **shared,
        )
        yield Number(
            "binomial",
            "mean slope of the logistic line",
            found.points_per_decade,
            unit=PER_DECADE,
            method="mean over concepts",
            **shared,
        )
        yield Number(
            "binomial",
            "dispersion",
            found.dispersion,
            unit="times",
            method="Pearson's χ² over degrees of freedom",
            note="1: no more noise than the test images make",
            **shared,
        )
    if fit.without_error is not None:
        free = fit.without_error
        shared = {"points": len(fit.points), "clusters": _tasks(fit)}
        yield _number(
            "errors of frequencies",
            "slope within test sets, errors taken off",
            free.corrected,
            free.interval,
            unit=PER_DECADE,
            **{**shared, "method": f"SIMEX, quadratic; {free.interval.method}"},
        )
        yield Number(
            "errors of frequencies",
            "typical error of a frequency",
            free.typical_error,
            unit="decades",
            method="root mean square, from the intervals",
            **shared,
        )
    if fit.given_similarity is not None:
        given = fit.given_similarity
        method = f"partial correlation given similarity and test set; {given.interval.method}"
        yield _number(
            "partial",
            "r given similarity and test set",
            given.r,
            given.interval,
            unit="r",
            method=method,
            points=given.points,
            clusters=_tasks(fit),
        )


def _cuts(fit: ModelFit) -> Iterator[Number]:
    cuts = fit.cuts
    method = f"{len(cuts.table)} numbers of edges and slices"
    interval = Interval(cuts.lowest_r, cuts.highest_r, NAN, method)
    yield _number(
        "cuts",
        "published r over other cuts",
        fit.published.r,
        interval,
        unit="r",
        note="lowest and highest, no interval",
    )
    yield Number(
        "cuts", "cuts with a smaller r than the published one", 100 * cuts.share_below, unit="%", method=method
    )
    yield Number("cuts", "cuts with the other sign", 100 * cuts.share_other_sign, unit="%", method=method)
    if fit.thresholds is not None:
        for row in fit.thresholds.itertuples():
            at = f"at threshold {row.threshold:g}"
            yield Number("thresholds", f"r of bin means {at}", row.r, unit="r", method="as published")
            yield Number("thresholds", f"slope of bin means {at}", row.slope, unit=PER_DECADE, method="as published")
            yield Number("thresholds", f"concepts with count 0 {at}", row.zeros, unit="concepts", method="count")
            yield Number(
                "thresholds", f"slope within test sets {at}", row.within_slope, unit=PER_DECADE, method="least squares"
            )


def _needs(fit: ModelFit) -> Iterator[Number]:
    slopes = [("the published slope", fit.published.slope, fit.published_slope_interval)]
    if fit.pooled is not None:
        slopes.append(("the pooled slope", fit.pooled.slope, fit.pooled.cr2))
    if fit.within is not None:
        slopes.append(("the slope within test sets", fit.within.slope, fit.within.cr2))
    for what, slope, interval in slopes:
        need = data_needed(slope, interval.lower, interval.upper)
        carried = Interval(need.lower, need.upper, NAN, "10^(10/slope), interval of the slope carried over")
        yield _number(
            "need", f"times the data for 10 points more, by {what}", need.times, carried, unit="times", note=need.note
        )
