"""Compiled loops give what their plain twins give: unit vectors and sampling numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tailwag.embed.corpus import is_unit, sampling_number
from tailwag.embed.imports.columns import first_of_each
from tailwag.embed.imports.half_floats import normalise_halves
from tailwag.embed.imports.normalising import LEAST_LENGTH, normalise, normalise_in_numpy
from tailwag.embed.imports.sampling import sampling_numbers

BITS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=70))


@given(BITS)
@settings(max_examples=200, deadline=None)
def test_any_bits_are_normalised_as_numpy_does(bits):
    vectors = bits.view(np.float16)
    unit, lengths = normalise_in_numpy(vectors)
    made = vectors.copy()
    found = normalise_halves(made)
    np.testing.assert_allclose(found, lengths, rtol=1e-5)
    sound = np.isfinite(lengths) & (lengths >= LEAST_LENGTH)
    # The two may round the last bit of a number differently.
    difference = np.abs(unit[sound].view(np.int16).astype(int) - made[sound].view(np.int16).astype(int))
    assert difference.max(initial=0) <= 1
    assert is_unit(made[sound]).all() and is_unit(unit[sound]).all()


def test_every_half_float_survives_the_compiled_loop():
    bits = np.arange(1 << 16, dtype=np.uint16)
    finite = bits[np.isfinite(bits.view(np.float16)) & (np.abs(bits.view(np.float16)) <= 0.25)]
    vectors = np.zeros((len(finite), 2), np.float16)
    vectors[:, 0] = finite.view(np.float16)
    # A second number that makes the length one, as nearly as float16 can.
    vectors[:, 1] = np.sqrt(1 - vectors[:, 0].astype(np.float64) ** 2)
    unit, _ = normalise_in_numpy(vectors)
    made, _ = normalise(vectors.copy())
    np.testing.assert_allclose(made.astype(np.float32), unit.astype(np.float32), rtol=2**-10)


@given(st.lists(st.text(max_size=200), max_size=30), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_sampling_numbers_are_those_of_each_key(keys, start):
    array = pa.array(keys, pa.string()).slice(start)
    assert sampling_numbers(array).tolist() == [sampling_number(key) for key in array.to_pylist()]


def test_keys_about_the_length_of_a_hashed_block_have_their_numbers():
    keys = ["k" * size for size in range(300)]
    assert sampling_numbers(pa.array(keys)).tolist() == [sampling_number(key) for key in keys]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40))
def test_the_first_of_each_key_is_found(keys):
    seen: set[str] = set()
    twin = [not (key in seen or seen.add(key)) for key in keys]
    assert first_of_each(pa.array(keys, pa.string())).tolist() == twin
