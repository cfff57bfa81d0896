"""The numba form of the CPU backend, for where no C compiler was at hand. Its door: imports no numba until it counts.

Behind it: the counter (`numba_counter.py`), which gives rows to screens (`numba_screens.py`), which run compiled loops
(`numba_products.py`, `numba_scores.py`).
"""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np

from .tiles import Asked
from .torch_products import ByteProduct

if TYPE_CHECKING:
    from .numba_counter import NumbaCounter

Product = Literal["float32", "int16", "int8"]


def why_not() -> str | None:
    """Say why the numba form does not run here; None when it does."""
    if find_spec("numba") is None:
        return "numba is not installed"
    from .llvm_intrinsics import machine_has

    if platform.machine() in ("x86_64", "AMD64") and not machine_has("f16c"):
        return "the CPU cannot read float16 (F16C), or numba was told to compile for one that cannot"
    return None


def description() -> str:
    """Say for which instructions numba compiles here, and on how many threads it counts."""
    from .llvm_intrinsics import machine_has

    widest = "AVX-512" if machine_has("avx512f") else "AVX2" if machine_has("avx2") else platform.machine()
    return f"{widest}, {_cores()} threads"


class NumbaBackend:
    """Counts with loops that numba compiles.

    Parameters
    ----------
    threads
        None takes all cores that this process may use.
    product
        One product for all prototypes, where counts at a few thresholds are all that is wanted; None chooses for each
        by the first tile.
    int8_product
        An int8 product in place of torch's, filling in true sums; None takes torch's where it can be trusted.
    """

    name = "numba"

    def __init__(
        self, threads: int | None = None, product: Product | None = None, int8_product: ByteProduct | None = None
    ) -> None:
        self._threads = threads or _cores()
        self._product: Product | None = product
        self._int8_product = int8_product

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> NumbaCounter:
        """Make ready for one query; see `Backend.prepare`."""
        from .numba_counter import NumbaCounter

        return NumbaCounter(prototypes, asked, self._threads, self._product, self._int8_product)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
