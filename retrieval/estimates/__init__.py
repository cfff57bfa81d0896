"""How many rows look like a concept, going by a sample of them: estimates with an interval, and small files to ask.

The mathematics (`intervals.py`, `sequences.py`, on `distributions.py` and `boundaries.py`), a sample that grows
(`growing.py`, `looks.py`), a sample to carry about (`sketch.py`, `sketch_file.py`). Imports no torch.
"""

from __future__ import annotations

from .growing import GrowingSample
from .intervals import clopper_pearson, hypergeometric_interval, point_estimate
from .looks import Within, estimate, estimates, plan_looks
from .result import Estimate, EstimateResult
from .sequences import scheduled_interval, sequence_interval
from .sketch import Sketch
from .sketch_file import load_sketch, save_sketch
from .tables import estimate_cells, estimate_headline, estimates_as_dict, look_line, narrow_line

__all__ = [
    "Estimate",
    "EstimateResult",
    "GrowingSample",
    "Sketch",
    "Within",
    "clopper_pearson",
    "estimate",
    "estimate_cells",
    "estimate_headline",
    "estimates",
    "estimates_as_dict",
    "hypergeometric_interval",
    "load_sketch",
    "look_line",
    "narrow_line",
    "plan_looks",
    "point_estimate",
    "save_sketch",
    "scheduled_interval",
    "sequence_interval",
]
