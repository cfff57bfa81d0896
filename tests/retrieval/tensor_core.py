"""A tensor core in numpy, by the model of the literature: products aligned, cut off, added, cut off again."""

from __future__ import annotations

import numpy as np


def exponents(values: np.ndarray, least: int) -> np.ndarray:
    """The exponents of floating-point numbers whose smallest normal one is 2**least."""
    return np.maximum(np.frexp(values)[1] - 1, least)


def cut_off(values: np.ndarray, quantum: np.ndarray) -> np.ndarray:
    return np.trunc(values / quantum) * quantum


def tensor_core_product(rows, prototypes, products: int, fraction_bits: int, chunk: int | None = None) -> np.ndarray:
    """(n, C) float32: what the kernel would compute on such a device."""
    rows, prototypes = rows.astype(np.float64), prototypes.astype(np.float64)
    dimension = rows.shape[1]
    length = dimension if chunk is None else chunk
    whole = np.zeros((len(rows), len(prototypes)), np.float32)
    for first in range(0, dimension, length):
        total = np.zeros(whole.shape)
        for start in range(first, min(first + length, dimension), products):
            here = slice(start, min(start + products, first + length, dimension))
            x, p = rows[:, None, here], prototypes[None, :, here]
            addends = np.concatenate([total[..., None], x * p], axis=2)
            scales = np.concatenate([exponents(total, -126)[..., None], exponents(x, -14) + exponents(p, -14)], axis=2)
            greatest = scales.max(axis=2, keepdims=True)
            added = cut_off(addends, 2.0 ** (greatest - fraction_bits)).sum(axis=2)
            total = cut_off(added, 2.0 ** (exponents(added, -126) - 23.0))
        whole = whole + total.astype(np.float32)
    return whole
