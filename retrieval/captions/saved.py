"""Caption and joint counts as rows of the table `frequencies`, beside those of images.

Not here: the table (`records/saved_counts.py`), the counts (`joint.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..records.runs import Run
from ..records.saved_counts import frequency_rows, frequency_schema
from .joint import JointCounts


def caption_rows(joint: JointCounts, run: Run) -> Any:
    """Give the counts of captions and of pairs as a `pyarrow.Table` with the columns of `frequencies`.

    Returns
    -------
    pyarrow.Table
        One row of side ``joint`` a concept and threshold, as its row of side ``image`` but for the count; one of side
        ``caption`` a concept, whose threshold is nan: words know none. The recipe says by which words.
    """
    import pyarrow as pa

    images = frequency_rows(joint.images, run)
    concepts, columns = joint.image_counts.shape
    rule = joint.rule or "given mentions"
    recipes = [f"{recipe}; named by {rule}" for recipe in images["recipe"].to_pylist()]
    joined = _replaced(images, side="joint", recipe=recipes, count=joint.joint_counts.reshape(-1))
    first = images.take(pa.array(np.arange(concepts) * columns))
    named = _replaced(
        first,
        side="caption",
        recipe=[f"named by {rule}"] * concepts,
        threshold=np.full(concepts, np.nan),
        threshold_source="",
        count=joint.caption_counts,
    )
    return pa.concat_tables([joined, named])


def _replaced(table: Any, **columns: Any) -> Any:
    import pyarrow as pa

    values = {name: table[name] for name in table.column_names}
    for name, column in columns.items():
        values[name] = [column] * len(table) if isinstance(column, str) else column
    return pa.table(values, schema=frequency_schema())
