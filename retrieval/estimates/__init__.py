"""How many rows look like a concept, going by a sample of them: estimates with an interval, and small files to ask.

The mathematics (`intervals.py`, `sequences.py`, on `distributions.py` and `boundaries.py`). Imports no torch.
"""

from __future__ import annotations

from .intervals import clopper_pearson, hypergeometric_interval, point_estimate
from .sequences import scheduled_interval, sequence_interval

__all__ = [
    "clopper_pearson",
    "hypergeometric_interval",
    "point_estimate",
    "scheduled_interval",
    "sequence_interval",
]
