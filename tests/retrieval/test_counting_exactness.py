"""Every backend counts what exact arithmetic counts, most of all where rows lie on a threshold."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.retrieval.counting import BACKENDS, choose_backend, similarities
from tailwag.retrieval.counting import cpu as cpu_backend
from tailwag.retrieval.counting.cpu import float32_band, screen_bounds
from tests.corpora import clustered_unit, random_unit, unit

from .exact_arithmetic import exact_counts, whole_similarities


def duplicate_laden(rows: int, dimension: int, seed: int) -> np.ndarray:
    """Few different vectors, many times each: whole crowds lie on one side of a threshold or on it."""
    few = random_unit(3, dimension, seed)
    return few[np.random.default_rng(seed).integers(3, size=rows)]


def spiky(rows: int, dimension: int, seed: int) -> np.ndarray:
    """One large value, the others among float16's subnormal numbers."""
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-1000, 1000, size=(rows, dimension)) * 2.0**-24
    vectors[np.arange(rows), generator.integers(dimension, size=rows)] = generator.choice([-1.0, 1.0], size=rows)
    return vectors.astype(np.float16)


KINDS = {
    "random": random_unit,
    "clustered": lambda rows, dimension, seed: clustered_unit(rows, dimension, clusters=4, seed=seed),
    "duplicates": duplicate_laden,
    "spiky": spiky,
}


@st.composite
def questions(draw):
    """Rows, prototypes and (C, T) thresholds, many of them exactly some row's similarity or one float64 beside it."""
    dimension = draw(st.sampled_from([1, 2, 3, 16, 64]))
    rows = KINDS[draw(st.sampled_from(sorted(KINDS)))](draw(st.integers(0, 40)), dimension, draw(st.integers(0, 10**6)))
    concepts = draw(st.integers(1, 4))
    prototypes = random_unit(concepts, dimension, draw(st.integers(0, 10**6)))
    if len(rows) and draw(st.booleans()):
        prototypes[0] = rows[0]
    if draw(st.booleans()):
        prototypes[-1] = (prototypes[-1].astype(np.float32) * 0.3).astype(np.float16)
    columns = draw(st.sampled_from([1, 2, 5, 16, 17, 40]))
    hit = np.clip(similarities(rows, prototypes), -1, 1)
    thresholds = np.empty((concepts, columns))
    for place in np.ndindex(concepts, columns):
        value = draw(st.floats(-1, 1))
        if len(rows) and draw(st.integers(0, 3)):
            value = hit[draw(st.integers(0, len(rows) - 1)), place[0]]
            value = draw(st.sampled_from([value, np.nextafter(value, -2), np.nextafter(value, 2)]))
        thresholds[place] = np.clip(value, -1, 1)
    return rows, prototypes, thresholds


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@given(question=questions())
@settings(max_examples=120, deadline=None)
def test_counts_equal_exact_arithmetic(backend, question):
    rows, prototypes, thresholds = question
    counted = choose_backend(backend).prepare(prototypes, thresholds).count_tile(rows)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))


@given(question=questions())
@settings(max_examples=60, deadline=None)
def test_float64_similarities_are_the_exact_ones(question):
    rows, prototypes, _ = question
    found, whole = similarities(rows, prototypes), whole_similarities(rows, prototypes)
    for place in np.ndindex(*found.shape):
        assert Fraction(float(found[place])) == Fraction(whole[place[0]][place[1]], 1 << 48)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_rows_on_a_threshold_count_and_one_float64_above_it_do_not(kind, backend):
    rows = KINDS[kind](60, 512, 5)
    prototypes = random_unit(3, 512, 6)
    on = similarities(rows, prototypes)[7]
    thresholds = np.stack([np.nextafter(on, -2), on, np.nextafter(on, 2)], axis=1)
    counted = choose_backend(backend).prepare(prototypes, thresholds).count_tile(rows)
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))
    twins = (similarities(rows, prototypes) == on).sum(axis=0)
    np.testing.assert_array_equal(counted[:, 1] - counted[:, 2], twins)


@pytest.mark.parametrize("columns", [1, 16, 17, 201])
def test_a_tile_of_nothing_but_rows_on_the_threshold_is_counted(columns):
    rows = np.tile(random_unit(1, 512, 1), (5000, 1))
    prototypes = random_unit(2, 512, 2)
    on = similarities(rows[:1], prototypes)[0]
    thresholds = np.tile(on[:, None], (1, columns))
    thresholds[:, -1] = np.nextafter(on, 2)
    counted = choose_backend("cpu").prepare(prototypes, thresholds).count_tile(rows)
    np.testing.assert_array_equal(counted[:, :-1], 5000)
    np.testing.assert_array_equal(counted[:, -1], 0)


@pytest.mark.parametrize("columns", [1, 3, 30])
def test_concepts_are_cut_into_groups_without_a_seam(columns, monkeypatch):
    monkeypatch.setattr(cpu_backend, "_SCORES_A_TILE", 250)
    rows, prototypes = clustered_unit(100, 32), random_unit(11, 32)
    thresholds = np.sort(np.random.default_rng(0).uniform(-0.5, 0.5, (11, columns)))[:, ::-1]
    counted = choose_backend("cpu").prepare(prototypes, thresholds).count_tile(rows)
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))


@pytest.mark.parametrize("dimension", [1, 3, 64, 512, 1024])
def test_a_float32_product_stays_within_the_band(dimension):
    rows, prototypes = unit(np.abs(random_unit(400, dimension, 3))), unit(np.abs(random_unit(50, dimension, 4)))
    exact = similarities(rows, prototypes)
    screened = (rows.astype(np.float32) @ prototypes.astype(np.float32).T).astype(np.float64)
    assert np.abs(screened - exact).max() <= float32_band(dimension)
    one_by_one = np.zeros(exact.shape, dtype=np.float32)  # the order of summation that errs most
    for position in range(dimension):
        one_by_one += rows[:, position, None].astype(np.float32) * prototypes[:, position].astype(np.float32)
    assert np.abs(one_by_one.astype(np.float64) - exact).max() <= float32_band(dimension)


@given(threshold=st.floats(-1, 1), dimension=st.sampled_from([1, 2, 512, 4096]))
def test_bounds_are_rounded_away_from_the_threshold(threshold, dimension):
    lower, upper = screen_bounds(np.array([threshold]), dimension)
    assert lower.dtype == upper.dtype == np.float32
    # γ_d |x||p| in exact arithmetic, with the greatest lengths that are let through.
    roundoff = Fraction(1, 1 << 24)
    band = dimension * roundoff / (1 - dimension * roundoff) * Fraction("1.0011") * Fraction("1.001")
    assert Fraction(float(lower[0])) <= Fraction(threshold) - band
    assert Fraction(float(upper[0])) >= Fraction(threshold) + band
