"""Agreement with the truth: its algebra, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.analysis.agreement import compare_with_truth, log10_errors
from tailwag.errors import BadInput

counts = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=30)


@given(counts)
def test_errors_equal_the_formula_term_by_term(pairs):
    found = log10_errors(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))
    assert np.allclose(found, [abs(math.log10((a + 0.5) / (b + 0.5))) for a, b in pairs])


@given(counts, st.randoms())
def test_the_order_of_concepts_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    one, other = (compare_with_truth(*np.array(each, dtype=float).T) for each in (pairs, shuffled))
    assert one.median_error == pytest.approx(other.median_error)
    assert one.spearman == pytest.approx(other.spearman, nan_ok=True)


def test_the_truth_agrees_with_itself():
    agreement = compare_with_truth(np.arange(9), np.arange(9))
    assert (agreement.spearman, agreement.median_error, agreement.percentile_90_error) == (1, 0, 0)
    assert "Spearman's ρ = 1.000, median |log10 error| = 0.000 (a factor of 1.00)" in str(agreement)


def test_a_reversed_order_is_minus_one():
    assert compare_with_truth(np.arange(9), np.arange(9)[::-1]).spearman == -1


@pytest.mark.parametrize(
    ("estimates", "truth"), [([1], [1, 2]), ([-1], [1]), ([np.nan], [1]), ([1], [np.inf]), ([], [])]
)
def test_what_cannot_be_compared_is_refused(estimates, truth):
    with pytest.raises(BadInput):
        compare_with_truth(np.array(estimates, dtype=float), np.array(truth, dtype=float))
