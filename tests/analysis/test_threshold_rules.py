"""Thresholds from labels by each rule: what a look at every edge would find, whatever the labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.threshold_rules import (
    FOLDS,
    at_precision,
    best_f1,
    binomial_interval,
    equal_counts,
    fold_rows,
    null_edge,
    others_edges,
    shared_edge,
)
from tailwag.errors import BadInput
from tailwag.retrieval.counting.bins import BINS, EDGES, bin_of, counts_at_edges

scores = st.lists(st.integers(-100, 900).map(lambda one: one / 1000), min_size=1, max_size=30)


def binned(similarities):
    return np.bincount(bin_of(np.array(similarities, dtype=float)), minlength=BINS)


def tried(shown, absent):
    """At every edge: the edge, hits, true hits."""
    for edge in EDGES[np.abs(EDGES) <= 1]:
        true = sum(one >= edge for one in shown)
        yield edge, true + sum(one >= edge for one in absent), true


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_no_edge_has_a_count_nearer_to_the_truth(shown, absent):
    found = EDGES[equal_counts(binned(shown), binned(absent))]
    errors = {edge: abs(np.log((hits + 0.5) / (len(shown) + 0.5))) for edge, hits, _ in tried(shown, absent)}
    assert errors[found] == pytest.approx(min(errors.values()))


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_no_edge_has_a_better_f1(shown, absent):
    found = EDGES[best_f1(binned(shown), binned(absent))]
    f1 = {edge: 2 * true / (hits + len(shown)) for edge, hits, true in tried(shown, absent)}
    assert f1[found] == pytest.approx(max(f1.values()))


@settings(max_examples=60, deadline=None)
@given(scores, scores, st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_a_precision_is_reached_and_no_lower_edge_finds_more_at_it(shown, absent, precision):
    found = at_precision(binned(shown), binned(absent), precision)
    reached = [(edge, hits, true) for edge, hits, true in tried(shown, absent) if true and true >= precision * hits]
    if found is None:
        assert not reached
        return
    own = next(one for one in tried(shown, absent) if one[0] == EDGES[found])
    assert own[2] >= precision * own[1]
    assert own[1] == max(hits for _, hits, _ in reached)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(0, 10**6))
def test_the_others_edge_is_the_shared_one_of_all_but_the_concept(concepts, seed):
    random = np.random.default_rng(seed)
    rows = np.stack([binned(random.normal(0.2, 0.1, 40).clip(-0.9, 0.9)) for _ in range(concepts)])
    true = random.integers(1, 20, concepts)
    expected = [shared_edge(np.delete(rows, one, axis=0), np.delete(true, one)) for one in range(concepts)]
    assert others_edges(rows, true).tolist() == expected


def test_one_concept_has_no_others():
    with pytest.raises(BadInput, match="label two or more"):
        others_edges(binned([0.1])[None], np.array([1]))


def test_a_threshold_stands_in_the_middle_of_the_gap():
    assert EDGES[equal_counts(binned([0.6, 0.5]), binned([0.3, 0.2]))] == pytest.approx(0.4, abs=0.002)


@settings(max_examples=60, deadline=None)
@given(scores)
def test_folds_share_the_rows_out_evenly(similarities):
    folds = [fold_rows(binned(similarities), fold) for fold in range(FOLDS)]
    np.testing.assert_array_equal(sum(folds), binned(similarities))
    sizes = [int(one.sum()) for one in folds]
    assert max(sizes) - min(sizes) <= 1 and min(one.min() for one in folds) >= 0


def test_the_null_is_kept_where_it_holds_and_passes_false_hits_where_the_tail_is_exponential():
    random = np.random.default_rng(0)
    normal = random.normal(0.2, 0.02, 100_000)
    assert null_edge(binned(normal), 0.1) is None or EDGES[null_edge(binned(normal), 0.1)] > 0.28
    shown = binned(np.concatenate([normal, np.full(1000, 0.4)]))
    edge = null_edge(shown, 0.1)
    assert counts_at_edges(shown)[edge] == pytest.approx(1000, rel=0.15)
    tailed = np.concatenate([normal, 0.24 + random.exponential(0.013, 4000)])
    assert counts_at_edges(binned(tailed))[null_edge(binned(tailed), 0.1)] > 200  # not one row shows anything


def test_a_binomial_interval_is_clopper_and_pearsons():
    from scipy.stats import binomtest

    for successes, trials in ((0, 5), (3, 7), (7, 7), (40, 100)):
        exact = binomtest(successes, trials).proportion_ci(method="exact")
        assert binomial_interval(successes, trials) == pytest.approx((exact.low, exact.high))
    assert binomial_interval(0, 0) == (0.0, 1.0)
