"""The int8 product of torch, where it can be trusted: for the numba form, which has none of its own.

Not here: what makes integers of vectors and bounds what that loses (`numba_screens.py`). torch is imported when first
needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import numpy as np

# (n, d) int8 rows, (C, d) int8 prototypes, (n, C) int32 sums to be filled in.
ByteProduct = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def is_loaded() -> bool:
    """Has torch been imported already?"""
    return "torch" in sys.modules


@cache
def int8_product() -> ByteProduct | None:
    """Give torch's int8 product, or None where it is slow or wrong.

    Without instructions for it (VNNI, AMX) torch adds two products in 16 bits, which saturate in silence; so those are
    asked for, and the product is tried where its sums are greatest before it is used.
    """
    from .llvm_intrinsics import machine_has

    made_for_it = any(machine_has(feature) for feature in ("avx512vnni", "avxvnni", "amx-int8"))
    if not made_for_it or find_spec("torch") is None:
        return None
    return _multiply if multiplies_exactly(_multiply) else None


def multiplies_exactly(product: ByteProduct) -> bool:
    """Does an int8 product give the true sums, also where they are greatest?"""
    generator = np.random.default_rng(0)
    for rows, dimension, concepts in ((33, 64, 17), (480, 512, 512), (20, 1023, 5)):
        left = generator.integers(-127, 128, size=(rows, dimension), dtype=np.int8)
        right = generator.integers(-127, 128, size=(concepts, dimension), dtype=np.int8)
        left[0], left[1], left[2, ::2] = 127, -127, 127
        right[0], right[1], right[2, ::2] = 127, -127, -127
        sums = np.zeros((rows, concepts), dtype=np.int32)
        product(left, right, sums)
        # Float64 holds these sums exactly.
        if not np.array_equal(sums, left.astype(np.float64) @ right.astype(np.float64).T):
            return False
    return True


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to the calling thread while the block runs: each of several threads has a product of its own."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _multiply(rows: np.ndarray, prototypes: np.ndarray, sums: np.ndarray) -> None:
    import torch

    multiply = torch._int_mm  # pyright: ignore[reportPrivateImportUsage]
    multiply(torch.from_numpy(rows), torch.from_numpy(prototypes).T, out=torch.from_numpy(sums))
