"""Grades of estimates as the library gives them, for a whole corpus of histograms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tailwag.analysis.calibration.anchored import AnchoredFrequency
from tailwag.analysis.calibration.calibrating import _grade


def grades_of(found: Sequence[AnchoredFrequency], rows: np.ndarray) -> tuple[str, ...]:
    """Grade (C,) frequencies of captions."""
    return tuple(_grade(one, int(total), None)[0] for one, total in zip(found, rows.sum(axis=1), strict=True))
