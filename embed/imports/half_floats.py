"""Float16 rows brought to unit length by a compiled loop, several times as fast as numpy converts them.

The twin in numpy is `normalising.normalise`, which is used where the machine has no instruction for float16. Not here:
what becomes of rows without a length (`part_rows.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic as _intrinsic

# Its type says nothing of what it makes: a function that lacks the typing context.
intrinsic: Any = _intrinsic

_HALF, _FLOAT, _SHORT = ir.HalfType(), ir.FloatType(), ir.IntType(16)
# The sum may be taken in any order, so that it is taken in registers; nothing is assumed about nan and inf.
_ANY_ORDER = {"reassoc", "contract", "nsz"}


@cache
def converts_halves() -> bool:
    """Has the CPU that numba compiles for an instruction for float16?"""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES:  # someone set another one than the host
        return "+f16c" in (settings.CPU_FEATURES or "").split(",")
    return bool(binding.get_host_cpu_features().get("f16c", False))


@intrinsic
def _to_float(typing_context: Any, bits: Any) -> Any:
    """Read uint16 bits as the float16 number that they are, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], _HALF), _FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def _to_half(typing_context: Any, value: Any) -> Any:
    """Round float32 to the nearest float16, as uint16 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], _HALF), _SHORT)

    return types.uint16(types.float32), generate


def _divide_by_length(bits: np.ndarray, lengths: np.ndarray) -> None:
    for row in range(bits.shape[0]):
        total = np.float32(0)
        for column in range(bits.shape[1]):
            value = _to_float(bits[row, column])
            total += value * value
        length = np.sqrt(total)
        lengths[row] = length
        if length > 0:  # nor nan
            factor = np.float32(1) / length
            for column in range(bits.shape[1]):
                bits[row, column] = _to_half(_to_float(bits[row, column]) * factor)


_compiled: Callable[[np.ndarray, np.ndarray], None] | None = None


def normalise_halves(vectors: np.ndarray) -> np.ndarray:
    """Divide each vector by its length, in place.

    Parameters
    ----------
    vectors
        (n, dimension) float16, C-contiguous and writable. Rows that have no length stay as they are.

    Returns
    -------
    numpy.ndarray
        (n,) float32: the lengths; nan or inf where a number was not finite.
    """
    global _compiled
    if _compiled is None:
        types_of_it = (types.uint16[:, ::1], types.float32[::1])
        options: dict[str, Any] = {"nogil": True, "fastmath": _ANY_ORDER, "error_model": "numpy"}
        try:
            _compiled = numba.njit(types_of_it, cache=True, **options)(_divide_by_length)
        except (RuntimeError, OSError):  # there is nowhere to keep it: it is compiled in every process
            _compiled = numba.njit(types_of_it, **options)(_divide_by_length)
    lengths = np.empty(len(vectors), np.float32)
    _compiled(vectors.view(np.uint16), lengths)
    return lengths
