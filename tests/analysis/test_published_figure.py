"""The published figure: its binning against a loop, its algebra, and what it says of itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tailwag.analysis.fits.published import PROCEDURES, published_fit
from tailwag.errors import BadInput

clouds = st.lists(
    st.tuples(st.one_of(st.just(0), st.integers(0, 10**7)), st.floats(0, 1, width=32)), min_size=3, max_size=60
)

# One concept a bin: within the edges just below them, since a logarithm may round to either side of one.
DECADES = np.floor(10.0 ** np.arange(12) * np.array([1, *[0.99] * 10, 1]))


def bin_by_bin(counts, values, edges):
    """The notebooks' loop, written out: one edge after the other."""
    logarithms = [math.log(max(count, 1)) for count in counts]
    ends = np.linspace(min(logarithms), max(logarithms), edges)
    means, sizes, below = [], [], -math.inf
    for end in ends:
        inside = [v for x, v in zip(logarithms, values, strict=True) if below < x <= end]
        means.append(sum(inside) / len(inside) if inside else math.nan)
        sizes.append(len(inside))
        below = end
    return ends, np.array(means), np.array(sizes)


@given(clouds)
def test_bins_equal_a_loop_over_edges(cloud):
    counts, values = (np.array(column, dtype=float) for column in zip(*cloud, strict=True))
    ends, means, sizes = bin_by_bin(counts, values, 12)
    fit = published_fit(counts, values)
    if np.ptp(ends) == 0:  # every count is the same: one bin, and no line
        assert math.isnan(fit.r) and fit.sizes.sum() == len(counts)
        return
    assert np.array_equal(fit.sizes, sizes)
    assert np.allclose(fit.means, means, equal_nan=True)
    assert np.allclose(fit.edges, np.exp(ends))
    assert fit.never_drawn + fit.sizes[fit.drawn].sum() == fit.concepts == len(counts)
    assert fit.zeros == (counts == 0).sum()


@given(clouds, st.randoms())
def test_the_order_of_concepts_does_not_matter(cloud, random):
    one, other = (
        published_fit(*(np.array(column, dtype=float) for column in zip(*each, strict=True)))
        for each in (cloud, random.sample(cloud, len(cloud)))
    )
    assert one.slope == pytest.approx(other.slope, nan_ok=True, abs=1e-9)
    assert np.array_equal(one.sizes, other.sizes)


@given(clouds)
def test_the_line_is_that_of_scipy_through_what_is_drawn(cloud):
    counts, values = (np.array(column, dtype=float) for column in zip(*cloud, strict=True))
    fit = published_fit(counts, values, edges=5, drawn=slice(0, 5))
    x, y = np.log10(fit.edges[fit.drawn]), 100 * fit.means[fit.drawn]
    if len(x) > 2 and np.ptp(y) > 1e-6:
        line = stats.linregress(x, y)
        assert (fit.slope, fit.intercept, fit.r) == pytest.approx((line.slope, line.intercept, line.rvalue), abs=1e-6)
        assert fit.p == pytest.approx(line.pvalue, rel=1e-3, abs=1e-6)
    else:
        assert math.isnan(fit.r) or np.ptp(y) <= 1e-6


def test_ten_times_the_counts_moves_the_line_by_one_decade():
    generator = np.random.default_rng(3)
    counts = np.floor(10 ** generator.uniform(0.5, 6, 800))
    values = np.clip(0.1 * np.log10(counts) + generator.normal(0, 0.1, 800), 0, 1)
    # The least count is below 10, so that no concept changes its bin by the factor.
    once, ten = published_fit(counts, values), published_fit(10 * counts, values)
    assert ten.r == pytest.approx(once.r) and ten.slope == pytest.approx(once.slope)
    assert ten.intercept == pytest.approx(once.intercept - once.slope)


def test_a_line_without_noise_is_found_at_the_upper_edges():
    counts = DECADES
    fit = published_fit(counts, 0.05 * np.arange(12))
    assert (fit.r, fit.slope, fit.intercept) == pytest.approx((1, 5, 0), abs=1e-9)
    assert list(np.flatnonzero(fit.drawn)) == list(range(1, 11)) and fit.never_drawn == 2


def test_an_empty_bin_is_left_out_and_told():
    counts = np.array([1, 9, 99, 9_999, 99_999, 10**6], dtype=float)  # edges are powers of ten, and nothing lies on one
    fit = published_fit(counts, np.linspace(0, 0.5, 6), edges=7, drawn=slice(0, 7))
    assert fit.drawn.sum() == 6 and fit.r > 0.9
    assert any(flag.severity == "warning" and "1 of the 7 bins to draw are empty" in flag.text for flag in fit.flags)


def test_a_slice_that_decides_the_sign_warns_and_a_plain_trend_does_not():
    counts = DECADES
    hill = np.array([0, 1, 2, 3, 4, 5, 6, 7, 5, 2, 0, -9]) / 10
    hill_fit = published_fit(counts, hill, drawn=slice(0, 8))
    assert hill_fit.r > 0.9
    assert [flag for flag in hill_fit.flags if flag.severity == "warning" and "decides the sign" in flag.text]
    plain = published_fit(counts, 0.05 * np.arange(12), drawn=slice(0, 8))
    assert not [flag for flag in plain.flags if flag.severity == "warning"]


def test_concepts_that_are_never_drawn_are_told():
    fit = published_fit(np.array([0] * 50 + list(DECADES)), np.linspace(0, 1, 62))
    assert fit.never_drawn == 52
    assert any("52 of 62 concepts (84 %) lie in bins that are never drawn" in flag.text for flag in fit.flags)


def test_the_presets_are_those_of_the_notebooks():
    assert {name: (each.edges, each.drawn) for name, each in PROCEDURES.items()} == {
        "classification": (12, slice(1, 11)),
        "laion400m": (12, slice(2, 11)),
        "similarity-control": (12, slice(1, 11)),
        "synthetic": (12, slice(0, 8)),
        "retrieval": (7, slice(3, 7)),
    }


@pytest.mark.parametrize(
    ("counts", "values", "options"),
    [
        ([1, 2], [1], {}),
        ([], [], {}),
        ([-1, 2], [0, 1], {}),
        ([np.nan, 2], [0, 1], {}),
        ([1, 2], [0, np.nan], {}),
        ([1, 2], [0, 1], {"edges": 1}),
    ],
)
def test_what_cannot_be_drawn_is_refused(counts, values, options):
    with pytest.raises(BadInput):
        published_fit(np.array(counts, dtype=float), np.array(values, dtype=float), **options)
