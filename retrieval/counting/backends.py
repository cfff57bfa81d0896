"""What a counting backend must do, and choosing one by name.

Not here: the backends themselves (`reference.py`, `cpu.py`), the pass that feeds them (`engine.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Protocol

import numpy as np

from tailwag.errors import BadInput

from .tiles import Asked, TileAnswer

# Imported when chosen: a backend may need what the others do not.
BACKENDS = {
    "cuda": "tailwag.retrieval.counting.cuda:CudaBackend",
    "cuda-torch": "tailwag.retrieval.counting.cuda:CudaTorchBackend",
    "c": "tailwag.retrieval.counting.compiled:CompiledBackend",
    "numba": "tailwag.retrieval.counting.numba_form:NumbaBackend",
    "reference": "tailwag.retrieval.counting.reference:ReferenceBackend",
}
# These names take the first of a list that runs here.
_PREFERENCE = {"auto": ("cuda", "c", "numba", "reference"), "cpu": ("c", "numba", "reference")}


class TileCounter(Protocol):
    """Answers for tiles of rows; made by a backend for one query. Its counts do not depend on the order of tiles."""

    def count_tile(self, rows: np.ndarray, floors: np.ndarray | None = None) -> TileAnswer:
        """Answer what was asked, for one tile.

        Parameters
        ----------
        rows
            (n, d) float16, any values at all: rows that are not finite or not of unit length (`is_unit`) are to be
            found. n may be 0; the array may be read-only, and is not kept.
        floors
            (C,) float64, the least similarity of a pair for each prototype; +inf for none. Only when pairs are asked
            for.
        """
        ...


class TileStream(TileCounter, Protocol):
    """A counter that works on several tiles at once, such as one whose rows travel to a GPU while it counts others."""

    def count_tiles(self, tiles: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[TileAnswer]:
        """Answer for many tiles: one answer a tile, in order.

        Tiles may be taken some steps ahead of the answers. What a tile adds to the counts and the histogram may stand
        in the answer of any later tile, so that they are whole with the last one; a histogram that is not there adds
        nothing. The rest of an answer is of its own tile.

        Parameters
        ----------
        tiles
            Rows and floors, as `count_tile` takes them.
        """
        ...


class KeepingCounter(TileCounter, Protocol):
    """A counter that keeps its histograms from tile to tile, and leaves None in the answers."""

    def take_histogram(self) -> np.ndarray:
        """Give (C, BINS) int64, the histograms of all tiles since the last time."""
        ...


class Backend(Protocol):
    """A way of counting. All of them give the same answers, to the bit."""

    name: str

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> TileCounter:
        """Make ready for one query.

        Parameters
        ----------
        prototypes
            (C, d) float16, finite, of length at most 1.001.
        asked
            What is to be found out of every tile.
        """
        ...


def prepare_counters(backend: Backend, prototypes: np.ndarray, asked: Asked) -> list[TileCounter]:
    """Make ready all counters that a backend can run at once; one, unless it has a method `prepare_all`."""
    prepare_all = getattr(backend, "prepare_all", None)
    return prepare_all(prototypes, asked) if prepare_all is not None else [backend.prepare(prototypes, asked)]


def choose_backend(name: str = "auto") -> Backend:
    """Give a backend by name; ``auto`` takes the fastest that runs here, ``cpu`` the fastest without a GPU.

    Raises
    ------
    BadInput
        For a name that no backend has, or one that does not run here; says why.
    """
    if name not in BACKENDS and name not in _PREFERENCE:
        raise BadInput(f"there is no counting backend {name!r}; there are {', '.join((*_PREFERENCE, *BACKENDS))}")
    wanted = _PREFERENCE.get(name, (name,))
    for one in wanted:
        reason = why_not(one)
        if reason is None:
            module, attribute = BACKENDS[one].split(":")
            return getattr(import_module(module), attribute)()
    raise BadInput(f"counting backend {name!r} does not run here: {why_not(wanted[-1])}")


def describe_backend(name: str = "auto") -> str:
    """Say which backend a name stands for here and what it runs on: ``'c (AVX2, 2 threads)'``.

    A backend's module may have a function `description` that says the latter.
    """
    backend = choose_backend(name)
    module = import_module(type(backend).__module__)
    return f"{backend.name} ({module.description()})" if hasattr(module, "description") else backend.name


def why_not(name: str) -> str | None:
    """Why does a backend not run here? None when it does.

    A backend's module may have a function `why_not` that says so.
    """
    module = import_module(BACKENDS[name].split(":")[0])
    return module.why_not() if hasattr(module, "why_not") else None
