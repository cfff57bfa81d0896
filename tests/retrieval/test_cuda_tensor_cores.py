"""The band of a tensor core holds for a tensor core that computes as the literature says, and the examination tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.retrieval.counting import similarities
from tailwag.retrieval.counting.bands import float32_band
from tailwag.retrieval.counting.cuda.tensor_cores import ANY, TensorCore, examine, hard_vectors, supposed

from .tensor_core import tensor_core_product
from .test_counting_exactness import KINDS

CORES = [ANY, TensorCore(4, 24), TensorCore(8, 24), TensorCore(16, 25)]
CHUNKS = [None, 64, 32]


def computing(core, chunk):
    return lambda rows, prototypes: tensor_core_product(rows, prototypes, core.products, core.fraction_bits, chunk)


def worst(product, rows, prototypes):
    return np.abs(product(rows, prototypes).astype(np.float64) - similarities(rows, prototypes)).max()


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("dimension", [1, 17, 512])
def test_errors_stay_within_the_band(core, chunk, dimension):
    rows, prototypes = hard_vectors(dimension, 8)
    found = worst(computing(core, chunk), rows, prototypes)
    assert found <= core.band(dimension, chunk)
    if dimension == 512:
        assert (
            found > core.band(dimension, chunk) / 40
        )  # a band that has nothing to do with the errors is worth nothing


@given(
    kinds=st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS))),
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([3, 40, 200]),
    core=st.sampled_from(CORES),
    chunk=st.sampled_from(CHUNKS),
)
@settings(max_examples=60, deadline=None)
def test_errors_stay_within_the_band_for_any_vectors(kinds, seed, dimension, core, chunk):
    rows, prototypes = KINDS[kinds[0]](6, dimension, seed), KINDS[kinds[1]](5, dimension, seed + 1)
    assert worst(computing(core, chunk), rows, prototypes) <= core.band(dimension, chunk)


def test_hard_vectors_are_no_longer_than_rows_may_be():
    for vectors in hard_vectors(512):
        assert np.linalg.norm(vectors.astype(np.float64), axis=1).max() <= 1.001


def test_bands_are_as_the_formula_says():
    # ⌈512/16⌉ (17·2⁻²⁵ + 2⁻²³) and ⌈64/16⌉ (…) + 7·2⁻²⁴, times the lengths; subnormal operands add little.
    hopper = supposed((9, 0))
    assert hopper.band(512) == pytest.approx(32 * (17 * 2.0**-25 + 2.0**-23) * 1.004, rel=1e-3)
    assert hopper.band(512, 64) == pytest.approx((4 * (17 * 2.0**-25 + 2.0**-23) + 7 * 2.0**-24) * 1.004, rel=2e-3)
    assert hopper.band(512, 64) < float32_band(512) / 10
    assert hopper.band(512) < supposed((8, 0)).band(512) < ANY.band(512)


def test_each_generation_is_known_and_others_are_taken_for_the_weakest():
    assert [supposed(capability).fraction_bits for capability in ((7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (12, 0))] == [
        23, 24, 24, 24, 25, 25,
    ]  # fmt: skip
    assert supposed((6, 1)) == supposed((7, 0)) == ANY


@pytest.mark.parametrize(("core", "chunk"), [(ANY, None), (TensorCore(8, 24), 64), (TensorCore(16, 25), 32)])
def test_a_device_that_computes_as_supposed_is_believed(core, chunk):
    assert examine(computing(core, chunk), core, 512, chunk) == core


@pytest.mark.parametrize("computes", [ANY, TensorCore(8, 25), TensorCore(16, 24)])
def test_a_device_that_keeps_fewer_bits_or_takes_shorter_steps_is_taken_for_the_weakest(computes):
    assert examine(computing(computes, None), TensorCore(16, 25), 512, None) == ANY


def test_a_device_that_sums_in_float16_is_refused():
    def product(rows, prototypes):
        total = np.zeros((len(rows), len(prototypes)), np.float16)
        for place in range(rows.shape[1]):
            total = (total + rows[:, place, None] * prototypes[:, place]).astype(np.float16)
        return total.astype(np.float32)

    assert examine(product, TensorCore(16, 25), 512, None) is None


def test_a_device_that_keeps_ten_bits_is_refused():
    assert examine(computing(TensorCore(16, 10), 64), TensorCore(16, 25), 512, 64) is None
