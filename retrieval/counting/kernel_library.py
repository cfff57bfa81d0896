"""The compiled kernel as Python sees it: loading it, and the structures and numbers that it shares with C.

The twin of `kernel/tile.h`. Not here: what is put into a tile (`kernel_calls.py`), when it is used (`compiled.py`).
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib.util import find_spec
from typing import Any

from .bins import BINS

# The numbers of tile.h and kernel.c.
DOTS, FLOAT32, INT16, INT8 = range(4)
PORTABLE, AVX2, AVX512_VNNI = range(3)
INSTRUCTION_SETS = ("portable", "AVX2", "AVX-512 VNNI")
RUN = 64
BIN_STRIDE = BINS + 16


class Found(ctypes.Structure):
    """Pairs that one thread found."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("rows", ctypes.POINTER(ctypes.c_int64)),
        ("concepts", ctypes.POINTER(ctypes.c_int32)),
        ("similarities", ctypes.POINTER(ctypes.c_double)),
    )


class Tile(ctypes.Structure):
    """What the kernel is told of one tile."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("dimension", "concepts", "padded", "columns", "best", "threads", "histogram_copies")
        ),
        *((name, ctypes.c_int32) for name in ("product", "histogram_wanted", "pairs_wanted", "within_wanted")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "prototypes",
                "panels",
                "thresholds",
                "lower",
                "upper",
                "scale",
                "length",
                "residual",
                "offset",
                "correction",
                "mean",
            )
        ),
        *((name, ctypes.c_double) for name in ("band", "within", "least_square", "most_square")),
        ("rows_count", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "rows",
                "floors",
                "floors_lower",
                "counts",
                "histograms",
                "best_concepts",
                "best_similarities",
                "refused",
                "found",
            )
        ),
    )


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_note_fork)


def usable_threads(threads: int) -> int:
    """Say how many threads may be used: one in a forked child, where GNU's OpenMP would wait for its parent's."""
    return 1 if _forked else threads


@cache
def load_kernel() -> tuple[Any, str | None]:
    """Load the kernel; gives also why there is none."""
    found = find_spec("tailwag.retrieval.counting._kernel")
    if found is None or found.origin is None:
        return None, "the kernel was not built: no C compiler was at hand when tailwag was installed"
    try:
        library = ctypes.CDLL(found.origin)
    except OSError as error:
        return None, f"the kernel cannot be loaded ({error})"
    library.tailwag_count.argtypes = (ctypes.POINTER(Tile), ctypes.c_int)
    library.tailwag_free_found.argtypes = (ctypes.POINTER(Found), ctypes.c_int64)
    return library, None
