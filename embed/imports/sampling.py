"""The numbers by which rows are sampled, for many keys at once: SHA-256 in a compiled loop.

`corpus.sampling_number` defines them and is the tests' twin; called row by row it costs as much as writing the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction_of_root(number: int, power: int) -> int:
    """Give the first 32 bits of the fraction of a number's square (2) or cube (3) root, exactly."""
    scaled = number << (32 * power)
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power <= scaled else (low, middle)
    return low & 0xFFFFFFFF


# FIPS 180-4, section 4.2.2 and 5.3.3: the fractions of the cube roots of 64 primes, and of the square roots of eight.
_ROUNDS = np.array([_fraction_of_root(prime, 3) for prime in _primes(64)], np.uint32)
_START = np.array([_fraction_of_root(prime, 2) for prime in _primes(8)], np.uint32)


def _first_bits(text: np.ndarray, offsets: np.ndarray, numbers: np.ndarray) -> None:
    """Put the first 24 bits of each text's SHA-256 over 2²⁴ into `numbers` (FIPS 180-4, section 6.2.2)."""
    words = np.empty(64, np.uint32)
    state = np.empty(8, np.uint32)
    block = np.empty(64, np.uint8)
    for row in range(len(numbers)):
        start, size = offsets[row], offsets[row + 1] - offsets[row]
        for place in range(8):
            state[place] = _START[place]
        blocks = (size + 9 + 63) // 64
        for number in range(blocks):
            # The text, a bit of one, zeros, and the text's length in bits.
            for place in range(64):
                position = number * 64 + place
                if position < size:
                    block[place] = text[start + position]
                elif position == size:
                    block[place] = 0x80
                elif position >= blocks * 64 - 8:
                    block[place] = (8 * size >> 8 * (blocks * 64 - 1 - position)) & 0xFF
                else:
                    block[place] = 0
            for place in range(16):
                words[place] = (
                    np.uint32(block[4 * place]) << np.uint32(24)
                    | np.uint32(block[4 * place + 1]) << np.uint32(16)
                    | np.uint32(block[4 * place + 2]) << np.uint32(8)
                    | np.uint32(block[4 * place + 3])
                )
            for place in range(16, 64):
                one, two = words[place - 15], words[place - 2]
                spread_one = _turn(one, 7) ^ _turn(one, 18) ^ (one >> np.uint32(3))
                spread_two = _turn(two, 17) ^ _turn(two, 19) ^ (two >> np.uint32(10))
                words[place] = words[place - 16] + spread_one + words[place - 7] + spread_two
            a, b, c, d, e, f, g, h = (state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7])
            for place in range(64):
                mixed = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
                chosen = (e & f) ^ (~e & g)
                first = h + mixed + chosen + _ROUNDS[place] + words[place]
                mixed = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
                majority = (a & b) ^ (a & c) ^ (b & c)
                h, g, f, e = g, f, e, np.uint32(d + first)
                d, c, b, a = c, b, a, np.uint32(first + mixed + majority)
            state[0] += a
            state[1] += b
            state[2] += c
            state[3] += d
            state[4] += e
            state[5] += f
            state[6] += g
            state[7] += h
        numbers[row] = np.float32(state[0] >> np.uint32(8)) / np.float32(1 << 24)


@numba.njit(types.uint32(types.uint32, types.uint32), inline="always")
def _turn(word: Any, bits: Any) -> Any:
    return (word >> np.uint32(bits)) | (word << np.uint32(32 - bits))


_compiled: Callable[..., None] | None = None


def sampling_numbers(keys: Any) -> np.ndarray:
    """Give the sampling number of each key.

    Parameters
    ----------
    keys
        `pyarrow.Array` of strings without nulls.

    Returns
    -------
    numpy.ndarray
        (n,) float32 in [0, 1): what `corpus.sampling_number` gives.
    """
    global _compiled
    if _compiled is None:
        types_of_it = (
            types.Array(types.uint8, 1, "C", True),
            types.Array(types.int32, 1, "C", True),
            types.float32[::1],
        )
        try:
            _compiled = numba.njit(types_of_it, nogil=True, cache=True)(_first_bits)
        except (RuntimeError, OSError):  # there is nowhere to keep it: it is compiled in every process
            _compiled = numba.njit(types_of_it, nogil=True)(_first_bits)
    numbers = np.empty(len(keys), np.float32)
    if not len(keys):
        return numbers
    _, offsets, text = keys.buffers()
    positions = np.frombuffer(offsets, np.int32)[keys.offset : keys.offset + len(keys) + 1]
    bytes_of_it = np.frombuffer(text, np.uint8) if text is not None and text.size else np.zeros(0, np.uint8)
    bytes_of_it.flags.writeable = positions.flags.writeable = False
    _compiled(bytes_of_it, positions, numbers)
    return numbers
