"""Counting rows by similarity, exactly: `count(corpus, CountQuery(prototypes, thresholds))`.

The seam between what is asked (`query.py`), the pass over the table (`engine.py`) and what does the sums (`backends.py`
and the backends it names). Imports no torch.
"""

from __future__ import annotations

from .backends import BACKENDS, Backend, TileCounter, choose_backend
from .engine import count
from .query import CountQuery, check_thresholds
from .reference import similarities
from .result import Count, CountResult

__all__ = [
    "BACKENDS",
    "Backend",
    "Count",
    "CountQuery",
    "CountResult",
    "TileCounter",
    "check_thresholds",
    "choose_backend",
    "count",
    "similarities",
]
