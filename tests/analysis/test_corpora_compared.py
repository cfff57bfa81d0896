"""Pretraining sets compared: by name and not by position, as published where asked for, with exact intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tailwag.analysis.comparisons.corpora import compare_corpora, pearson, spearman, tail_overlap
from tailwag.analysis.comparisons.ratios import conditional_interval, interval_of_ratio, poisson_interval, ratios_of
from tailwag.analysis.inputs import Frequencies, Release
from tailwag.errors import BadInput, NotFound

from .tables import both, frequencies

SETS = ("cc3m", "cc12m", "yfcc15m", "laion400m")
PUBLISHED = {
    "caption": (0.792, 0.733, 0.560, 0.887, 0.681, 0.746),
    "joint": (0.917, 0.889, 0.777, 0.940, 0.833, 0.821),
}
RAW_PEARSON = (0.873, 0.762, 0.671, 0.709, 0.816, 0.533)


def released(data, side: str) -> Frequencies:
    release = Release(data / "data" / "paper")
    return both(*(release.frequencies(name, side) for name in SETS))


@pytest.mark.photos
@pytest.mark.parametrize("side", sorted(PUBLISHED))
def test_the_released_sets_correlate_as_stated_when_every_spelling_counts(data, side):
    compared = compare_corpora(released(data, side), side, pretrainings=SETS, as_spelt=True)
    assert [(pair.first, pair.second) for pair in compared.pairs] == list(itertools.combinations(SETS, 2))
    assert len(compared.concepts) == 3775
    assert [pair.spearman.value for pair in compared.pairs] == pytest.approx(PUBLISHED[side], abs=0.002)
    if side == "joint":
        assert [pair.pearson.value for pair in compared.pairs] == pytest.approx(RAW_PEARSON, abs=0.001)


@pytest.mark.photos
def test_with_one_entry_a_concept_the_released_sets_agree_a_little_otherwise(data):
    compared = compare_corpora(released(data, "joint"), "joint", pretrainings=SETS)
    assert len(compared.concepts) == 3696
    found = np.array([pair.spearman.value for pair in compared.pairs])
    assert np.abs(found - PUBLISHED["joint"]).max() < 0.02
    assert any(exclusion.reason == "different counts of one name" for exclusion in compared.exclusions)


def made(first: dict[str, float], second: dict[str, float], **shared) -> Frequencies:
    return both(
        frequencies(*first.items(), pretraining="x", rows=1000.0, **shared),
        frequencies(*second.items(), pretraining="y", rows=4000.0, **shared),
    )


FIRST = {"a b": 1, "c": 5, "d": 9, "e": 0, "f": 30}
SECOND = {"f": 80, "e": 2, "d": 20, "c": 0, "A_B": 7}


def test_concepts_meet_by_name_whatever_their_order():
    compared = compare_corpora(made(FIRST, SECOND), "image")
    assert dict(zip(compared.concepts, compared.frequencies.T.tolist(), strict=True)) == {
        "a b": [1, 7],
        "c": [5, 0],
        "d": [9, 20],
        "e": [0, 2],
        "f": [30, 80],
    }
    one = np.array([1, 5, 9, 0, 30])
    other = np.array([7, 0, 20, 2, 80])
    (pair,) = compared.pairs
    assert pair.spearman.value == pytest.approx(stats.spearmanr(one, other)[0])
    assert pair.pearson.value == pytest.approx(stats.pearsonr(one, other)[0])
    assert pair.pearson_log.concepts == 3


def test_a_concept_that_one_set_lacks_is_listed():
    compared = compare_corpora(made({**FIRST, "only here": 3}, SECOND), "image")
    assert [(e.name, e.reason, e.detail) for e in compared.exclusions] == [
        ("only here", "no count in every pretraining set", "x")
    ]
    assert len(compared.concepts) == 5


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadInput, match="two pretraining sets or more; there is x"):
        compare_corpora(frequencies(("a", 1), pretraining="x"), "image")
    with pytest.raises(NotFound, match="no image counts of 'z'; there are those of x, y"):
        compare_corpora(made(FIRST, SECOND), "image", pretrainings=["x", "z"])
    with pytest.raises(NotFound, match="no counts of side 'joint'; there are those of image"):
        compare_corpora(made(FIRST, SECOND), "joint")
    with pytest.raises(BadInput, match="1 concepts in common"):
        compare_corpora(made({"a": 1, "b": 2}, {"a": 1, "c": 2}), "image")
    with pytest.raises(BadInput, match="a share between 0 and 1"):
        compare_corpora(made(FIRST, SECOND), "image", tail_share=1.0)


def test_intervals_of_correlations_cover_at_their_rate():
    """Normal pairs with ρ = .6: over 600 draws of 60 each, 95 % within binomial error."""
    generator = np.random.default_rng(0)
    covered = {"pearson": 0, "spearman": 0}
    true_spearman = 6 / math.pi * math.asin(0.6 / 2)
    for _ in range(600):
        one = generator.normal(size=60)
        other = 0.6 * one + 0.8 * generator.normal(size=60)
        for name, found, true in (
            ("pearson", pearson(one, other), 0.6),
            ("spearman", spearman(one, other), true_spearman),
        ):
            covered[name] += found.lower <= true <= found.upper
    for number in covered.values():
        assert abs(number / 600 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 600)


def test_spearmans_interval_is_wider_than_pearsons_by_bonett_and_wrights_factor():
    generator = np.random.default_rng(4)
    one = generator.normal(size=50)
    found = spearman(one, one + generator.normal(size=50))
    reach = (math.atanh(found.upper) - math.atanh(found.lower)) / 2
    assert reach == pytest.approx(1.959964 * math.sqrt((1 + found.value**2 / 2) / 47), rel=1e-6)


def test_a_constant_side_has_no_correlation():
    assert math.isnan(spearman(np.zeros(9), np.arange(9)).value)
    assert str(pearson(np.zeros(9), np.arange(9))) == "–"
    assert spearman(np.arange(9), np.arange(9)).value == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30), st.sampled_from([0.1, 0.5]))
def test_the_overlap_of_tails_equals_counting_sets(values, share):
    one, other = (np.array(column) for column in zip(*values, strict=True))
    found = tail_overlap(one, other, share)
    wanted = max(1, math.floor(share * len(one)))
    rare = [{place for place, value in enumerate(side) if value <= sorted(side)[wanted - 1]} for side in (one, other)]
    assert (found.first, found.second) == (len(rare[0]), len(rare[1]))
    assert found.jaccard == len(rare[0] & rare[1]) / len(rare[0] | rare[1])
    # Its expectation lies between none and all in common.
    assert 0 <= found.expected <= min(len(rare[0]), len(rare[1])) / max(len(rare[0]), len(rare[1])) + 1e-12


def test_the_expected_overlap_is_the_mean_over_shuffles():
    generator = np.random.default_rng(1)
    one, other = np.repeat([0, 1, 2], 10), np.arange(30)
    shuffled = [tail_overlap(one, generator.permutation(other), 0.3).jaccard for _ in range(1500)]
    assert tail_overlap(one, other, 0.3).expected == pytest.approx(np.mean(shuffled), abs=0.015)


def test_ratios_are_of_shares_and_hold_where_nothing_was_counted():
    found = ratios_of(compare_corpora(made({**FIRST, "g": 0}, {**SECOND, "g": 0}), "image"), "x", "y")
    ratio = dict(zip(found.concepts, found.ratio, strict=True))
    assert ratio["d"] == pytest.approx((9 / 1000) / (20 / 4000))
    assert (ratio["c"], ratio["e"], math.isnan(ratio["g"])) == (math.inf, 0, True)
    ends = dict(zip(found.concepts, zip(found.lower, found.upper, strict=True), strict=True))
    assert ends["g"] == (0, math.inf)
    assert ends["c"][0] > 0 and ends["c"][1] == math.inf
    assert ends["e"][0] == 0 and 0 < ends["e"][1] < math.inf
    assert set(found.methods) == {"conditional"}


def test_a_set_of_unknown_size_has_no_ratios():
    unknown = both(frequencies(*FIRST.items(), pretraining="x", rows=math.nan), frequencies(*SECOND.items()))
    with pytest.raises(BadInput, match="nobody says how many pairs 'x' has"):
        ratios_of(compare_corpora(unknown, "image"), "x", "p")
    with pytest.raises(NotFound, match="'z' was not compared"):
        ratios_of(compare_corpora(unknown, "image"), "z", "p")


def test_the_conditional_interval_is_that_of_a_binomial_test_turned_round():
    lower, upper = conditional_interval(np.array([12]), np.array([5]), 1000, 3000)
    for end, side in ((lower[0], "greater"), (upper[0], "less")):
        share = end * 1000 / (end * 1000 + 3000)
        assert stats.binomtest(12, 17, share, alternative=side).pvalue == pytest.approx(0.025, abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(3.0, 9.0), (20.0, 4.0)])
def test_the_interval_of_a_ratio_covers_at_its_rate_or_more(first, second):
    generator = np.random.default_rng(2)
    one, other = generator.poisson(first, 4000), generator.poisson(second, 4000)
    lower, upper = conditional_interval(one, other, 1e6, 2e6)
    true = (first / 1e6) / (second / 2e6)
    covered = ((lower <= true) & (true <= upper)).mean()
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 4000)


def test_intervals_of_the_frequencies_are_carried_into_the_ratio():
    estimated = both(
        frequencies(*FIRST.items(), pretraining="x"),
        frequencies(*SECOND.items(), pretraining="y"),
    )
    table = estimated.table
    table["estimate"] = table["count"]
    table["lower"], table["upper"] = table["count"] * 0.5, table["count"] * 2.0
    wide = ratios_of(compare_corpora(estimated, "image"), "x", "y")
    assert set(wide.methods) == {"from intervals"}
    place = wide.concepts.index("d")
    reach = math.hypot(math.log(2), math.log(2))
    assert math.log(wide.upper[place] / wide.ratio[place]) == pytest.approx(reach)
    assert math.log(wide.ratio[place] / wide.lower[place]) == pytest.approx(reach)
    # One estimate beside an exact count: the interval is wider than of the two counts alone.
    table.loc[table["pretraining"] == "y", ["estimate", "lower", "upper"]] = math.nan
    mixed = ratios_of(compare_corpora(estimated, "image"), "x", "y")
    assert set(mixed.methods) == {"from intervals"}
    lower, upper = conditional_interval(np.array([30]), np.array([80]), 1000, 1000)
    place = mixed.concepts.index("f")
    assert mixed.lower[place] < lower[0] and mixed.upper[place] > upper[0]


def test_the_interval_from_intervals_covers_about_as_often_as_theirs():
    generator = np.random.default_rng(3)
    one, other = generator.poisson(40, 3000), generator.poisson(25, 3000)
    ends = [poisson_interval(counts.astype(float)) for counts in (one, other)]
    lower, upper = interval_of_ratio(
        np.array([one, other]) / 1e4, np.array([end[0] for end in ends]) / 1e4, np.array([end[1] for end in ends]) / 1e4
    )
    covered = ((lower <= 1.6) & (upper >= 1.6)).mean()
    assert 0.94 < covered < 0.98


def test_poisson_intervals_are_garwoods():
    lower, upper = poisson_interval(np.array([0.0, 7.0]))
    assert (lower[0], upper[0]) == (0, pytest.approx(-math.log(0.025)))
    assert stats.poisson.sf(6, lower[1]) == pytest.approx(0.025)
    assert stats.poisson.cdf(7, upper[1]) == pytest.approx(0.025)
