"""Accuracies and frequencies made on the spot."""

from __future__ import annotations

import math

import pandas as pd

from tailwag.analysis.inputs.points import ACCURACY_COLUMNS, FREQUENCY_COLUMNS, Accuracies, Frequencies


def accuracies(*rows: tuple, **shared) -> Accuracies:
    """Of (concept, value) pairs; what is shared by all goes as keywords."""
    own = {"model": "m", "pretraining": "p", "task": "t", "metric": "accuracy", "n": math.nan, **shared}
    made = [{**own, "concept": concept, "value": float(value)} for concept, value in rows]
    return Accuracies(pd.DataFrame(made, columns=list(ACCURACY_COLUMNS)))


def frequencies(*rows: tuple, **shared) -> Frequencies:
    """Of (concept, count) pairs; what is shared by all goes as keywords."""
    own = {"pretraining": "p", "side": "image", "task": "t", "rows": 1000.0, "grade": "", **shared}
    own = {"estimate": math.nan, "lower": math.nan, "upper": math.nan, **own}
    made = [{**own, "concept": concept, "count": float(count)} for concept, count in rows]
    return Frequencies(pd.DataFrame(made, columns=list(FREQUENCY_COLUMNS)))


def both(*parts):
    """Put tables of one kind together."""
    return type(parts[0])(pd.concat([part.table for part in parts], ignore_index=True))
