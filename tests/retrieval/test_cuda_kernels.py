"""The fused kernels give every answer of the reference, to the bit: interpreted here, compiled where there is a GPU."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import LEAST_SQUARE, MOST_SQUARE, is_unit
from tailwag.retrieval.counting import Asked, similarities
from tailwag.retrieval.counting.bins import EDGES, bin_of
from tailwag.retrieval.counting.cuda.driver import why_no_gpu
from tailwag.retrieval.counting.reference import ReferenceBackend
from tests.corpora import random_unit

from .exact_arithmetic import exact_counts
from .test_counting_exactness import KINDS, assert_same, questions

pytest.importorskip("triton")

from tailwag.retrieval.counting.cuda import fused, launches
from tailwag.retrieval.counting.cuda.fused import FusedForm
from tailwag.retrieval.counting.cuda.launches import TileSizes
from tailwag.retrieval.counting.cuda.pipeline import DeviceCounter

DEVICE = "cpu" if why_no_gpu() is not None else "cuda"
SMALL = TileSizes(concepts=16, rows=64, columns=64, warps=4)
# Several tiles along every axis, of which the last ones are not full.
WIDE = TileSizes(concepts=32, rows=256, columns=256)


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter takes its time for every program, and copies all arguments, but takes little for every row."""
    if DEVICE == "cpu":
        monkeypatch.setattr(launches, "LEAST_RECORDS_A_PROGRAM", 1 << 15)
        monkeypatch.setattr(launches, "RECORDS", 1 << 12)
        monkeypatch.setattr(launches, "_CHECKED_ROWS", 512)
        monkeypatch.setattr(launches, "_SETTLERS", 1)
        monkeypatch.setattr(launches, "_SETTLE_GROUP", 4096)


def answer(rows, prototypes, asked, floors=None, sizes=SMALL):
    return FusedForm(DEVICE, sizes).prepare(prototypes, asked).count_tile(rows, floors)


def expected(rows, prototypes, asked, floors=None):
    return ReferenceBackend().prepare(prototypes, asked).count_tile(rows, floors)


def one_or_more(prototypes):
    """A single prototype has a kernel of its own."""
    return None if len(prototypes) == 1 else SMALL


given_settings = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@given(question=questions(), histogram=st.booleans())
@given_settings
def test_counts_equal_exact_arithmetic(question, histogram):
    rows, prototypes, thresholds = question
    found = answer(rows, prototypes, Asked(thresholds, histogram), sizes=one_or_more(prototypes))
    np.testing.assert_array_equal(found.counts, exact_counts(rows, prototypes, thresholds))


@given(question=questions(), data=st.data())
@given_settings
def test_every_answer_equals_the_reference(question, data):
    rows, prototypes, thresholds = question
    asked = Asked(
        thresholds if data.draw(st.booleans()) else thresholds[:, :0],
        histogram=data.draw(st.booleans()),
        best=data.draw(st.sampled_from([0, 1, 1, len(prototypes)])),
        pairs=data.draw(st.booleans()),
        within=data.draw(st.sampled_from([None, None, 0.0, 0.1])),
    )
    floors = None
    if asked.pairs:
        floors = thresholds[:, 0].copy()
        floors[data.draw(st.integers(0, len(floors) - 1))] = data.draw(st.sampled_from([np.inf, -np.inf, 0.0]))
    found = answer(rows, prototypes, asked, floors, one_or_more(prototypes))
    assert_same(found, expected(rows, prototypes, asked, floors))


def on_thresholds(kind, concepts, columns):
    """Rows and prototypes of full size, and thresholds in (concepts, columns) of which many lie on similarities."""
    rows, prototypes = KINDS[kind](301, 300, 3), KINDS["clustered"](concepts, 300, 3)
    rows[250:270] = prototypes[np.arange(20) % concepts]
    scores = similarities(rows, prototypes)
    thresholds = np.concatenate([scores[:columns], np.nextafter(scores[5:6], 2)])[-columns:].T
    return rows, prototypes, scores, np.clip(thresholds, -1, 1)


@pytest.mark.parametrize(("kind", "asked_more"), [("clustered", False), ("duplicates", True), ("spiky", True)])
def test_several_tiles_of_many_prototypes(kind, asked_more):
    rows, prototypes, scores, thresholds = on_thresholds(kind, 35, 3)
    asked = Asked(thresholds, asked_more, int(asked_more), pairs=True, within=0.05 if asked_more else None)
    floors = np.quantile(scores, 0.99, axis=0)
    counter = FusedForm(DEVICE, WIDE).prepare(prototypes, asked)
    assert_same(counter.count_tile(rows, floors), expected(rows, prototypes, asked, floors))
    assert counter._work._torch is None  # there was room for all that was left open


@pytest.mark.parametrize(("kind", "asked_more"), [("duplicates", False), ("clustered", True), ("spiky", True)])
def test_a_single_prototype(kind, asked_more):
    rows, prototypes, scores, thresholds = on_thresholds(kind, 1, 9)
    asked = Asked(thresholds, asked_more, int(asked_more), pairs=True)
    sizes = TileSizes(concepts=1, rows=256, columns=256)
    floors = np.quantile(scores, 0.9, axis=0)
    assert_same(answer(rows, prototypes, asked, floors, sizes), expected(rows, prototypes, asked, floors))


def test_more_thresholds_than_a_launch_decides():
    rows, prototypes, _, thresholds = on_thresholds("clustered", 20, 19)
    asked = Asked(thresholds)
    assert_same(answer(rows, prototypes, asked, sizes=WIDE), expected(rows, prototypes, asked))


def test_a_ladder_is_read_off_a_histogram_that_nobody_asked_for():
    rows, prototypes, _, thresholds = on_thresholds("clustered", 20, 2)
    ladder = np.tile(np.arange(-100, 101) / 100, (20, 1))
    asked = Asked(np.concatenate([ladder, thresholds], axis=1)[:, ::-1])
    form = FusedForm(DEVICE, WIDE)
    assert [len(group) for group in form.work(prototypes, asked)._groups] == [2]
    found = form.prepare(prototypes, asked).count_tile(rows)
    assert found.histogram is None
    assert_same(found, expected(rows, prototypes, asked))


def test_similarities_on_an_edge_of_the_histogram_fall_above_it():
    rows = np.zeros((6, 64), dtype=np.float16)
    rows[:, 0] = [0.125, 0.25, 0.5, -0.125, -0.25, -0.5]
    rows[:, 1] = np.sqrt(1 - rows[:, 0].astype(np.float64) ** 2).astype(np.float16)
    found = answer(rows, np.eye(2, 64, dtype=np.float16)[::-1], Asked(np.zeros((2, 0)), histogram=True)).histogram
    np.testing.assert_array_equal(EDGES[np.flatnonzero(found[1])], [-0.5, -0.25, -0.125, 0.125, 0.25, 0.5])


def test_scores_that_are_rounded_past_an_edge_are_settled():
    rows, prototypes = KINDS["clustered"](4000, 128, 1), KINDS["clustered"](32, 128, 2)
    rounded = rows.astype(np.float32) @ prototypes.astype(np.float32).T * np.float32(1000) + np.float32(1024)
    asked = Asked(np.zeros((32, 0)), histogram=True)
    exact = expected(rows, prototypes, asked)
    assert (np.floor(rounded) != bin_of(similarities(rows, prototypes))).sum() > 10  # or nothing was tried
    assert_same(answer(rows, prototypes, asked, sizes=TileSizes(32, 4096, 128)), exact)


def with_similarity(target: Fraction) -> np.ndarray:
    """A unit row whose similarity to `DIGITS` is exactly a given multiple of 2⁻⁴⁸."""
    row, left = np.zeros(8, np.float16), target
    for place, digit in enumerate(DIGITS[:5]):
        row[place] = np.float16(float(left / Fraction(float(digit))))
        left -= Fraction(float(row[place])) * Fraction(float(digit))
    assert left == 0
    row[7] = np.sqrt(1 - np.square(row.astype(np.float64)).sum())
    return row


DIGITS = np.array([0.5, 2.0**-11, 2.0**-22, 2.0**-24, 2.0**-24, 0, 0, 0], np.float16)


# Multiples of 2⁻⁴⁸ about each edge; column 3 is the last one below it.
FLOORED = (np.floor(EDGES[30:2020, None] * 2.0**48) + np.arange(-3, 5)) / 2.0**48


def test_a_similarity_is_scaled_past_an_edge_upwards_only():
    scaled = np.floor(FLOORED * 1000 + 1024)
    assert set(np.unique(scaled - bin_of(FLOORED))) == {0, 1}


def test_similarities_one_step_beside_an_edge_fall_into_their_bins():
    """A step of 2⁻⁴⁸ is the least by which similarities differ: multiplied by 1,000 it may be rounded away."""
    rows = []
    for edge in EDGES[[1053, 1117, 1271, 1301, 1400]]:
        below = int(edge * 2**48)
        rows += [with_similarity(Fraction(below + step, 1 << 48)) for step in (-1, 0, 1, 2)]
    rows, prototypes = np.stack(rows), np.stack([DIGITS, -DIGITS])
    exact = similarities(rows, prototypes)
    assert (np.floor(exact * 1000 + 1024) != bin_of(exact)).sum() == 3  # or nothing was tried
    asked = Asked(np.zeros((2, 0)), histogram=True)
    assert_same(answer(rows, prototypes, asked), expected(rows, prototypes, asked))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_of_prototypes_that_float32_cannot_tell_apart(sign):
    """Also where all similarities are negative, and the highest is the one nearest to zero."""
    one = np.abs(random_unit(1, 128, 1))
    prototypes = np.repeat(one, 30, axis=0)
    prototypes[np.arange(30), np.arange(30)] += np.float16(2.0**-12)
    rows = sign * np.abs(random_unit(200, 128, 2))
    rounded = rows.astype(np.float32) @ prototypes.astype(np.float32).T
    asked = Asked(np.zeros((30, 0)), best=1, pairs=True, within=1e-6)
    best = expected(rows, prototypes, asked, np.full(30, -1.0))
    assert (rounded.argmax(axis=1) != best.best.concepts[:, 0]).any()  # or nothing was tried
    assert_same(answer(rows, prototypes, asked, np.full(30, -1.0), TileSizes(32, 256, 128)), best)


def test_few_pairs_are_recorded_to_find_the_best_of_negative_similarities(monkeypatch):
    monkeypatch.setattr(launches, "LEAST_RECORDS_A_PROGRAM", 120)
    monkeypatch.setattr(launches, "RECORDS", 120)
    rows, prototypes = -np.abs(random_unit(200, 64, 1)), np.abs(random_unit(40, 64, 2))
    asked = Asked(np.zeros((40, 0)), best=1)
    counter = FusedForm(DEVICE, TileSizes(32, 128, 64)).prepare(prototypes, asked)
    assert_same(counter.count_tile(rows), expected(rows, prototypes, asked))
    assert counter._work._torch is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy, which interprets, speaks of what is not finite
@pytest.mark.parametrize("concepts", [1, 40])
@pytest.mark.parametrize("asked_more", [False, True])
def test_bad_rows_are_found_and_nothing_else_breaks(concepts, asked_more):
    rows, prototypes = random_unit(500, 96, 1), random_unit(concepts, 96, 2)
    for position, value in {0: 0.0, 17: np.nan, 18: np.inf, 250: -np.inf, 498: 0.7, 499: 65504.0}.items():
        rows[position, 5] = value
    rows[0] = 0
    asked = Asked(np.full((concepts, 1), 0.2), histogram=asked_more, best=int(asked_more), pairs=asked_more)
    sizes = TileSizes(min(concepts, 32), 256, 64)
    found = answer(rows, prototypes, asked, np.full(concepts, 0.1) if asked_more else None, sizes).refused
    np.testing.assert_array_equal(found, [0, 17, 18, 250, 498, 499])


def test_the_tolerance_of_unit_length_is_the_same_as_elsewhere():
    """Rows whose squared length lies within a few float16 steps of the tolerance, on either side."""
    generator = np.random.default_rng(0)
    rows = np.repeat(random_unit(40, 512, 3).astype(np.float64), 25, axis=0)
    rows *= np.sqrt(generator.choice([LEAST_SQUARE, MOST_SQUARE], size=(1000, 1)))
    rows *= 1 + generator.normal(size=(1000, 1)) * 2e-5
    rows = rows.astype(np.float16)
    bad = np.flatnonzero(~is_unit(rows))
    assert 100 < len(bad) < 900
    sizes = TileSizes(concepts=1, rows=512, columns=512)
    np.testing.assert_array_equal(
        answer(rows, random_unit(1, 512), Asked(np.full((1, 1), 0.2)), sizes=sizes).refused, bad
    )


@pytest.mark.parametrize("asked_more", [False, True])
def test_rows_of_which_too_much_is_left_open_are_answered_in_plain_torch(monkeypatch, asked_more):
    monkeypatch.setattr(launches, "LEAST_RECORDS_A_PROGRAM", 50)
    monkeypatch.setattr(launches, "RECORDS", 100)
    prototypes = random_unit(3, 64, 2)
    crowd = np.tile(random_unit(1, 64, 1), (300, 1))  # all of them lie on the threshold
    few = KINDS["clustered"](40, 64, 1)
    on = similarities(crowd[:1], prototypes).T
    asked = Asked(np.concatenate([on, on], axis=1), asked_more, int(asked_more), pairs=True)
    floors = np.full(3, 0.9)
    work = FusedForm(DEVICE, SMALL).work(prototypes, asked)
    tiles = [few, crowd, few, crowd]
    answers = list(DeviceCounter(work, 64).count_tiles((tile, floors) for tile in tiles))
    assert work._torch is not None
    whole = expected(np.concatenate(tiles), prototypes, asked, floors)
    np.testing.assert_array_equal(sum(one.counts for one in answers), whole.counts)
    if asked_more:
        np.testing.assert_array_equal(answers[-1].histogram, whole.histogram)
        found = np.concatenate([one.best.similarities for one in answers])
        np.testing.assert_array_equal(found, whole.best.similarities)


def test_many_tiles_are_answered_in_order_and_added_up():
    prototypes = random_unit(5, 64, 2)
    tiles = [KINDS["clustered"](size, 64, number) for number, size in enumerate([30, 1, 0, 90, 2, 40, 0])]
    asked = Asked(np.full((5, 2), 0.1001), histogram=True, best=1, pairs=True)
    floors = np.full(5, 0.3)
    answers = list(FusedForm(DEVICE, SMALL).prepare(prototypes, asked).count_tiles((tile, floors) for tile in tiles))
    parts = [expected(tile, prototypes, asked, floors) for tile in tiles]
    np.testing.assert_array_equal(sum(one.counts for one in answers), sum(one.counts for one in parts))
    np.testing.assert_array_equal(answers[-1].histogram, sum(one.histogram for one in parts))
    for one, other in zip(answers, parts, strict=True):
        np.testing.assert_array_equal(one.best.concepts, other.best.concepts)
        np.testing.assert_array_equal(one.pairs.concepts, other.pairs.concepts)


def test_more_than_one_best_prototype_is_answered_in_plain_torch():
    rows, prototypes = random_unit(50, 16, 1), random_unit(6, 16, 2)
    asked = Asked(np.zeros((6, 0)), best=3)
    assert_same(answer(rows, prototypes, asked), expected(rows, prototypes, asked))


def test_kernels_are_not_used_where_products_are_not_as_supposed(monkeypatch):
    monkeypatch.setattr(fused, "examine", lambda *_: None)
    with pytest.raises(fused.ProductNotAsSupposed, match="tensor cores of .* err by more than any that are known"):
        FusedForm(DEVICE, TileSizes(concepts=16, rows=32, columns=16)).work(random_unit(3, 24), Asked(np.zeros((3, 1))))
