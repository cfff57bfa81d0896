"""Models beyond one slope: each against statsmodels or a twin that is written out, and what it must find if planted."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tailwag.analysis.fits import concept_level
from tailwag.analysis.fits.binomial import logistic_slope
from tailwag.analysis.fits.curvature import curvature, natural_spline
from tailwag.analysis.fits.frequency_errors import log_error, simex
from tailwag.analysis.fits.information import akaike, likelihood_ratio
from tailwag.analysis.fits.mixed_effects import mean_of_slopes, mixed_slope
from tailwag.analysis.fits.partial import partial_correlation
from tailwag.analysis.fits.published import published_fit
from tailwag.analysis.fits.sensitivity import (
    cut_flags,
    published_with_other_sets,
    sensitivity_to_cut,
    sensitivity_to_threshold,
)
from tailwag.analysis.fits.within_sets import decompose
from tailwag.analysis.fits.zeros import hurdle
from tailwag.errors import BadInput
from tests.analysis.test_fits_intervals import cr2_written_out


def made(seed=0, sets=8, of_each=40, slope=0.03, spread=0.0, noise=0.1, easier=0.0):
    """Log frequencies, accuracies and sets; the slope is a share a decade."""
    generator = np.random.default_rng(seed)
    level = generator.normal(2.5, 0.8, sets)
    names = np.repeat(np.arange(sets), of_each)
    x = np.abs(level[names] + generator.normal(0, 1, len(names)))
    own = slope + spread * generator.normal(size=sets)
    base = 0.5 + easier * (level - 2.5) + generator.normal(0, 0.05, sets)
    values = base[names] + own[names] * (x - 2.5) + generator.normal(0, noise, len(names))
    return x, values, names


def test_correlations_over_concepts_equal_scipys():
    generator = np.random.default_rng(1)
    frequency, values = generator.poisson(2, 200).astype(float), generator.uniform(size=200)
    assert concept_level.spearman(frequency, values).value == stats.spearmanr(frequency, values).statistic
    assert concept_level.kendall(frequency, values).p == stats.kendalltau(frequency, values).pvalue
    there = frequency > 0
    found = concept_level.pearson_of_found(frequency, values)
    assert found.value == stats.pearsonr(np.log10(frequency[there]), values[there]).statistic
    assert found.concepts == there.sum() < 200
    everything = concept_level.pearson_of_all(frequency, values)
    assert everything.value == stats.pearsonr(np.log10(1 + frequency), values).statistic
    assert np.isnan(concept_level.spearman(np.ones(5), np.arange(5)).value)
    for wrong in (np.array([-1.0]), np.array([np.nan])):
        with pytest.raises(BadInput):
            concept_level.log_frequency(wrong)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_pooled_slope_is_a_mean_of_the_slopes_within_and_between(seed):
    x, values, sets = made(seed, sets=5, easier=0.1)
    apart = decompose(x, values, sets)
    # Mundlak: the weighted slope between sets is the one within and the contextual effect.
    between = apart.within + apart.contextual_slope
    assert apart.pooled == pytest.approx(apart.share_within * apart.within + (1 - apart.share_within) * between)


def test_simpsons_paradox_is_taken_apart():
    x, values, sets = made(2, slope=-0.05, easier=0.2, noise=0.05)
    apart = decompose(x, values, sets)
    assert apart.pooled > 0 > apart.within and apart.between > 10
    assert apart.contextual.lower > 0 and apart.contextual.p < 0.05


def test_each_sets_line_is_that_of_hc3():
    x, values, sets = made(3)
    for each in decompose(x, values, sets, 0.9).sets:
        own = sets == int(each.task)
        theirs = sm.OLS(100 * values[own], sm.add_constant(x[own])).fit(cov_type="HC3", use_t=True)
        assert (each.slope, each.error, each.p) == pytest.approx((theirs.params[1], theirs.bse[1], theirs.pvalues[1]))
        assert (each.lower, each.upper) == pytest.approx(tuple(theirs.conf_int(0.1)[1]))


def test_a_set_whose_frequencies_do_not_vary_has_no_slope_and_harms_no_other():
    x, values, sets = made(4, sets=3)
    x[sets == 1] = 2.0
    first, second, _ = decompose(x, values, sets).sets
    assert np.isfinite(first.slope) and np.isnan([second.slope, second.lower, second.p]).all()


def test_information_criteria_equal_those_of_statsmodels():
    x, values, _ = made(5)
    small = sm.OLS(values, sm.add_constant(x)).fit()
    large = sm.OLS(values, np.column_stack([np.ones_like(x), x, x**2])).fit()
    # Theirs does not count the noise as a parameter; differences are the same.
    mine = akaike(large.resid, 4) - akaike(small.resid, 3)
    assert mine == pytest.approx(large.aic - small.aic)
    ratio, p, _ = large.compare_lr_test(small)
    assert likelihood_ratio(small.resid, large.resid, 1) == pytest.approx((ratio, p))


def test_a_step_at_zero_is_found_and_none_is_not():
    generator = np.random.default_rng(6)
    frequency = np.where(generator.uniform(size=600) < 0.4, 0, np.round(10 ** generator.uniform(0, 5, 600)))
    sets = generator.integers(0, 6, 600)
    line = 0.3 + 0.05 * concept_level.log_frequency(frequency) + generator.normal(0, 0.02, 600)
    plain = hurdle(frequency, line, sets)
    lifted = hurdle(frequency, line + 0.1 * (frequency == 0), sets)
    assert plain.slope_with_zeros == pytest.approx(5, abs=0.2) and plain.zeros == (frequency == 0).sum()
    assert lifted.step == pytest.approx(10, abs=1.5) and lifted.step_interval.lower > 5
    assert lifted.akaike_hurdle < lifted.akaike_with_zeros - 100
    assert lifted.slope_of_found == pytest.approx(plain.slope_of_found) and lifted.slope_with_zeros < 4
    design = np.column_stack([np.log10(np.maximum(frequency, 1)), frequency == 0, np.eye(6)[sets]])
    assert sm.OLS(100 * line, design).fit().params[:2] == pytest.approx([plain.slope_of_found, plain.step])
    pooled = hurdle(frequency, line, sets, within=False)
    there = frequency > 0  # with one intercept and the indicator, zeros have no part in the slope
    assert np.polyfit(np.log10(frequency[there]), 100 * line[there], 1)[0] == pytest.approx(pooled.slope_of_found)


def test_without_zeros_there_is_no_step():
    x, values, sets = made(7)
    found = hurdle(10**x + 1, values, sets)
    assert np.isnan([found.step, found.slope_of_found, found.akaike_hurdle]).all() and found.zeros == 0
    with pytest.raises(BadInput):
        hurdle(np.full(20, 7), values[:20], sets[:20])


def test_the_spline_is_cubic_between_its_knots_and_straight_beyond():
    knots = np.array([0.5, 1.5, 2.5, 4.0])
    grid = np.linspace(-2, 7, 901)
    columns = natural_spline(grid, knots)
    assert columns.shape == (901, 3)
    second = np.diff(columns, 2, axis=0)
    outside = (grid[1:-1] < 0.49) | (grid[1:-1] > 4.01)
    assert np.abs(second[outside]).max() < 1e-9 and np.abs(second[:, 1:]).max() > 1e-6
    # Smooth to the second derivative: its steps shrink with the grid's.
    assert np.abs(np.diff(second, axis=0)).max() < 3 * 0.01**3


def test_a_bend_is_found_and_a_line_has_none():
    x, values, sets = made(8, noise=0.02)
    straight, bent = curvature(x, values, sets), curvature(x, values + 0.03 * (x - 2.5) ** 2, sets)
    assert bent.bend == pytest.approx(3, abs=0.3) and bent.bend_interval.lower > 2 and bent.p_quadratic < 1e-6
    assert bent.akaike_quadratic < bent.akaike_line - 50 and bent.p_spline < 1e-6
    assert straight.bend_interval.lower < 0 < straight.bend_interval.upper and straight.p_quadratic > 0.01
    assert straight.akaike_quadratic > straight.akaike_line - 6
    design = np.column_stack([x, x**2, np.eye(8)[sets]])
    assert sm.OLS(100 * values, design).fit().params[1] == pytest.approx(straight.bend)
    # All three curves go through the mean of all concepts, if anywhere.
    assert np.interp(x.mean(), straight.grid, straight.line) == pytest.approx(100 * values.mean())
    with pytest.raises(BadInput, match="too few different"):
        curvature(np.array([0.0, 0, 1, 1, 1]), values[:5], sets[:5])


def test_the_mean_of_slopes_maximises_its_restricted_likelihood():
    slopes, errors = np.array([1.0, 4, 2, 7, -1, np.nan]), np.array([0.5, 1, 0.7, 2, 0.6, 1])
    found = mean_of_slopes(slopes, errors, 0.95)
    kept, variances = slopes[:5], errors[:5] ** 2

    def likelihood(tau):
        weights = 1 / (variances + tau**2)
        mean = np.average(kept, weights=weights)
        return stats.norm.logpdf(kept, mean, np.sqrt(variances + tau**2)).sum() - 0.5 * np.log(weights.sum())

    grid = np.linspace(0, 10, 20001)
    assert found.spread == pytest.approx(grid[np.argmax([likelihood(each) for each in grid])], abs=2e-3)
    weights = 1 / (variances + found.spread**2)
    mean = np.average(kept, weights=weights)
    error = np.sqrt((weights * (kept - mean) ** 2).sum() / 4 / weights.sum())
    assert found.slope == pytest.approx(mean) and found.clusters == 5
    assert found.interval.upper - mean == pytest.approx(stats.t.ppf(0.975, 4) * error)
    alike = mean_of_slopes(np.array([1.0, 1.1, 0.9, 1.0]), np.full(4, 1.0))
    assert alike.spread == 0 and alike.new_upper > alike.interval.upper - 1e-9
    with pytest.raises(BadInput):
        mean_of_slopes(np.array([1.0]), np.array([1.0]))


def test_the_mixed_model_equals_statsmodels():
    from statsmodels.regression.mixed_linear_model import MixedLM

    x, values, sets = made(9, sets=10, spread=0.03)
    means = np.bincount(sets, weights=x) / np.bincount(sets)
    design = np.column_stack([np.ones_like(x), x - means[sets], means[sets] - means.mean()])
    theirs = MixedLM(100 * values, design, groups=sets, exog_re=design[:, :2]).fit(reml=True)
    found = mixed_slope(x, values, sets)
    assert found.slope == pytest.approx(theirs.fe_params[1], abs=2e-3) and not found.flags
    assert found.spread == pytest.approx(np.sqrt(theirs.cov_re[1, 1]), rel=2e-3)
    # (X'V⁻¹X)⁻¹ written out at their variances.
    total = np.zeros((3, 3))
    for each in range(10):
        rows = design[sets == each]
        noise = theirs.scale * np.eye(len(rows)) + rows[:, :2] @ theirs.cov_re @ rows[:, :2].T
        total += rows.T @ np.linalg.inv(noise) @ rows
    error = np.sqrt(np.linalg.inv(total)[1, 1])
    assert found.interval.upper - found.slope == pytest.approx(stats.t.ppf(0.975, 9) * error, rel=2e-3)


def test_a_mixed_model_without_differences_says_that_it_lies_at_its_edge():
    generator = np.random.default_rng(10)
    sets = np.repeat(np.arange(6), 50)
    x = generator.normal(2, 1, 300)
    noise = generator.normal(0, 0.1, 300)
    # Take out of the noise what a set could have of its own.
    for each in range(6):
        own = sets == each
        columns = np.column_stack([np.ones(50), x[own]])
        noise[own] -= columns @ np.linalg.lstsq(columns, noise[own], rcond=None)[0]
    found = mixed_slope(x, 0.3 + 0.05 * x + noise, sets)
    assert found.slope == pytest.approx(5) and found.spread == pytest.approx(0, abs=1e-2)
    assert [flag.severity for flag in found.flags] == ["note"]
    with pytest.raises(BadInput, match="too few"):
        mixed_slope(x, noise, np.repeat([0, 1], 150))
    with pytest.raises(BadInput, match="vary"):
        mixed_slope(x, np.full(300, 0.5), sets)


def test_simex_gives_back_what_errors_took():
    x, values, sets = made(11, sets=10, of_each=400, slope=0.05)
    errors = np.full(len(x), 0.5)
    seen = x + np.random.default_rng(0).normal(0, errors)
    truth = decompose(x, values, sets).within
    found = simex(seen, errors, values, sets)
    assert found.naive == pytest.approx(decompose(seen, values, sets).within)
    assert found.naive < 0.85 * truth and abs(found.corrected - truth) < abs(found.naive - truth) / 3
    assert found.interval.lower < truth < found.interval.upper
    assert (np.diff(found.at_lambdas) < 0).all() and found.typical_error == pytest.approx(0.5)


def test_simex_without_errors_changes_nothing_and_draws_the_same_each_time():
    x, values, sets = made(12)
    still = simex(x, np.zeros(len(x)), values, sets, draws=5)
    assert still.corrected == pytest.approx(still.naive)
    one, other = (simex(x, np.full(len(x), 0.3), values, sets, draws=5, seed=3) for _ in range(2))
    assert one.corrected == other.corrected
    single = simex(x, np.full(len(x), 0.3), values, np.zeros(len(x)), draws=5)
    assert single.interval.lower < single.corrected < single.interval.upper
    with pytest.raises(BadInput):
        simex(x, np.full(len(x), -1.0), values, sets)


def test_an_interval_of_a_frequency_gives_its_error_in_decades():
    lower, upper = np.array([9, 99, np.nan]), np.array([99, 99, 5])
    assert log_error(lower, upper) == pytest.approx([1 / (2 * 1.959964), 0, np.nan], nan_ok=True)
    for wrong in ((np.array([5.0]), np.array([4.0])), (np.array([-1.0]), np.array([4.0]))):
        with pytest.raises(BadInput):
            log_error(*wrong)


def test_a_partial_correlation_is_that_of_residuals():
    x, values, sets = made(13)
    similarity = 0.5 * x + np.random.default_rng(1).normal(size=len(x))
    found = partial_correlation(x, values, similarity[:, None], sets)
    design = np.column_stack([similarity, np.eye(8)[sets]])
    ours, theirs = (sm.OLS(each, design).fit().resid for each in (x, values))
    assert found.r == pytest.approx(stats.pearsonr(ours, theirs).statistic)
    # Its p is that of the coefficient in the regression on both.
    assert found.p == pytest.approx(sm.OLS(values, np.column_stack([x, design])).fit().pvalues[0])
    assert found.interval.lower < found.r < found.interval.upper
    explained = partial_correlation(x, values, x[:, None], sets)
    assert np.isnan(explained.r) and np.isnan(explained.p)
    with pytest.raises(BadInput):
        partial_correlation(x, values, np.full((len(x), 1), np.nan), sets)


def test_the_logistic_line_equals_statsmodels_and_recovers_planted_odds():
    x, _, sets = made(14, sets=10, of_each=60)
    generator = np.random.default_rng(2)
    trials = generator.integers(5, 60, len(x)).astype(float)
    chance = 1 / (1 + np.exp(-(0.4 * (x - 2.5) + 0.2 * (sets - 5))))
    values = generator.binomial(trials.astype(int), chance) / trials
    found = logistic_slope(x, values, trials, sets)
    answers = np.column_stack([np.round(values * trials), trials - np.round(values * trials)])
    design = np.column_stack([x, np.eye(10)[sets]])
    theirs = sm.GLM(answers, design, family=sm.families.Binomial()).fit()
    fitted = theirs.fittedvalues
    # Their own dispersion of answers in two columns leaves the number of trials out.
    dispersion = (trials * (values - fitted) ** 2 / (fitted * (1 - fitted))).sum() / (len(x) - 11)
    assert found.log_odds == pytest.approx(theirs.params[0]) and found.dispersion == pytest.approx(dispersion)
    reach = 1.959964 * theirs.bse[0] * np.sqrt(dispersion)
    assert found.quasi_interval.upper - found.log_odds == pytest.approx(reach)
    assert found.interval.lower < 0.4 < found.interval.upper and found.dispersion == pytest.approx(1, abs=0.15)
    # The weighted design of the last step, at their fit: each answer counts by its trials and its variance.
    root = np.sqrt(trials * fitted * (1 - fitted))
    scaled = trials * (values - fitted) / root
    errors, freedom = cr2_written_out(design * root[:, None], scaled + (design * root[:, None]) @ theirs.params, sets)
    half = (found.interval.upper - found.interval.lower) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, freedom[0]) * errors[0], rel=1e-5)
    gee = sm.GEE(answers[:, 0] / trials, design, groups=sets, family=sm.families.Binomial(), weights=trials).fit()
    assert found.log_odds == pytest.approx(gee.params[0], abs=1e-6)
    marginal = 100 * np.mean(fitted * (1 - fitted)) * theirs.params[0]
    assert found.points_per_decade == pytest.approx(marginal)


def test_a_set_with_nothing_right_is_left_out_and_named():
    x, _, sets = made(15, sets=4, of_each=30)
    values = np.random.default_rng(3).binomial(20, np.where(sets == 2, 0, 0.5)) / 20
    trials = np.full(len(x), 20.0)
    found = logistic_slope(x, values, trials, sets)
    assert found.left_out == ("2",) and found.points == 90 and found.clusters == 3
    with pytest.raises(BadInput, match="no slope"):
        logistic_slope(x, np.zeros(len(x)), trials, sets)
    with pytest.raises(BadInput, match="below 1"):
        logistic_slope(x, values, 0 * trials, sets)


def test_other_cuts_are_the_published_procedure_with_other_numbers():
    x, values, _ = made(16)
    counts = np.round(10**x)
    published = published_fit(counts, values)
    cuts = sensitivity_to_cut(counts, values, published.r, edges=(10, 12), most_dropped=2)
    assert len(cuts.table) == 2 * 9
    same = cuts.table.query("edges == 12 and first == 1 and last == 10").iloc[0]
    assert same["r"] == published.r and same["slope"] == published.slope
    assert cuts.lowest_r == cuts.table["r"].min() <= published.r <= cuts.highest_r
    assert cuts.share_below == (cuts.table["r"] < published.r).mean()
    assert "over 18 other cuts" in cut_flags(cuts, published.r)[0].text
    assert cut_flags(cuts, np.nan) == ()


def test_other_thresholds_need_the_same_concepts():
    x, values, sets = made(17)
    counts = np.round(10**x)
    table = sensitivity_to_threshold({0.7: counts // 2, 0.5: counts}, values, sets, edges=12, drawn=slice(1, 11))
    assert list(table["threshold"]) == [0.5, 0.7]
    assert table["r"].iloc[0] == published_fit(counts, values).r
    expected = decompose(concept_level.log_frequency(counts), values, sets)
    assert (table["within_slope"].iloc[0], table["within_r"].iloc[0]) == pytest.approx(
        (expected.within, expected.within_r)
    )
    with pytest.raises(BadInput, match="threshold 0.6"):
        sensitivity_to_threshold({0.6: counts[1:]}, values, sets, edges=12, drawn=slice(1, 11))


def test_the_published_r_of_drawn_sets_is_that_of_the_repeated_rows():
    x, values, sets = made(18, sets=4)
    counts = np.round(10**x)
    r, slope = published_with_other_sets(counts, values, sets, edges=8, drawn=slice(1, 7), replicates=20, seed=5)
    weights = np.random.default_rng(5).multinomial(4, np.full(4, 0.25), size=20)
    for row in range(20):
        rows = np.concatenate([np.flatnonzero(sets == each) for each in np.repeat(np.arange(4), weights[row])])
        fit = published_fit(counts[rows], values[rows], edges=8, drawn=slice(1, 7))
        assert (r[row], slope[row]) == pytest.approx((fit.r, fit.slope))
