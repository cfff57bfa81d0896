"""Similarities of concepts' test images to a pretraining set, laid beside the points they belong to.

Not here: what they change about a correlation (`fits/partial.py`), how they are measured.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput

from ..inputs.known_names import KnownNames
from ..inputs.points import Exclusion, Points
from ..inputs.raw_tables import number, read_raw_table, text

NO_POINT = "a similarity of no point"


def read_similarities(path: str | Path, points: Points) -> tuple[np.ndarray, tuple[Exclusion, ...]]:
    """Read a table with the columns concept and similarity, and task where it matters, for some points.

    Parameters
    ----------
    path
        CSV or parquet. A row without a task holds for every test set.
    points
        Joined by name.

    Returns
    -------
    tuple
        (n,) float64 in the points' order, nan where none is known, and the names that met no point.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When a column is missing, a cell is no number, or a concept has two similarities.
    """
    raw = read_raw_table(path)
    raw.require(["concept", "similarity"], "a table of similarities")
    exclusions = list(raw.unread(("task", "concept", "similarity")))
    names = KnownNames.load()
    found: dict[tuple[str, str], float] = {}
    spelt: dict[tuple[str, str], str] = {}
    for row, cells in raw.records(("task", "concept", "similarity")):
        task, concept = text(cells[0]), text(cells[1])
        key = (task, names.canonical(task, concept))
        value = number(cells[2], f"{raw.path}, row {row} (concept {concept!r})")
        if found.get(key, value) != value:
            raise BadInput(f"{raw.path}, row {row}: {concept!r} has another similarity before: leave one of them")
        found[key], spelt[key] = value, concept
    table: Any = points.table
    keys = list(zip(table["task"], table["concept"], strict=True))
    given = np.array([found.get(key, found.get(("", key[1]), math.nan)) for key in keys], dtype=np.float64)
    met = {*keys, *(("", concept) for _, concept in keys)}
    exclusions += [Exclusion(str(raw.path), spelt[key], NO_POINT, key[0]) for key in found if key not in met]
    return given, tuple(exclusions)
