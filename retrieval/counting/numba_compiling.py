"""How the numba form's loops are compiled: for given types, when first called, and kept on disk.

Not here: the loops (`numba_products.py`, `numba_scores.py`). No loop starts a thread of its own: all of them let go of
Python's lock, and whoever calls them has threads. So nothing breaks when a process forks, and no pool of threads meets
another.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit, types

from ...embed.corpus import LEAST_SQUARE, MOST_SQUARE

# Sums that LLVM may reorder: exact ones, and those that are only compared with a tolerance. It may assume nothing about
# nan and inf.
ANY_ORDER = {"reassoc", "contract", "nsz"}

# numba knows a kept function by the text of its own file; but what it calls and names in others is compiled into it.
_OURS = ("llvm_intrinsics.py", "numba_compiling.py", "numba_products.py", "numba_scores.py")
_DIGEST = hashlib.sha256(
    b"".join((Path(__file__).parent / name).read_bytes() for name in _OURS) + repr((LEAST_SQUARE, MOST_SQUARE)).encode()
).hexdigest()[:12]


class Kernel:
    """A compiled function for given types: compiled when first called, or read from numba's cache.

    Parameters
    ----------
    function
        What is compiled.
    types
        Of its arguments.
    """

    def __init__(self, function: Callable, *argument_types: Any) -> None:
        self._function = function
        self._types = argument_types
        self._compiled: Callable | None = None
        self._compiling = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        if self._compiled is None:
            with self._compiling:
                if self._compiled is None:
                    self._compiled = self._compile()
        return self._compiled(*arguments)

    def _compile(self) -> Callable:
        self._function.__qualname__ = f"{self._function.__name__}-{_DIGEST}"
        try:
            return njit(self._types, nogil=True, cache=True)(self._function)
        except (RuntimeError, OSError):  # there is nowhere to keep it: it is compiled in every process
            return njit(self._types, nogil=True)(self._function)


def kernel(*argument_types: Any) -> Callable[[Callable], Kernel]:
    """Make a function a `Kernel`."""
    return lambda function: Kernel(function, *argument_types)


def _array(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C")


# The types of arguments: contiguous arrays of one dimension, or of two. `BITS` are rows of float16, read-only.
BITS = types.Array(types.uint16, 2, "C", readonly=True)
FLAGS, BYTES_2, SHORTS_2 = _array(types.uint8, 1), _array(types.int8, 2), _array(types.int16, 2)
WORDS, WORDS_2 = _array(types.int32, 1), _array(types.int32, 2)
FLOATS, FLOATS_2 = _array(types.float32, 1), _array(types.float32, 2)
DOUBLES, DOUBLES_2 = _array(types.float64, 1), _array(types.float64, 2)
NUMBER, FLOAT, DOUBLE = types.int64, types.float32, types.float64
