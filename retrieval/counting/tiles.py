"""What is asked of each tile of rows, and what comes back: the language between the pass and the backends.

Not here: the backends, and adding their answers up (`engine.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Asked:
    """What a backend is to find out of every tile.

    Attributes
    ----------
    thresholds
        (C, T) float64 in [-1, 1], in any order; T may be 0.
    histogram
        Similarity histograms, by the bins of `bins.py`.
    best
        How many of each row's best prototypes; 0 for none, at most C.
    pairs
        The pairs of a row and a prototype that reach a floor given with each tile.
    within
        Of the pairs, only those whose similarity lies no further than this below their row's highest; None for all.
    """

    thresholds: np.ndarray
    histogram: bool = False
    best: int = 0
    pairs: bool = False
    within: float | None = None


@dataclass(frozen=True, eq=False)
class Best:
    """Each row's best prototypes.

    Attributes
    ----------
    concepts
        (n, m) int32 positions; highest similarity first, equal ones by position.
    similarities
        (n, m) float64, exact.
    """

    concepts: np.ndarray
    similarities: np.ndarray


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a row and a prototype, ordered by row, then prototype.

    Attributes
    ----------
    rows
        (p,) int64 positions in the tile.
    concepts
        (p,) int32 positions.
    similarities
        (p,) float64, exact.
    """

    rows: np.ndarray
    concepts: np.ndarray
    similarities: np.ndarray


@dataclass(frozen=True, eq=False)
class TileAnswer:
    """What a backend found out of one tile.

    Attributes
    ----------
    refused
        (r,) int64 positions of rows that are not finite or not of unit length, ascending. When there are any, nothing
        else of the answer means anything.
    counts
        (C, T) int64, equal to counting in real arithmetic.
    histogram
        (C, BINS) int64, equal to binning in real arithmetic; None unless asked for, and where the counter keeps it (see
        `KeepingCounter` in `backends.py`).
    best, pairs
        None unless asked for.
    """

    refused: np.ndarray
    counts: np.ndarray
    histogram: np.ndarray | None = None
    best: Best | None = None
    pairs: Pairs | None = None
