"""Counting rows by similarity, exactly: `count(corpus, CountQuery(prototypes, thresholds))`.

The seam between what is asked (`query.py`), the pass over the table (`engine.py`) and what does the sums (`backends.py`
and the backends it names). Imports no torch.
"""

from __future__ import annotations

from .backends import BACKENDS, Backend, TileCounter, choose_backend
from .controls import Control, chosen_rows, sample, where
from .engine import count
from .overlap import Overlap
from .query import CountQuery, Mentions, check_thresholds
from .reference import similarities
from .result import Count, CountResult, Partial
from .tally import RowBest, TopRows
from .tiles import Asked, Best, Pairs, TileAnswer

__all__ = [
    "BACKENDS",
    "Asked",
    "Backend",
    "Best",
    "Control",
    "Count",
    "CountQuery",
    "CountResult",
    "Mentions",
    "Overlap",
    "Pairs",
    "Partial",
    "RowBest",
    "TileAnswer",
    "TileCounter",
    "TopRows",
    "check_thresholds",
    "choose_backend",
    "chosen_rows",
    "count",
    "sample",
    "similarities",
    "where",
]
