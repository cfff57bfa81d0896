"""Slopes and their intervals: each against a twin that is written out, and what must not change them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tailwag.analysis.fits.cluster_robust import cluster_robust
from tailwag.analysis.fits.exponential_need import data_needed
from tailwag.analysis.fits.moments import demeaned, moments, slopes
from tailwag.analysis.fits.multiple_testing import adjust, benjamini_hochberg, holm
from tailwag.analysis.fits.numbers import Number, numbers_table
from tailwag.analysis.fits.resampling import (
    bca_interval,
    draw_weights,
    fisher_jackknife_interval,
    jackknife_interval,
    leave_one_out,
    percentile_interval,
)
from tailwag.analysis.fits.slope_intervals import pooled_slope, within_slope
from tailwag.analysis.fits.wild_bootstrap import wild_interval
from tailwag.errors import BadInput


def made(seed=0, sizes=(3, 8, 20, 5, 40, 12), slope=0.5):
    generator = np.random.default_rng(seed)
    sets = np.repeat(np.arange(len(sizes)), sizes)
    x = generator.normal(size=len(sets)) + 0.3 * sets
    y = slope * x + generator.normal(size=len(sets)) + generator.normal(size=len(sizes))[sets]
    return x, y, sets


def cr2_written_out(design, values, clusters):
    """Bell and McCaffrey with n × n matrices, as the formula stands."""
    inverse = np.linalg.inv(design.T @ design)
    residuals = values - design @ (inverse @ design.T @ values)
    hat = design @ inverse @ design.T
    left = np.eye(len(values)) - hat
    meat, parts = 0.0, []
    for name in np.unique(clusters):
        own = clusters == name
        values_own, vectors = np.linalg.eigh(left[np.ix_(own, own)])
        root = np.where(values_own > 1e-8, 1 / np.sqrt(np.maximum(values_own, 1e-8)), 0)
        adjust_by = (vectors * root) @ vectors.T
        score = design[own].T @ adjust_by @ residuals[own]
        meat = meat + np.outer(score, score)
        parts.append(left[own].T @ adjust_by @ design[own] @ inverse)
    freedom = []
    for column in range(design.shape[1]):
        together = np.array([part[:, column] for part in parts])
        gram = together @ together.T
        freedom.append(np.trace(gram) ** 2 / (gram**2).sum())
    return np.sqrt(np.diag(inverse @ meat @ inverse)), np.array(freedom)


def test_cluster_errors_equal_formulas_written_out_and_statsmodels():
    x, y, sets = made()
    design = np.column_stack([np.ones_like(x), x, x**2])
    found = cluster_robust(design, y, sets)
    errors, freedom = cr2_written_out(design, y, sets)
    assert np.allclose(found.cr2, errors) and np.allclose(found.cr2_freedom, freedom)
    theirs = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": sets})
    assert np.allclose(found.coefficients, theirs.params) and np.allclose(found.cr1, theirs.bse)
    assert np.allclose(found.classical, sm.OLS(y, design).fit().bse)
    interval = found.cr2_interval(1, 0.9)
    reach = stats.t.ppf(0.95, freedom[1]) * errors[1]
    assert (interval.lower, interval.upper) == pytest.approx(
        (found.coefficients[1] - reach, found.coefficients[1] + reach)
    )


def test_means_taken_off_beforehand_give_what_an_intercept_a_set_gives():
    x, y, sets = made(1)
    short = cluster_robust(demeaned(x, sets)[:, None], demeaned(y, sets), sets, absorbed=6)
    whole = np.column_stack([x, np.eye(6)[sets]])
    errors, freedom = cr2_written_out(whole, y, sets)
    assert short.cr2[0] == pytest.approx(errors[0]) and short.cr2_freedom[0] == pytest.approx(freedom[0])
    assert short.classical[0] == pytest.approx(sm.OLS(y, whole).fit().bse[0])
    # The same design with its intercepts in it: each set determines its own, and the pseudo-inverse steps in.
    long = cluster_robust(whole, y, sets)
    assert long.cr2[0] == pytest.approx(errors[0]) and long.cr2_freedom[0] == pytest.approx(freedom[0])


def test_a_concept_a_cluster_is_hc2():
    x, y, _ = made(2)
    design = np.column_stack([np.ones_like(x), x])
    assert np.allclose(cluster_robust(design, y, np.arange(len(x))).cr2, sm.OLS(y, design).fit().HC2_se)


@pytest.mark.parametrize(
    ("design", "match"),
    [(np.ones((5, 2)), "constant or follows"), (np.zeros((5, 1)), "constant or follows"), (np.eye(5), "no degree")],
)
def test_a_design_that_says_nothing_is_refused(design, match):
    with pytest.raises(BadInput, match=match):
        cluster_robust(design, np.arange(5.0), np.array([0, 0, 1, 1, 1]))


points = st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20), st.integers(-20, 20)), min_size=4, max_size=25)


@given(points, st.data())
@settings(max_examples=60, deadline=None)
def test_slopes_by_sums_equal_slopes_of_the_repeated_points(cloud, data):
    names, x, y = (np.array(column, dtype=float) for column in zip(*cloud, strict=True))
    _, index = np.unique(names, return_inverse=True)
    groups = int(index.max()) + 1
    often = np.array(data.draw(st.lists(st.integers(0, 2), min_size=groups, max_size=groups)))
    if not often.any():
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        found = slopes(moments(x, y, index), often[None, :].astype(float))
    copies = [(place, copy) for place in range(groups) for copy in range(often[place])]
    xs, ys = [x[index == place] for place, _ in copies], [y[index == place] for place, _ in copies]

    def slope(a, b):
        a, b = a - a.mean(), b - b.mean()
        return a @ b / (a @ a) if a @ a > 1e-9 else np.nan

    def away(parts):
        return np.concatenate([part - part.mean() for part in parts])

    assert found.pooled[0] == pytest.approx(slope(np.concatenate(xs), np.concatenate(ys)), nan_ok=True)
    assert found.within[0] == pytest.approx(slope(away(xs), away(ys)), nan_ok=True)
    means = np.array([part.mean() for part in xs]), np.array([part.mean() for part in ys])
    assert found.between[0] == pytest.approx(slope(*means), nan_ok=True, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("function", [pooled_slope, within_slope])
def test_order_shift_and_scale_do_to_a_slope_what_they_must(function):
    x, y, sets = made(3)
    base = function(x, y, sets, replicates=300)
    order = np.random.default_rng(0).permutation(len(x))
    same = function(x[order], y[order], sets[order], replicates=300)
    shifted = function(x + 1, y + 0.1, sets, replicates=300)  # ten times the frequency, all concepts easier
    twice = function(x, 2 * y, sets, replicates=300)
    for mine, other, factor in ((base, same, 1), (base, shifted, 1), (base, twice, 2)):
        assert other.slope == pytest.approx(factor * mine.slope)
        for one, another in zip(mine.all(), other.all(), strict=True):
            # The wild bootstrap's p falls in steps, and where it first does so is a matter of rounding.
            near = 2e-2 if "wild" in one.method else 1e-6
            assert (another.lower, another.upper) == pytest.approx((factor * one.lower, factor * one.upper), rel=near)


def test_easier_sets_do_not_move_the_slope_within():
    x, y, sets = made(4)
    moved = y + np.array([5.0, -3, 0, 2, 9, -7])[sets]
    assert within_slope(x, moved, sets).slope == pytest.approx(within_slope(x, y, sets).slope)
    assert pooled_slope(x, moved, sets).slope != pytest.approx(pooled_slope(x, y, sets).slope)


def test_one_test_set_has_intervals_over_its_concepts():
    x, y, _ = made(5)
    found = within_slope(x, y, np.zeros(len(x)))
    design = np.column_stack([np.ones_like(x), x])
    theirs = sm.OLS(100 * y, design).fit()
    assert found.clusters == 1 and found.slope == pytest.approx(theirs.params[1])
    assert found.cr2.upper - found.cr2.lower == pytest.approx(2 * 1.99 * theirs.HC2_se[1], rel=0.05)
    assert np.isnan(found.wild.lower) and found.percentile.lower < found.slope < found.percentile.upper


def wild_p_written_out(x, y, sets, null, absorb):
    """Every pattern of signs, each sample fitted anew with all its columns."""
    names = np.unique(sets)
    own = (sets[:, None] == names).astype(float) if absorb else np.ones((len(x), 1))
    design = np.column_stack([x, own])

    def fit(values):
        inverse = np.linalg.pinv(design.T @ design)
        coefficients = inverse @ design.T @ values
        residuals = values - design @ coefficients
        scores = np.array([design[sets == name].T @ residuals[sets == name] for name in names])
        return coefficients[0], np.sqrt((inverse @ scores.T @ scores @ inverse)[0, 0])

    slope, error = fit(y)
    restricted = np.linalg.lstsq(own, y - null * x, rcond=None)[0]
    fitted = null * x + own @ restricted
    residuals = y - fitted
    statistics = []
    for signs in itertools.product([1.0, -1.0], repeat=len(names)):
        by_name = dict(zip(names, signs, strict=True))
        drawn, drawn_error = fit(fitted + residuals * np.array([by_name[name] for name in sets]))
        statistics.append(abs(drawn - null) / drawn_error)
    return np.mean(np.array(statistics) >= abs(slope - null) / error * (1 - 1e-9))


@pytest.mark.parametrize("absorb", [True, False])
def test_the_wild_bootstrap_equals_one_that_fits_every_sample(absorb):
    x, y, sets = made(6, sizes=(4, 9, 6, 11, 7, 5), slope=0.8)
    interval = wild_interval(x, y, sets, 0.9, absorb=absorb)
    assert interval.p == pytest.approx(wild_p_written_out(x, y, sets, 0.0, absorb))
    width = interval.upper - interval.lower
    for end, outward in ((interval.lower, -1), (interval.upper, 1)):
        assert wild_p_written_out(x, y, sets, end - outward * 0.01 * width, absorb) > 0.1
        assert wild_p_written_out(x, y, sets, end + outward * 0.01 * width, absorb) <= 0.1


def test_too_few_sets_for_the_wild_bootstrap_leave_its_interval_open():
    x, y, sets = made(7, sizes=(9, 9, 9, 9))
    assert wild_interval(x, y, sets, 0.95, absorb=True).upper == np.inf
    assert np.isnan(wild_interval(x, y, np.zeros(len(x)), 0.95, absorb=False).lower)


@pytest.mark.parametrize("slope", [0.0, 2.0])
def test_points_without_noise_have_no_wild_interval(slope):
    x, _, sets = made(7)
    assert np.isnan(wild_interval(x, slope * x, sets, 0.95, absorb=True).lower)


def test_jackknife_and_bca_equal_their_formulas():
    generator = np.random.default_rng(8)
    values = generator.exponential(size=12)
    weights = draw_weights(12, 4000, 1)
    draws, left = weights @ values / 12, leave_one_out(12) @ values / 11
    assert (weights.sum(1) == 12).all() and weights.mean() == pytest.approx(1)
    jackknife = jackknife_interval(values.mean(), left, 0.95)
    # The jackknife of a mean is the textbook interval of a mean.
    assert (jackknife.lower, jackknife.upper) == pytest.approx(
        stats.t.interval(0.95, 11, values.mean(), values.std(ddof=1) / np.sqrt(12))
    )
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, rng=2, method="BCa").confidence_interval
    mine = bca_interval(values.mean(), draws, left, 0.95)
    assert (mine.lower, mine.upper) == pytest.approx((theirs.low, theirs.high), abs=0.04)
    plain = percentile_interval(draws, 0.95)
    assert mine.lower > plain.lower and mine.upper > plain.upper  # skewed to the right
    assert plain.p == pytest.approx(2 / 4001)


def test_an_interval_of_a_correlation_stays_between_minus_one_and_one():
    found = fisher_jackknife_interval(0.9, np.array([0.95, 0.85, 0.91, 0.7, 0.97]), 0.95)
    assert -1 < found.lower < 0.9 < found.upper < 1


def test_undefined_draws_make_no_interval_when_they_are_many():
    assert np.isnan(percentile_interval(np.r_[np.full(10, np.nan), np.arange(90.0)], 0.95).lower)
    assert np.isfinite(percentile_interval(np.r_[np.full(3, np.nan), np.arange(97.0)], 0.95).lower)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)  # theirs takes a tenth of a second
def test_corrections_for_many_tests_equal_those_of_statsmodels(p):
    p = np.array(p)
    assert np.allclose(holm(p), multipletests(p, method="holm")[1])
    assert np.allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_only_questions_are_corrected():
    numbers = [Number("within", "a", 1.0, p=0.01), Number("intervals", "a", 1.0, p=0.02), Number("need", "b", 2.0)]
    one, alternative, without = adjust(numbers)
    assert one.holm == 0.01 and np.isnan([alternative.holm, without.holm]).all()
    table = numbers_table([one, alternative, without])
    assert list(table["quantity"]) == ["a", "a", "b"] and table["holm"].notna().sum() == 1


@pytest.mark.parametrize(
    ("slope", "lower", "upper", "times", "low", "high"),
    [
        (10, 5, 20, 10, 10**0.5, 100),
        (10, 0, 20, 10, 10**0.5, np.inf),
        (-1, -3, -0.5, np.inf, np.inf, np.inf),
        (0.01, 0.005, 0.02, np.inf, np.inf, np.inf),
        (10, np.nan, np.nan, 10, np.nan, np.nan),
        (np.nan, np.nan, np.nan, np.nan, np.nan, np.nan),
    ],
)
def test_the_need_for_data_follows_the_slopes_interval(slope, lower, upper, times, low, high):
    need = data_needed(slope, lower, upper)
    assert (need.times, need.lower, need.upper) == pytest.approx((times, low, high), nan_ok=True)
    assert bool(need.note) == (not lower > 0)
