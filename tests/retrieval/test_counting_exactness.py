"""Every backend counts what exact arithmetic counts, most of all where rows lie on a threshold."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import LEAST_SQUARE, MOST_SQUARE, is_unit
from tailwag.retrieval.counting import BACKENDS, Asked, choose_backend, similarities
from tailwag.retrieval.counting.backends import why_not
from tailwag.retrieval.counting.bands import float32_band, screen_bounds
from tailwag.retrieval.counting.bins import EDGES
from tests.corpora import clustered_unit, random_unit, unit

from .exact_arithmetic import exact_counts, whole_similarities

RUNNING = [
    pytest.param(name, marks=pytest.mark.skipif(why_not(name) is not None, reason=f"{name}: {why_not(name)}"))
    for name in sorted(BACKENDS)
]


def answer(backend, rows, prototypes, asked, floors=None):
    return answer_of(choose_backend(backend).prepare(prototypes, asked), rows, floors)


def answer_of(counter, rows, floors=None):
    """One tile's answer, with the histograms that some counters keep until they are asked for them."""
    found = counter.count_tile(rows, floors)
    if found.histogram is None and hasattr(counter, "take_histogram"):
        histogram = counter.take_histogram()
        assert not counter.take_histogram().any()
        return replace(found, histogram=histogram if counter.asked.histogram else None)
    return found


def assert_same(found, expected):
    """All answers of two backends are equal to the bit."""
    np.testing.assert_array_equal(found.refused, expected.refused)
    if len(expected.refused):
        return
    assert found.counts.dtype == np.int64
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert (found.histogram is None) == (expected.histogram is None)
    if expected.histogram is not None:
        np.testing.assert_array_equal(found.histogram, expected.histogram)
    for part, columns in (("best", ("concepts", "similarities")), ("pairs", ("rows", "concepts", "similarities"))):
        one, other = getattr(found, part), getattr(expected, part)
        assert (one is None) == (other is None)
        for column in columns if other is not None else ():
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
            assert getattr(one, column).dtype == getattr(other, column).dtype


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


@pytest.mark.parametrize("backend", RUNNING)
@given(question=questions())
@settings(max_examples=120, deadline=None)
def test_counts_equal_exact_arithmetic(backend, question):
    rows, prototypes, thresholds = question
    counted = answer(backend, rows, prototypes, Asked(thresholds)).counts
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))


@pytest.mark.parametrize("backend", RUNNING)
@given(question=questions(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_every_answer_equals_the_reference(backend, question, data):
    rows, prototypes, thresholds = question
    within = data.draw(st.sampled_from([None, 0.0, 0.1, 0.5]))
    if within is not None and len(rows):  # a difference that some pair has exactly
        scores = similarities(rows, prototypes)
        within = data.draw(st.sampled_from([within, float((scores.max(axis=1) - scores.min(axis=1)).max())]))
    asked = Asked(
        thresholds if data.draw(st.booleans()) else thresholds[:, :0],
        histogram=data.draw(st.booleans()),
        best=data.draw(st.integers(0, len(prototypes))),
        pairs=data.draw(st.booleans()),
        within=within,
    )
    floors = None
    if asked.pairs:
        floors = thresholds[:, 0].copy()
        floors[data.draw(st.integers(0, len(floors) - 1))] = data.draw(st.sampled_from([np.inf, -np.inf, 0.0]))
    expected = answer("reference", rows, prototypes, asked, floors)
    assert_same(answer(backend, rows, prototypes, asked, floors), expected)


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_answer_equals_the_reference_on_tiles_of_full_size(backend, kind):
    rows, prototypes = KINDS[kind](1501, 512, 3), clustered_unit(67, 512, clusters=4, seed=3)
    rows[700:720] = prototypes[:20]  # similarities of about 1, and crowds of equal ones
    scores = similarities(rows, prototypes)
    thresholds = np.stack([np.quantile(scores, 0.999, axis=0), scores[5], np.nextafter(scores[6], 2)], axis=1)
    asked = Asked(np.clip(thresholds, -1, 1), histogram=True, best=5, pairs=True, within=0.05)
    floors = np.quantile(scores, 0.95, axis=0)
    assert_same(answer(backend, rows, prototypes, asked, floors), answer("reference", rows, prototypes, asked, floors))
    counts_alone = answer(backend, rows, prototypes, Asked(asked.thresholds))
    np.testing.assert_array_equal(counts_alone.counts, (scores[:, :, None] >= asked.thresholds).sum(axis=0))


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("dimension", [1, 7, 64, 512, 1023])
@pytest.mark.parametrize("concepts", [1, 3, 17])
def test_every_answer_equals_the_reference_in_any_dimension(backend, dimension, concepts):
    rows, prototypes = random_unit(333, dimension, 1), random_unit(concepts, dimension, 2)
    scores = similarities(rows, prototypes)
    asked = Asked(np.clip(scores[:4].T, -1, 1), histogram=True, best=min(2, concepts), pairs=True)
    floors = np.median(scores, axis=0)
    assert_same(answer(backend, rows, prototypes, asked, floors), answer("reference", rows, prototypes, asked, floors))


@pytest.mark.parametrize("backend", RUNNING)
def test_prototypes_that_float32_cannot_tell_apart_are_put_in_order(backend):
    """One float16 step apart in a few small places: their similarities differ by less than a float32 sum errs."""
    generator = np.random.default_rng(0)
    one = random_unit(1, 512, 1)[0]
    prototypes = np.tile(one, (60, 1))
    for prototype in prototypes[1:]:
        places = generator.choice(np.abs(one).argsort()[:80], size=5, replace=False)
        prototype[places] = np.nextafter(prototype[places], np.float16(0))
    rows = np.concatenate([random_unit(300, 512, 2), np.tile(one, (20, 1)), -prototypes])
    wide = similarities(rows, prototypes)
    narrow = rows.astype(np.float32) @ prototypes.astype(np.float32).T
    assert (narrow.argmax(axis=1) != wide.argmax(axis=1)).mean() > 0.1  # the case is as hard as it says
    asked = Asked(np.zeros((60, 0)), best=3, pairs=True, within=1e-7)
    floors = np.full(60, -1.0)
    assert_same(answer(backend, rows, prototypes, asked, floors), answer("reference", rows, prototypes, asked, floors))


@pytest.mark.parametrize("backend", RUNNING)
def test_similarities_on_an_edge_of_the_histogram_fall_above_it(backend):
    # Powers of two times whole numbers: 0.125, 0.25, 0.5 and their negatives are edges that rows hit exactly.
    rows = np.zeros((6, 64), dtype=np.float16)
    rows[:, 0] = [0.125, 0.25, 0.5, -0.125, -0.25, -0.5]
    rows[:, 1] = np.sqrt(1 - rows[:, 0].astype(np.float64) ** 2).astype(np.float16)
    prototypes = np.eye(1, 64, dtype=np.float16)
    histogram = answer(backend, rows, prototypes, Asked(np.zeros((1, 0)), histogram=True)).histogram
    edges = EDGES[np.flatnonzero(histogram[0])]
    np.testing.assert_array_equal(edges, [-0.5, -0.25, -0.125, 0.125, 0.25, 0.5])


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("asked_more", [False, True])
@pytest.mark.parametrize("concepts", [1, 40])
def test_rows_that_are_not_unit_vectors_are_found(backend, asked_more, concepts):
    rows, prototypes = random_unit(500, 96, 1), random_unit(concepts, 96, 2)
    bad = {0: 0.0, 17: np.nan, 18: np.inf, 250: -np.inf, 498: 0.7, 499: 65504.0}
    for position, value in bad.items():
        rows[position, 5] = value
    rows[0] = 0
    asked = Asked(np.full((concepts, 1), 0.2), histogram=asked_more, best=int(asked_more))
    np.testing.assert_array_equal(answer(backend, rows, prototypes, asked).refused, sorted(bad))


@pytest.mark.parametrize("backend", RUNNING)
def test_the_tolerance_of_unit_length_is_the_same_everywhere(backend):
    """Rows whose squared length lies within a few float16 steps of the tolerance, on either side."""
    generator = np.random.default_rng(0)
    rows = np.repeat(random_unit(40, 512, 3).astype(np.float64), 25, axis=0)
    rows *= np.sqrt(generator.choice([LEAST_SQUARE, MOST_SQUARE], size=(1000, 1)))
    rows *= 1 + generator.normal(size=(1000, 1)) * 2e-5
    rows = rows.astype(np.float16)
    squares = np.square(rows.astype(np.float64)).sum(axis=1)
    expected = np.flatnonzero(~((squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE)))
    assert 100 < len(expected) < 900
    np.testing.assert_array_equal(np.flatnonzero(~is_unit(rows)), expected)
    for concepts in (1, 20):
        found = answer(backend, rows, random_unit(concepts, 512), Asked(np.full((concepts, 1), 0.2))).refused
        np.testing.assert_array_equal(found, expected)


@given(question=questions())
@settings(max_examples=60, deadline=None)
def test_float64_similarities_are_the_exact_ones(question):
    rows, prototypes, _ = question
    found, whole = similarities(rows, prototypes), whole_similarities(rows, prototypes)
    for place in np.ndindex(*found.shape):
        assert Fraction(float(found[place])) == Fraction(whole[place[0]][place[1]], 1 << 48)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("backend", RUNNING)
def test_rows_on_a_threshold_count_and_one_float64_above_it_do_not(kind, backend):
    rows = KINDS[kind](60, 512, 5)
    prototypes = random_unit(3, 512, 6)
    on = similarities(rows, prototypes)[7]
    thresholds = np.stack([np.nextafter(on, -2), on, np.nextafter(on, 2)], axis=1)
    counted = answer(backend, rows, prototypes, Asked(thresholds)).counts
    np.testing.assert_array_equal(counted, exact_counts(rows, prototypes, thresholds))
    twins = (similarities(rows, prototypes) == on).sum(axis=0)
    np.testing.assert_array_equal(counted[:, 1] - counted[:, 2], twins)


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("columns", [1, 16, 17, 201])
def test_a_tile_of_nothing_but_rows_on_the_threshold_is_counted(backend, columns):
    rows = np.tile(random_unit(1, 512, 1), (5000, 1))
    prototypes = random_unit(2, 512, 2)
    on = similarities(rows[:1], prototypes)[0]
    thresholds = np.tile(on[:, None], (1, columns))
    thresholds[:, -1] = np.nextafter(on, 2)
    counted = answer(backend, rows, prototypes, Asked(thresholds)).counts
    np.testing.assert_array_equal(counted[:, :-1], 5000)
    np.testing.assert_array_equal(counted[:, -1], 0)


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
    lower, upper = screen_bounds(np.array([threshold]), float32_band(dimension))
    assert lower.dtype == upper.dtype == np.float32
    # γ_d |x||p| in exact arithmetic, with the greatest lengths that are let through.
    roundoff = Fraction(1, 1 << 24)
    band = dimension * roundoff / (1 - dimension * roundoff) * Fraction("1.0011") * Fraction("1.001")
    assert Fraction(float(lower[0])) <= Fraction(threshold) - band
    assert Fraction(float(upper[0])) >= Fraction(threshold) + band
