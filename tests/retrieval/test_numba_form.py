"""The numba form: each product proven against exact arithmetic, whatever it is chosen for and wherever it runs."""

import itertools
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.retrieval.counting import Asked, similarities
from tailwag.retrieval.counting.backends import why_not
from tailwag.retrieval.counting.bins import BINS, EDGES, bin_of
from tailwag.retrieval.counting.numba_form import NumbaBackend
from tailwag.retrieval.counting.reference import ReferenceCounter
from tests.corpora import clustered_unit, random_unit, unit

from .test_counting_exactness import KINDS, assert_same

if why_not("numba") is not None:
    pytest.skip(f"numba: {why_not('numba')}", allow_module_level=True)

from tailwag.retrieval.counting import llvm_intrinsics, numba_compiling, numba_counter, numba_scores, torch_products
from tailwag.retrieval.counting import numba_products as products
from tailwag.retrieval.counting.numba_screens import ByteScreen, FloatScreen, Ladder, ShortScreen, Strip


def true_sums(rows, prototypes, sums):
    """An int8 product that is right on any machine."""
    sums[:] = (rows.astype(np.float64) @ prototypes.astype(np.float64).T).astype(np.int32)


PRODUCTS = [
    "float32",
    pytest.param(
        "int16", marks=pytest.mark.skipif(not llvm_intrinsics.machine_has("avx2"), reason="int16 products take AVX2")
    ),
    "int8",
]


def outlying(rows: int, dimension: int, seed: int) -> np.ndarray:
    """One dimension as large in all rows as CLIP's outlying ones, and what is left over in a narrow cone."""
    wide = clustered_unit(rows, dimension, clusters=3, spread=0.2, seed=seed).astype(np.float64)
    wide[:, dimension // 2] = 4 + np.random.default_rng(seed).normal(size=rows) / 10
    return unit(wide)


def opposed(rows: int, dimension: int, seed: int) -> np.ndarray:
    """All of a row's numbers alike and of one sign: rounding errs in the same direction everywhere."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(rows, 1))
    return unit(signs * (1 + np.random.default_rng(seed).random((rows, dimension)) * 1e-3))


HARD = {**KINDS, "outlying": outlying, "opposed": opposed}


def prepare(prototypes, asked, product=None, **settings):
    int8_product = true_sums if product == "int8" else None
    return NumbaBackend(product=product, int8_product=int8_product, **settings).prepare(prototypes, asked)


@st.composite
def questions(draw):
    """More prototypes than are taken row by row, at thresholds that rows hit exactly or miss by one float64."""
    dimension, concepts = draw(st.sampled_from([1, 3, 64, 130])), draw(st.integers(9, 40))
    seed = draw(st.integers(0, 10**6))
    rows = HARD[draw(st.sampled_from(sorted(HARD)))](draw(st.integers(1, 50)), dimension, seed)
    prototypes = random_unit(concepts, dimension, seed + 1)
    prototypes[: len(rows)] = rows[:concepts]
    prototypes[-1] = (prototypes[-1].astype(np.float32) * draw(st.sampled_from([1, 0.3, 1e-3, 0]))).astype(np.float16)
    hit = np.clip(similarities(rows, prototypes), -1, 1)
    generator = np.random.default_rng(seed)
    columns = draw(st.sampled_from([1, 2, 16, 17, 40]))
    thresholds = hit[generator.integers(len(rows), size=columns)].T.copy()
    steps = generator.integers(-1, 2, size=thresholds.shape)
    thresholds = np.where(steps == 0, thresholds, np.nextafter(thresholds, np.where(steps > 0, 2, -2)))
    return rows, prototypes, np.clip(thresholds, -1, 1)


@pytest.mark.parametrize("product", PRODUCTS)
@given(question=questions())
@settings(max_examples=80, deadline=None)
def test_every_product_counts_what_the_reference_counts(product, question):
    rows, prototypes, thresholds = question
    asked = Asked(thresholds)
    found = prepare(prototypes, asked, product, threads=1).count_tile(rows)
    assert_same(found, ReferenceCounter(prototypes, asked).count_tile(rows))


@given(question=questions(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_every_answer_for_many_prototypes_equals_the_reference(question, data):
    rows, prototypes, thresholds = question
    within = data.draw(st.sampled_from([None, 0.0, 0.05, 3.0]))
    best = data.draw(st.sampled_from([0, 1, 3, len(prototypes)]))
    asked = Asked(thresholds, histogram=True, best=best, pairs=True, within=within)
    floors = thresholds[:, 0].copy()
    floors[:2] = [np.inf, -np.inf]
    found = prepare(prototypes, asked, threads=1).count_tile(rows, floors)
    assert_same(found, ReferenceCounter(prototypes, asked).count_tile(rows, floors))


def errors_and_bands(product, rows, prototypes):
    """How far do a product's scores lie from the similarities, and how far may they?"""
    asked = Asked(np.zeros((len(prototypes), 1)))
    strip = Strip(rows.view(np.uint16), np.zeros(len(rows), np.uint8))
    exact, here = similarities(rows, prototypes), (slice(len(rows)), slice(len(prototypes)))
    if product == "float32":
        screen = FloatScreen(prototypes, asked)
        space = screen.space(len(rows))
        screen.run(strip, space)
        return np.abs(space.scores[here] - exact), np.full(exact.shape, screen.band)
    if product == "int16":
        screen = ShortScreen(prototypes, asked)
        space = screen.space(len(rows))
        residual, length = products.rows_as_shorts(strip.bits, space.rows, strip.refused)
        products.multiply_shorts(space.rows.view(np.int32), screen._panels, len(rows), space.products)
        band = screen._rounded.band(residual, length)
        return np.abs(space.products[here] / screen._scale - exact), np.broadcast_to(band, exact.shape)
    screen = ByteScreen(prototypes, asked, rows[::3].astype(np.float32).mean(axis=0), true_sums)
    space = screen.space(len(rows))
    residual, length = products.rows_as_bytes(strip.bits, screen._mean, space.rows, space.steps, strip.refused)
    screen.run(strip, space)
    scores = space.scores[here] / screen._rounded.scale + screen._offset
    return np.abs(scores - exact), np.broadcast_to(screen._rounded.band(residual, length) + 1e-6, exact.shape)


@pytest.mark.parametrize("kind", sorted(HARD))
@pytest.mark.parametrize("dimension", [1, 9, 64, 512, 1023])
@pytest.mark.parametrize("product", PRODUCTS)
def test_no_score_leaves_its_band(product, dimension, kind):
    rows, prototypes = HARD[kind](70, dimension, 1), HARD[kind](40, dimension, 2)
    error, band = errors_and_bands(product, rows, prototypes)
    assert (error <= band).all()


@pytest.mark.parametrize(("product", "most"), [("float32", 6e-6), ("int16", 5e-4), ("int8", 0.02)])
def test_bands_are_narrow_and_needed(product, most):
    if product == "int16" and not llvm_intrinsics.machine_has("avx2"):
        pytest.skip("int16 products take AVX2")
    rows, prototypes = clustered_unit(200, 512, seed=1), clustered_unit(60, 512, seed=2)
    error, band = errors_and_bands(product, rows, prototypes)
    assert band.max() < most
    assert error.max() > band.max() / 60  # a band of nothing would be found wrong by these rows


def test_taking_the_mean_off_keeps_int8_fine_where_one_dimension_outweighs_all():
    rows, prototypes = outlying(200, 512, 1), clustered_unit(20, 512, seed=2)
    _, band = errors_and_bands("int8", rows, prototypes)
    asked = Asked(np.zeros((20, 1)))
    off_centre = ByteScreen(prototypes, asked, np.zeros(512, np.float32), true_sums)
    space = off_centre.space(200)
    refused = np.zeros(200, np.uint8)
    residual, length = products.rows_as_bytes(rows.view(np.uint16), off_centre._mean, space.rows, space.steps, refused)
    assert band.max() < off_centre._rounded.band(residual, length).max() / 2


def test_a_product_that_saturates_is_refused():
    def saturating(rows, prototypes, sums):
        """Adds pairs of products in 16 bits, rows made unsigned, as CPUs without int8 dot products do."""
        unsigned = np.pad(rows.astype(np.int32) + 128, ((0, 0), (0, rows.shape[1] % 2)))
        wide = np.pad(prototypes.astype(np.int32), ((0, 0), (0, rows.shape[1] % 2)))
        for row, sums_of_row in zip(unsigned, sums, strict=True):
            pairs = (row * wide).reshape(len(wide), -1, 2).sum(axis=2)
            sums_of_row[:] = np.clip(pairs, -(1 << 15), (1 << 15) - 1).sum(axis=1) - 128 * wide.sum(axis=1)

    def off_by_one(rows, prototypes, sums):
        true_sums(rows, prototypes, sums)
        sums[-1, -1] += 1

    def short_of_the_greatest(rows, prototypes, sums):
        true_sums(rows, prototypes, sums)
        np.clip(sums, -(1 << 22), (1 << 22) - 1, out=sums)

    assert torch_products.multiplies_exactly(true_sums)
    assert not torch_products.multiplies_exactly(short_of_the_greatest)
    assert not torch_products.multiplies_exactly(saturating)
    assert not torch_products.multiplies_exactly(off_by_one)


def test_torchs_int8_product_is_taken_only_where_the_cpu_is_made_for_it():
    made_for_it = any(llvm_intrinsics.machine_has(name) for name in ("avx512vnni", "avxvnni", "amx-int8"))
    product = torch_products.int8_product()
    assert (product is None) or made_for_it
    assert product is None or torch_products.multiplies_exactly(product)


@pytest.mark.parametrize("kind", ["clustered", "outlying"])
def test_prototypes_of_all_products_meet_without_a_seam(kind):
    rows, prototypes = HARD[kind](3000, 256, 1), clustered_unit(64, 256, clusters=4, seed=1)
    prototypes[::3] = rows[: len(prototypes[::3])]
    scores = similarities(rows, prototypes)
    # Above nearly all rows for some; amidst them for others, where many pairs fall into int8's band.
    thresholds = np.where(np.arange(64) % 2, np.quantile(scores, 0.999, axis=0) + 0.02, np.median(scores, axis=0))
    thresholds = np.clip(thresholds[:, None], -1, 1)
    thresholds[5], thresholds[6] = scores[17, 5], np.nextafter(scores[18, 6], 2)
    asked = Asked(thresholds)
    counter = NumbaBackend(threads=2, int8_product=true_sums).prepare(prototypes, asked)
    found = counter.count_tile(rows)
    screens = [type(group.screen) for group in counter.groups]
    assert ByteScreen in screens and len(screens) > 1
    assert sorted(np.concatenate([group.positions for group in counter.groups])) == list(range(64))
    assert_same(found, ReferenceCounter(prototypes, asked).count_tile(rows))


def test_one_two_and_five_threads_give_the_same_answers():
    rows, prototypes = clustered_unit(2311, 96, seed=3), clustered_unit(50, 96, seed=3)
    scores = similarities(rows, prototypes)
    for asked in (
        Asked(np.quantile(scores, [0.9, 0.99], axis=0).T),
        Asked(np.tile(np.linspace(-1, 1, 41), (50, 1)), histogram=True, best=4, pairs=True, within=0.1),
    ):
        floors = np.quantile(scores, 0.9, axis=0)
        expected = ReferenceCounter(prototypes, asked).count_tile(rows, floors)
        for threads in (1, 2, 5):
            assert_same(prepare(prototypes, asked, threads=threads).count_tile(rows, floors), expected)


def add_up(answers):
    histograms = [answer.histogram for answer in answers if answer.histogram is not None]
    return sum(answer.counts for answer in answers), sum(histograms)


@pytest.mark.parametrize("in_hand", [1, 1000, 1 << 30])
@pytest.mark.parametrize("concepts", [1, 30])
def test_the_answers_of_many_tiles_add_up(monkeypatch, concepts, in_hand):
    monkeypatch.setattr(numba_counter, "_ROWS_IN_HAND", in_hand)
    rows, prototypes = clustered_unit(3000, 64, seed=1), clustered_unit(concepts, 64, seed=2)
    asked = Asked(np.full((concepts, 1), 0.6), histogram=True, best=1)
    cuts = [0, 0, 700, 701, 2000, 2000, 3000]
    tiles = [(rows[start:stop], None) for start, stop in itertools.pairwise(cuts)]
    answers = list(prepare(prototypes, asked).count_tiles(iter(tiles)))
    expected = ReferenceCounter(prototypes, asked).count_tile(rows)
    counts, histogram = add_up(answers)
    np.testing.assert_array_equal(counts, expected.counts)
    np.testing.assert_array_equal(histogram, expected.histogram)
    best = np.concatenate([answer.best.similarities for answer in answers])
    np.testing.assert_array_equal(best, expected.best.similarities)


def test_each_tile_of_pairs_is_answered_before_the_next_is_taken():
    rows, prototypes = clustered_unit(90, 64, seed=1), clustered_unit(12, 64, seed=2)
    taken, asked = [], Asked(np.zeros((12, 0)), pairs=True)

    def tiles():
        for start in range(0, 90, 30):
            taken.append(start)
            yield rows[start : start + 30], np.zeros(12)

    for number, _ in enumerate(prepare(prototypes, asked).count_tiles(tiles())):
        assert len(taken) == number + 1


def test_going_over_to_torchs_product_loses_nothing(monkeypatch):
    monkeypatch.setattr(numba_counter, "_WORTH_TORCH", 15_000)
    monkeypatch.setattr(torch_products, "int8_product", lambda: true_sums)
    monkeypatch.setattr(torch_products, "is_loaded", lambda: False)
    rows, prototypes = clustered_unit(3000, 64, seed=1), clustered_unit(30, 64, seed=2)
    asked = Asked(np.full((30, 1), np.quantile(similarities(rows, prototypes), 0.999)))
    counter, used = prepare(prototypes, asked), []

    def tiles():
        for start in range(0, 3000, 300):
            yield rows[start : start + 300], None
            used.append(type(counter.groups[0].screen))

    counts, _ = add_up(list(counter.count_tiles(tiles())))
    np.testing.assert_array_equal(counts, ReferenceCounter(prototypes, asked).count_tile(rows).counts)
    assert ByteScreen not in used[:2] and used[-1] is ByteScreen


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_tile_that_begins_with_bad_rows_finds_them_all(product):
    rows, prototypes = random_unit(700, 96, 1), random_unit(40, 96, 2)
    rows[:300, 5] = np.nan
    rows[650, 1] = np.inf
    found = prepare(prototypes, Asked(np.full((40, 1), 0.2)), product).count_tile(rows)
    np.testing.assert_array_equal(found.refused, [*range(300), 650])


def test_what_fails_in_a_thread_fails_in_the_caller():
    def failing(rows, prototypes, sums):
        if len(rows) and rows[0, 0] == marked[0, 0] and np.array_equal(rows[0], marked[0]):
            raise ValueError("planted")
        true_sums(rows, prototypes, sums)

    rows, prototypes = clustered_unit(2000, 64, seed=1), clustered_unit(20, 64, seed=2)
    asked = Asked(np.full((20, 1), 0.5))
    counter = NumbaBackend(threads=3, product="int8", int8_product=failing).prepare(prototypes, asked)
    marked = np.full((1, 64), 99, np.int8)
    counter.count_tile(rows)
    screen = counter.groups[0].screen
    space, refused = screen.space(480), np.zeros(480, np.uint8)
    last = rows[-(len(rows) % 480 or 480) :]
    products.rows_as_bytes(last.view(np.uint16), screen._mean, space.rows, space.steps, refused[: len(last)])
    marked = space.rows[:1].copy()
    with pytest.raises(ValueError, match="planted"):
        counter.count_tile(rows)


@given(
    thresholds=st.lists(st.floats(-1, 1), min_size=1, max_size=60),
    scores=st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_a_ladder_counts_what_searching_counts(thresholds, scores):
    # Rows of one number are not unit vectors, but their float32 scores are exact, and so is what settles them.
    bits = np.array(scores, np.float16)[:, None].view(np.uint16)
    one, steps = np.ones((1, 1), np.float32), np.array([thresholds])
    shared = min(len(scores), len(thresholds), 5)
    steps[0, :shared] = scores[:shared]
    ladder = Ladder(steps, 1e-4)
    between = np.zeros((1, len(thresholds) + 1), np.int32)
    ladder.fill(bits, one, np.array(scores, np.float32)[:, None], between)
    exact = np.array(scores, np.float16).astype(np.float64)
    np.testing.assert_array_equal(ladder.counts(between)[0], [(exact >= step).sum() for step in steps[0]])


def test_a_ladder_of_even_thresholds_takes_one_step():
    assert Ladder(np.linspace(-1, 1, 201)[None], 1e-5).steps == 1
    assert Ladder(np.linspace(0.25, 0.26, 50)[None], 1e-5).steps == 1


def test_scores_on_an_edge_are_binned_as_searching_bins_them():
    """Numbers near every edge that float16 has, one float16 to either side: exact as they are, of any length."""
    near = np.unique(EDGES[10:-10].astype(np.float16))
    numbers = np.unique(np.concatenate([near, np.nextafter(near, np.float16(-2)), np.nextafter(near, np.float16(2))]))
    bits, scores = numbers[:, None].view(np.uint16), numbers[:, None].astype(np.float32)
    histogram = np.zeros((1, BINS), np.int32)
    numba_scores.bin_scores(bits, np.ones((1, 1), np.float32), scores, 1e-5, EDGES.copy(), histogram)
    np.testing.assert_array_equal(histogram[0], np.bincount(bin_of(numbers.astype(np.float64)), minlength=BINS))


def test_without_a_place_for_the_cache_it_compiles_all_the_same(monkeypatch):
    from numba.core import caching

    def twice(values):
        return 2 * values[0]

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    kernel = numba_compiling.Kernel(twice, numba_compiling.FLOATS)
    assert kernel(np.array([4], np.float32)) == 8
    monkeypatch.undo()
    monkeypatch.setattr(caching.FunctionCache, "save_overload", full_disk)
    assert numba_compiling.Kernel(twice, numba_compiling.FLOATS)(np.array([4], np.float32)) == 8


def full_disk(*_):
    raise OSError(28, "No space left on device")


def run(program, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | environment, check=True
    )
    return done.stdout.strip()


def test_the_front_door_and_the_engine_import_no_numba():
    program = (
        "import sys, tailwag, tailwag.retrieval.counting, tailwag.main; print({'numba', 'llvmlite'} & {*sys.modules})"
    )
    assert run(program) == "set()"


def test_a_cpu_without_float16_is_told_apart():
    program = "from tailwag.retrieval.counting.backends import why_not; print(why_not('numba'))"
    expected = "the CPU cannot read float16" if platform.machine() == "x86_64" else "None"
    assert run(program, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="").startswith(expected)


def test_a_forked_process_counts_too():
    # In a process of its own: what else this one has loaded may not bear forking.
    program = """
import os, numpy as np
from tailwag.retrieval.counting import Asked
from tailwag.retrieval.counting.numba_form import NumbaBackend
rows = np.eye(64, dtype=np.float16)[np.arange(1920) % 64]
def count():
    counter = NumbaBackend(threads=2).prepare(rows[:20], Asked(np.full((20, 1), 0.5)))
    return counter.count_tile(rows).counts.sum()
before, child = count(), os.fork()
if child == 0:
    os._exit(0 if count() == before == 600 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), count())
"""
    assert run(program) == "0 600"


def test_torch_keeps_to_one_thread_in_each_of_ours():
    import torch

    seen = []

    def noting(rows, prototypes, sums):
        seen.append(torch.get_num_threads())
        true_sums(rows, prototypes, sums)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        rows, prototypes = clustered_unit(2000, 64, seed=1), clustered_unit(20, 64, seed=2)
        backend = NumbaBackend(threads=3, product="int8", int8_product=noting)
        backend.prepare(prototypes, Asked(np.full((20, 1), 0.5))).count_tile(rows)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen and set(seen) == {1}
