"""Intervals from samples: equal to exact arithmetic where that can be done, and true as often as they say."""

import doctest
import math
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tailwag.errors import BadInput
from tailwag.retrieval.estimates import (
    clopper_pearson,
    hypergeometric_interval,
    intervals,
    looks,
    point_estimate,
    result,
    scheduled_interval,
    sequence_interval,
    sequences,
)
from tailwag.retrieval.estimates.distributions import (
    LOG_ERROR,
    gram_rule,
    log_beta_binomial,
    log_hypergeometric,
    log_upper_tail,
)
from tailwag.retrieval.estimates.sequences import PRIOR, log_prior_probability

BILLIONS = 5_000_000_000
LEVELS = (Fraction(1, 2), Fraction(8, 10), Fraction(95, 100), Fraction(999, 1000))


@cache
def probability(hits: int, sampled: int, total_hits: int, rows: int) -> Fraction:
    ways = math.comb(total_hits, hits) * math.comb(rows - total_hits, sampled - hits)
    return Fraction(ways, math.comb(rows, sampled))


def between(wider: list[int], narrower: list[int], lower: int, upper: int) -> bool:
    """An interval holds all that it must and nothing that it may not; the two differ by ties alone."""
    return wider[0] <= lower <= narrower[0] and narrower[-1] <= upper <= wider[-1]


def tail_tested(hits, sampled, rows, tail: Fraction) -> list[int]:
    """All numbers of hits that neither one-sided test of this level refuses, in exact arithmetic."""

    def kept(total):
        above = sum(probability(each, sampled, total, rows) for each in range(hits, sampled + 1))
        return above > tail and 1 - above + probability(hits, sampled, total, rows) > tail

    return [total for total in range(rows + 1) if kept(total)]


def rising(start: Fraction, steps: int) -> Fraction:
    return math.prod((start + step for step in range(steps)), start=Fraction(1))


def prior_probability(hits: int, sampled: int) -> Fraction:
    def one(a, b):
        a, b = Fraction(a), Fraction(b)
        return math.comb(sampled, hits) * rising(a, hits) * rising(b, sampled - hits) / rising(a + b, sampled)

    return sum((one(a, b) for a, b in PRIOR), start=Fraction(0)) / len(PRIOR)


def ratio_tested(hits, sampled, rows, error: Fraction) -> list[int]:
    """All numbers of hits whose prior has not grown to 1/error times their posterior, in exact arithmetic."""
    level = error * prior_probability(hits, sampled)
    return [total for total in range(rows + 1) if probability(hits, sampled, total, rows) > level]


@st.composite
def samples(draw, most=60):
    rows = draw(st.integers(1, most))
    sampled = draw(st.integers(0, rows))
    return draw(st.integers(0, sampled)), sampled, rows


@st.composite
def large_samples(draw):
    """Samples of any corpus up to five billion rows, rare and frequent hits alike."""
    rows = draw(st.integers(1, draw(st.sampled_from([100, 10_000, 10**7, BILLIONS]))))
    sampled = draw(st.integers(0, rows) | st.integers(0, min(rows, 10_000)))
    hits = draw(st.integers(0, sampled) | st.integers(0, min(sampled, 50)))
    return hits, sampled, rows


@given(samples(), st.sampled_from(LEVELS))
@settings(max_examples=120, deadline=None)
def test_an_interval_holds_what_no_exact_test_refuses(sample, confidence):
    lower, upper = hypergeometric_interval(*sample, float(confidence))
    tail, slack = (1 - confidence) / 2, Fraction(1, 10**8)
    assert between(tail_tested(*sample, tail * (1 - slack)), tail_tested(*sample, tail * (1 + slack)), lower, upper)


@given(samples(), st.sampled_from(LEVELS))
@settings(max_examples=120, deadline=None)
def test_a_sequences_interval_holds_what_the_exact_ratio_does_not_refuse(sample, confidence):
    lower, upper = sequence_interval(*sample, float(confidence))
    error, slack = 1 - confidence, Fraction(1, 10**8)
    assert between(ratio_tested(*sample, error * (1 - slack)), ratio_tested(*sample, error * (1 + slack)), lower, upper)


@given(samples(200))
@settings(max_examples=100, deadline=None)
def test_the_estimate_is_the_nearest_whole_number(sample):
    hits, sampled, rows = sample
    found = int(point_estimate(*sample))
    assert abs(found - Fraction(hits * rows, max(sampled, 1))) <= Fraction(1, 2)
    assert point_estimate(2_000_000_001, 4_000_000_003, BILLIONS) == 2_500_000_000 - 1


ALL_INTERVALS = pytest.mark.parametrize(
    "interval",
    [hypergeometric_interval, sequence_interval, lambda *sample: scheduled_interval(*sample, looks=9)],
    ids=["one look", "sequence", "scheduled"],
)


@ALL_INTERVALS
@given(sample=large_samples(), confidence=st.sampled_from([0.5, 0.95, 0.9999]))
@settings(max_examples=40, deadline=None)
def test_an_interval_is_possible_and_holds_the_estimate(interval, sample, confidence):
    hits, sampled, rows = sample
    lower, upper = interval(*sample, confidence)
    assert hits <= lower <= upper <= rows - (sampled - hits)
    assert sampled == 0 or lower <= point_estimate(*sample) <= upper
    if sampled == rows:
        assert lower == upper == hits == point_estimate(*sample)
    if sampled == 0:
        assert (lower, upper) == (0, rows)


@ALL_INTERVALS
@given(sample=large_samples(), confidence=st.sampled_from([0.5, 0.95, 0.9999]))
@settings(max_examples=40, deadline=None)
def test_misses_are_counted_as_hits_are(interval, sample, confidence):
    hits, sampled, rows = sample
    lower, upper = interval(*sample, confidence)
    other_lower, other_upper = interval(sampled - hits, sampled, rows, confidence)
    assert (rows - other_upper, rows - other_lower) == (lower, upper)


@ALL_INTERVALS
@given(sample=large_samples())
@settings(max_examples=40, deadline=None)
def test_more_confidence_is_wider_and_more_hits_are_higher(interval, sample):
    hits, sampled, rows = sample
    less, more = interval(*sample, 0.9), interval(*sample, 0.99)
    assert more[0] <= less[0] <= less[1] <= more[1]
    if hits < sampled:
        above = interval(hits + 1, sampled, rows, 0.9)
        assert less[0] <= above[0]
        assert less[1] <= above[1]


@ALL_INTERVALS
def test_an_array_is_answered_as_its_elements_are(interval):
    hits = np.array([[0, 3, 3], [500, 999, 1000]])
    sampled, rows = np.array([[1000], [1000]]), np.array([1000, 50_000, 10**9])
    lower, upper = interval(hits, sampled, rows, 0.9)
    assert lower.shape == upper.shape == (2, 3)
    assert lower.dtype == upper.dtype == np.int64
    for place in np.ndindex(2, 3):
        assert (lower[place], upper[place]) == interval(hits[place], 1000, rows[place[1]], 0.9)
    empty = interval(np.zeros((0, 2), int), 10, 20, 0.9)
    assert empty[0].shape == empty[1].shape == (0, 2)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("rows", [1, 2, 7, 23])
def test_one_look_covers_every_truth_as_often_as_it_says(rows, confidence):
    """Not by simulation: the probability of covering is added up for every corpus and every sample of this size."""
    for sampled in range(rows + 1):
        lower, upper = hypergeometric_interval(np.arange(sampled + 1), sampled, rows, confidence)
        for total in range(rows + 1):
            chances = np.exp(log_hypergeometric(np.arange(sampled + 1), sampled, total, rows))
            assert chances[(lower <= total) & (total <= upper)].sum() >= confidence - 1e-9


def ever_missed(intervals_at, rows: int, total: int) -> float:
    """How probable is it that one of the intervals after 1, 2, … rows misses? Added up over all orders of the rows."""
    alive, missed = np.array([1.0]), 0.0
    for sampled in range(1, rows + 1):
        hits = np.arange(sampled)
        chance = np.clip((total - hits) / (rows - sampled + 1), 0, 1)
        grown = np.zeros(sampled + 1)
        grown[1:] += alive * chance
        grown[:-1] += alive * (1 - chance)
        lower, upper = intervals_at[sampled - 1]
        outside = (total < lower) | (upper < total)
        missed += grown[outside].sum()
        alive = np.where(outside, 0, grown)
    return missed


@pytest.mark.parametrize("rows", [5, 40])
def test_a_sequence_covers_every_truth_at_all_looks_together(rows):
    def all_intervals(interval):
        return [interval(np.arange(sampled + 1), sampled, rows, 0.9) for sampled in range(1, rows + 1)]

    sequence, one_look = all_intervals(sequence_interval), all_intervals(hypergeometric_interval)
    assert max(ever_missed(sequence, rows, total) for total in range(rows + 1)) <= 0.1
    if rows == 40:  # what is meant for one look is no sequence
        assert max(ever_missed(one_look, rows, total) for total in range(rows + 1)) > 0.15


LOOKS = 20_000 * 4 ** np.arange(5)
RUNS = 2000


def grown_samples(total: int, rows: int, seed: int) -> np.ndarray:
    """(runs, looks) hits in samples that double, each the continuation of the one before."""
    generator = np.random.default_rng(seed)
    hits, before = np.zeros(RUNS, np.int64), 0
    looks = []
    for sampled in LOOKS:
        left, drawn = rows - before, sampled - before
        hits = hits + generator.hypergeometric(total - hits, left - (total - hits), np.full(RUNS, drawn))
        looks.append(hits)
        before = sampled
    return np.stack(looks, axis=1)


def misses(interval, hits, rows, total):
    lower, upper = interval(hits, LOOKS, rows, 0.95)
    return (total < lower) | (upper < total)


@pytest.mark.parametrize("total", [0, 1, 40, 3000, 10_000_000])
def test_looking_at_every_step_of_a_growing_sample(total):
    """In 2,000 simulated runs. The plant is what one does by hand: one look's interval, looked at until it pleases."""
    rows = 20_000_000
    hits = grown_samples(total, rows, seed=total)
    tolerance = 3 * math.sqrt(0.05 * 0.95 / RUNS)
    one_look = misses(hypergeometric_interval, hits, rows, total)
    assert (one_look.mean(axis=0) <= 0.05 + tolerance).all()
    for interval in (sequence_interval, lambda *sample: scheduled_interval(*sample, looks=len(LOOKS))):
        assert misses(interval, hits, rows, total).any(axis=1).mean() <= 0.05 + tolerance
    if total > 40:
        assert one_look.any(axis=1).mean() > 0.10


def test_rows_sampled_by_their_number_are_covered_given_how_many_there_are():
    """The sample's size is an outcome too, as it is when rows are taken by u < q; coverage holds given any size."""
    generator = np.random.default_rng(7)
    rows, total, rate = 30_000, 150, 0.05
    sampled = generator.binomial(rows, rate, size=5000)
    hits = generator.hypergeometric(total, rows - total, sampled)
    lower, upper = hypergeometric_interval(hits, sampled, rows)
    covered = (lower <= total) & (total <= upper)
    for half in (sampled < rows * rate, sampled >= rows * rate):
        assert covered[half].mean() >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / half.sum())


def test_the_prior_is_its_own_mirror_image_and_narrow_for_rare_concepts():
    assert sorted(PRIOR) == sorted((b, a) for a, b in PRIOR)
    n = 1_000_000
    _, one_look = hypergeometric_interval(0, n, BILLIONS)
    _, sequence = sequence_interval(0, n, BILLIONS)
    assert sequence < 1.3 * one_look  # with Beta(1/2, 1/2) alone it would be 2.8 times as wide
    for hits in (10, 1000, 100_000, 500_000):
        (lower, upper), (own_lower, own_upper) = (
            interval(hits, n, BILLIONS) for interval in (hypergeometric_interval, sequence_interval)
        )
        assert own_upper - own_lower < 2.7 * (upper - lower)


def test_log_probabilities_are_right_at_five_billion_rows():
    """Against products written out term by term, which lose nothing."""

    def logs_of_none(sampled, total, rows):
        return math.fsum(np.log1p(-total / (rows - np.arange(sampled, dtype=np.float64))))

    for sampled, total, hits in [(1_000_000, 2_500_000_000, 501_234), (2_000_000, 3_000_000, 1300), (50, 49, 0)]:
        rows = BILLIONS
        x = np.arange(hits, dtype=np.float64)
        ratios = (total - x) * (sampled - x) / ((x + 1) * (rows - total - sampled + x + 1))
        expected = logs_of_none(sampled, total, rows) + math.fsum(np.log(ratios))
        assert abs(float(log_hypergeometric(hits, sampled, total, rows)) - expected) < LOG_ERROR
        a, b = 0.5, 500_000.0
        rising_a = math.fsum(np.log((a + x) / (x + 1)))
        y = np.arange(sampled - hits, dtype=np.float64)
        rising_b = math.fsum(np.log1p((b - 1) / (y + 1)))
        z = np.arange(sampled, dtype=np.float64)
        expected = rising_a + rising_b - math.fsum(np.log1p((a + b - 1) / (z + 1)))
        assert abs(float(log_beta_binomial(hits, sampled, a, b)) - expected) < LOG_ERROR


def test_a_tail_is_the_sum_of_its_terms():
    generator = np.random.default_rng(1)
    for _ in range(60):
        rows = int(10 ** generator.uniform(1, 9.7))
        sampled, total = (int(10 ** generator.uniform(0, math.log10(rows))) for _ in range(2))
        mean, share = sampled * total / rows, total / rows
        deviation = math.sqrt(mean * (1 - share) * (rows - sampled) / (rows - 1))
        start = int(np.clip(mean + generator.uniform(-1, 4) * deviation, max(0, sampled - rows + total), None))
        last = int(min(sampled, total, start + 15 * deviation + 60))
        if start > last:
            continue
        terms = np.exp(log_hypergeometric(np.arange(start, last + 1), sampled, total, rows))
        expected = math.log(math.fsum(terms))
        assert abs(float(log_upper_tail(start, sampled, total, rows)) - expected) < LOG_ERROR


def test_what_cannot_be_has_no_probability_and_what_must_be_is_certain():
    assert np.exp(log_hypergeometric([3, 0, 4], [2, 5, 5], [5, 6, 3], [10, 10, 10])).tolist() == [0, 0, 0]
    assert np.exp(log_hypergeometric([0, 3, 0, 0], [0, 10, 4, 0], [5, 3, 0, 0], [10, 10, 10, 0])).tolist() == [1] * 4
    assert np.exp(log_upper_tail([0, 3, 1], [0, 5, 2], [5, 2, 2], [10, 10, 3])).tolist() == [1, 0, 1]
    assert np.exp(log_prior_probability(np.array([0]), np.array([0]))).tolist() == pytest.approx([1])


@pytest.mark.parametrize("log_length", [0, 2, 3, 4, 9, 30])
def test_the_rule_for_sums_is_exact_for_polynomials(log_length):
    length = 2**log_length
    nodes, weights = gram_rule(log_length)
    for degree in range(4):
        expected = sum(Fraction(value, length) ** degree for value in range(length)) if log_length < 10 else None
        if expected is None:  # the sums of 1, x, x², x³ by their formulas
            n = Fraction(length)
            expected = [n, n * (n - 1) / 2, (n - 1) * n * (2 * n - 1) / 6, (n * (n - 1) / 2) ** 2][degree] / n**degree
        assert (weights * (nodes / length) ** degree).sum() == pytest.approx(float(expected), rel=1e-12)


def test_the_binomial_limit():
    hits = np.array([0, 2, 17, 4000, 19_999, 20_000])
    lower, upper = hypergeometric_interval(hits, 20_000, BILLIONS)
    binomial_lower, binomial_upper = clopper_pearson(hits, 20_000)
    np.testing.assert_allclose(lower / BILLIONS, binomial_lower, rtol=2e-4)
    np.testing.assert_allclose(upper / BILLIONS, binomial_upper, rtol=2e-4)
    theirs = proportion_confint(hits, 20_000, alpha=0.05, method="beta")
    np.testing.assert_allclose(np.stack([binomial_lower, binomial_upper]), np.nan_to_num(theirs, nan=0), rtol=1e-12)


def test_thousands_of_concepts_are_as_exact_as_one():
    generator = np.random.default_rng(3)
    sampled = 5_000_000
    hits = generator.binomial(sampled, 10 ** generator.uniform(-7, -0.3, (1000, 3)))
    for interval in (hypergeometric_interval, sequence_interval):
        lower, upper = interval(hits, sampled, BILLIONS)
        for place in product((0, 17, 999), range(3)):
            assert (lower[place], upper[place]) == interval(hits[place], sampled, BILLIONS)


@pytest.mark.parametrize(
    ("sample", "confidence", "message"),
    [
        ((2, 1, 10), 0.95, "0 ≤ k ≤ n ≤ N"),
        ((-1, 1, 10), 0.95, "0 ≤ k ≤ n ≤ N"),
        ((1, 11, 10), 0.95, "0 ≤ k ≤ n ≤ N"),
        ((0.5, 1, 10), 0.95, "whole numbers"),
        ((0, 1, 10), 95, "between 0 and 1, and 95 was given"),
        ((0, 1, 10), 1, "between 0 and 1"),
        ((0, 1, 10), math.nan, "between 0 and 1"),
    ],
)
def test_what_is_no_sample_is_refused(sample, confidence, message):
    for interval in (hypergeometric_interval, sequence_interval):
        with pytest.raises(BadInput, match=message):
            interval(*sample, confidence)


def test_the_examples_in_the_docstrings_are_right():
    for module in (intervals, sequences, looks, result):
        told = doctest.testmod(module)
        assert told.attempted
        assert not told.failed
