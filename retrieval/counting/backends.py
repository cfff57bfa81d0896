"""What a counting backend must do, and choosing one by name.

Not here: the backends themselves (`reference.py`, `cpu.py`), the pass that feeds them (`engine.py`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from tailwag.errors import BadInput

# Imported when chosen: a backend may need what the others do not.
BACKENDS = {
    "cpu": "tailwag.retrieval.counting.cpu:CpuBackend",
    "reference": "tailwag.retrieval.counting.reference:ReferenceBackend",
}
# `auto` takes the first that is there.
_PREFERENCE = ("cpu",)


class TileCounter(Protocol):
    """Counts hits in tiles of rows; made by a backend for one query."""

    def count_tile(self, rows: np.ndarray) -> np.ndarray:
        """Count the rows whose similarity reaches each threshold.

        Parameters
        ----------
        rows
            (n, d) float16, finite and of unit length within `UNIT_TOLERANCE`: the engine has checked it. n may be 0.

        Returns
        -------
        numpy.ndarray
            (C, T) int64, equal to counting in real arithmetic.
        """
        ...


class Backend(Protocol):
    """A way of counting. All of them give the same counts."""

    name: str

    def prepare(self, prototypes: np.ndarray, thresholds: np.ndarray) -> TileCounter:
        """Make ready for one query.

        Parameters
        ----------
        prototypes
            (C, d) float16, finite, of length at most 1.001.
        thresholds
            (C, T) float64 in [-1, 1], in any order.
        """
        ...


def choose_backend(name: str = "auto") -> Backend:
    """Give the backend of that name; ``auto`` takes the fastest that runs here.

    Raises
    ------
    BadInput
        For a name that no backend has.
    """
    chosen = _PREFERENCE[0] if name == "auto" else name
    if chosen not in BACKENDS:
        raise BadInput(f"there is no counting backend {name!r}; there are auto, {', '.join(BACKENDS)}")
    module, attribute = BACKENDS[chosen].split(":")
    return getattr(import_module(module), attribute)()
