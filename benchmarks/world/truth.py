"""Reading what a world says of itself: the plan it was drawn by, and how many images truly show each concept.

Not here: writing it (`shards.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tailwag.errors import NotFound

from .shards import TRUTH_FILE, WorldPlan


def read_plan(folder: Path) -> WorldPlan:
    """Read the plan that a world was drawn by.

    Raises
    ------
    NotFound
        When the folder holds no finished world.
    """
    import pyarrow.parquet as pq

    path = _truth_path(folder)
    return WorldPlan(**json.loads(pq.read_schema(path).metadata[b"tailwag.world"]))


def true_counts(folder: Path) -> Counter[str]:
    """Count the images that truly show each concept; a concept that is nowhere counts 0.

    Raises
    ------
    NotFound
        When the folder holds no finished world.
    """
    import pyarrow.parquet as pq

    column = pq.read_table(_truth_path(folder), columns=["concepts"]).column("concepts")
    return Counter(column.combine_chunks().flatten().to_pylist())


def _truth_path(folder: Path) -> Path:
    path = folder / TRUTH_FILE
    if not path.is_file():
        raise NotFound(
            f"{folder} holds no finished world: there is no {TRUTH_FILE}; make one with `tailwag world make`"
        )
    return path
