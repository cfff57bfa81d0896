"""How far captions name what is prominent is learned from mentions alone, and recall is mended by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.excess import find_excess
from tailwag.analysis.calibration.prominence import learn_prominence, standard_distances
from tailwag.benchmarks.similarity_simulation import Captions, simulate_histograms

PRIOR = (0.25, 0.25)


def learned(made, prior=PRIOR):
    excesses = [find_excess(*both) for both in zip(made.rows, made.mentions, strict=True)]
    return learn_prominence(made.rows, made.mentions, excesses, *prior)


@pytest.mark.parametrize(("slope", "low", "high"), [(0.0, -0.1, 0.2), (0.5, 0.35, 0.65), (1.0, 0.5, 1.2)])
def test_the_slope_of_simulated_captions_is_found(slope, low, high):
    # A steep one comes out too flat: where nearly every row is named, little is left to rise.
    made = simulate_histograms(1e-2, Captions((0.4, 0.8), slope), concepts=12, rows=3_000_000, seed=21)
    found, deviation = learned(made)
    assert low < found < high
    assert deviation < PRIOR[1]


def test_one_concept_is_regressed_as_a_plain_likelihood_is_maximised():
    made = simulate_histograms(1e-2, Captions((0.6, 0.6), 0.5), concepts=1, rows=2_000_000, seed=3)
    distances = standard_distances(made.mentions[0], find_excess(made.rows[0], made.mentions[0]))
    taken = (distances >= 1) & (made.rows[0] > 0)
    number, named, away = made.rows[0][taken], made.mentions[0][taken], distances[taken]

    def cost(line):
        odds = line[0] + line[1] * away
        return -(named * odds - number * np.logaddexp(0, odds)).sum() + line[1] ** 2 / 8

    slope = optimize.minimize(cost, [0.0, 0.0]).x[1]
    # A prior that says nothing leaves the one concept's own.
    assert learned(made, prior=(0.0, 1e6))[0] == pytest.approx(slope, abs=2e-3)


@given(st.integers(0, 1_000), st.sampled_from([0.0, 0.5]), st.floats(-0.5, 1.0), st.floats(0.05, 0.5))
@settings(max_examples=20, deadline=None)
def test_the_order_of_concepts_changes_nothing_and_deviations_stay_finite(seed, slope, prior, deviation):
    made = simulate_histograms(1e-2, Captions(prominence=slope), concepts=4, rows=100_000, seed=seed)
    backwards = replace(made, rows=made.rows[::-1], mentions=made.mentions[::-1])
    found = learned(made, (prior, deviation))
    assert learned(backwards, (prior, deviation)) == pytest.approx(found)
    assert np.isfinite(found).all() and found[1] > 0


def test_where_mentions_are_few_the_prior_stays():
    made = simulate_histograms(1e-4, concepts=3, rows=100_000, seed=0)
    assert learned(made) == PRIOR


def test_recall_and_frequency_are_right_however_captions_follow_prominence():
    for slope in (0.0, 0.5):
        captions = Captions((0.4, 0.8), slope, look_alikes_named=0.0)
        made = simulate_histograms(1e-2, captions, concepts=12, rows=1_000_000, seed=5)
        found = anchored_frequencies(made.rows, made.mentions)
        ratios = np.log10([one.estimate / truth for one, truth in zip(found, made.truth, strict=True)])
        assert abs(np.median(ratios)) < 0.06, slope
        recalls = made.true_mentions.sum(axis=1) / made.truth
        far = [
            abs(special.logit(one.recall.share) - special.logit(true)) for one, true in zip(found, recalls, strict=True)
        ]
        assert np.median(far) < 0.5, slope


def test_intervals_of_common_concepts_are_narrower_and_hold_the_truth():
    widths, inside = {}, []
    for prevalence in (1e-3, 0.2):
        made = simulate_histograms(prevalence, Captions((0.6, 0.8), 0.5), concepts=30, rows=300_000, seed=6)
        found = anchored_frequencies(made.rows, made.mentions)
        widths[prevalence] = np.median([one.upper / one.lower for one in found])
        inside += [one.lower <= truth <= one.upper for one, truth in zip(found, made.truth, strict=True)]
    assert widths[0.2] < 0.7 * widths[1e-3]
    assert np.mean(inside) >= 0.9
