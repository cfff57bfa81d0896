"""The torch form of counting gives every answer of the reference, to the bit: on the CPU, and on a GPU where one is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import is_unit
from tailwag.retrieval.counting import Asked, similarities
from tailwag.retrieval.counting.reference import ReferenceBackend

from .exact_arithmetic import exact_counts
from .test_counting_exactness import KINDS, assert_same, questions, random_unit

torch = pytest.importorskip("torch")

from tailwag.retrieval.counting.cuda import torch_form  # noqa: E402
from tailwag.retrieval.counting.cuda.torch_form import TorchForm  # noqa: E402

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def answer(device, rows, prototypes, asked, floors=None):
    return TorchForm(device).prepare(prototypes, asked).count_tile(rows, floors)


def expected(rows, prototypes, asked, floors=None):
    return ReferenceBackend().prepare(prototypes, asked).count_tile(rows, floors)


@pytest.mark.parametrize("device", DEVICES)
@given(question=questions())
@settings(max_examples=60, deadline=None)
def test_counts_equal_exact_arithmetic(device, question):
    rows, prototypes, thresholds = question
    found = answer(device, rows, prototypes, Asked(thresholds))
    np.testing.assert_array_equal(found.counts, exact_counts(rows, prototypes, thresholds))


@pytest.mark.parametrize("device", DEVICES)
@given(question=questions(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_every_answer_equals_the_reference(device, question, data):
    rows, prototypes, thresholds = question
    asked = Asked(
        thresholds if data.draw(st.booleans()) else thresholds[:, :0],
        histogram=data.draw(st.booleans()),
        best=data.draw(st.sampled_from([0, 0, 1, len(prototypes)])),
        pairs=data.draw(st.booleans()),
        within=data.draw(st.sampled_from([None, None, 0.0, 0.1])),
    )
    floors = None
    if asked.pairs:
        floors = thresholds[:, 0].copy()
        floors[data.draw(st.integers(0, len(floors) - 1))] = data.draw(st.sampled_from([np.inf, -np.inf, 0.0]))
    assert_same(answer(device, rows, prototypes, asked, floors), expected(rows, prototypes, asked, floors))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("columns", [3, 40])
@pytest.mark.parametrize("asked_more", [False, True])
def test_tiles_of_full_size(device, kind, columns, asked_more):
    """Screened and settled, dense, and ranked: duplicates and spikes lie in crowds on the thresholds."""
    rows, prototypes = KINDS[kind](801, 512, 3), KINDS["clustered"](67, 512, 3)
    rows[700:720] = prototypes[:20]
    scores = similarities(rows, prototypes)
    thresholds = np.concatenate([scores[:columns], np.nextafter(scores[5:7], 2)]).T
    asked = Asked(
        np.clip(thresholds, -1, 1), asked_more, 5 * asked_more, pairs=True, within=0.05 if asked_more else None
    )
    floors = np.quantile(scores, 0.99, axis=0)
    assert_same(answer(device, rows, prototypes, asked, floors), expected(rows, prototypes, asked, floors))


@pytest.mark.parametrize("device", DEVICES)
def test_an_answer_is_put_together_from_pieces(device, monkeypatch):
    monkeypatch.setitem(torch_form._SCORES, device, 7 * 100)
    monkeypatch.setitem(torch_form._PAIRS, device, 11)
    rows, prototypes = KINDS["clustered"](333, 64, 1), random_unit(7, 64, 2)
    scores = similarities(rows, prototypes)
    floors = np.quantile(scores, 0.9, axis=0)
    for asked in (
        Asked(scores[:3].T, pairs=True),
        Asked(scores[:3].T, histogram=True, best=2, pairs=True, within=0.1),
    ):
        assert_same(answer(device, rows, prototypes, asked, floors), expected(rows, prototypes, asked, floors))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("asked_more", [False, True])
def test_bad_rows_are_found(device, asked_more):
    rows, prototypes = random_unit(500, 96, 1), random_unit(40, 96, 2)
    for position, value in {0: 0.0, 17: np.nan, 18: np.inf, 250: -np.inf, 498: 0.7, 499: 65504.0}.items():
        rows[position, 5] = value
    rows[0] = 0
    asked = Asked(np.full((40, 1), 0.2), histogram=asked_more, best=int(asked_more))
    found = answer(device, rows, prototypes, asked).refused
    np.testing.assert_array_equal(found, np.flatnonzero(~is_unit(rows)))
    np.testing.assert_array_equal(found, [0, 17, 18, 250, 498, 499])


@pytest.mark.parametrize("device", DEVICES)
def test_many_tiles_are_answered_in_order_and_added_up(device):
    """More tiles than there are buffers, of sizes that grow and shrink, with rows that differ from tile to tile."""
    prototypes = random_unit(5, 64, 2)
    sizes = [30, 1, 0, 500, 2, 77, 900, 0, 3, 40, 41, 42, 1]
    tiles = [KINDS["clustered"](size, 64, number) for number, size in enumerate(sizes)]
    asked = Asked(np.full((5, 2), 0.1), histogram=True, best=2, pairs=True)
    floors = np.full(5, 0.3)
    counter = TorchForm(device).prepare(prototypes, asked)
    for _ in range(2):  # the sums begin anew
        answers = list(counter.count_tiles((tile, floors) for tile in tiles))
        assert len(answers) == len(tiles)
        parts = [expected(tile, prototypes, asked, floors) for tile in tiles]
        np.testing.assert_array_equal(sum(one.counts for one in answers), sum(one.counts for one in parts))
        found = [one.histogram for one in answers if one.histogram is not None]
        np.testing.assert_array_equal(sum(found), sum(one.histogram for one in parts))
        for one, other in zip(answers, parts, strict=True):
            np.testing.assert_array_equal(one.best.concepts, other.best.concepts)
            np.testing.assert_array_equal(one.pairs.rows, other.pairs.rows)
            np.testing.assert_array_equal(one.pairs.similarities, other.pairs.similarities)


def test_tiles_that_are_large_are_copied_in_pieces():
    prototypes, rows = random_unit(1, 512, 2), KINDS["clustered"](3001, 512, 1)
    rows.setflags(write=False)
    assert_same(*(form(rows, prototypes, Asked(np.full((1, 1), 0.1))) for form in (cpu_answer, expected)))


def cpu_answer(*arguments):
    return answer("cpu", *arguments)


def test_no_tiles_have_no_answers():
    counter = TorchForm("cpu").prepare(random_unit(2, 8), Asked(np.full((2, 1), 0.1), histogram=True))
    assert list(counter.count_tiles([])) == []


def test_a_setting_for_less_than_float32_is_put_back():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        rows, prototypes = KINDS["duplicates"](600, 512, 1), random_unit(40, 512, 2)
        asked = Asked(similarities(rows[:3], prototypes).T)
        assert_same(answer("cpu", rows, prototypes, asked), expected(rows, prototypes, asked))
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
def test_the_float32_product_of_a_gpu_stays_within_the_band():
    from tailwag.retrieval.counting.bands import float32_band

    torch.set_float32_matmul_precision("medium")
    rows, prototypes = (torch.from_numpy(np.abs(random_unit(500, 512, seed))).cuda() for seed in (1, 2))
    found = torch_form.float32_product(rows.float(), prototypes.float()).double()
    assert (found - rows.double() @ prototypes.double().T).abs().max() <= float32_band(512)
