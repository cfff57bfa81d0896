"""Caption and joint counts as rows of the table `frequencies`, beside those of images.

Not here: the table (`records/saved_counts.py`), the counts (`joint.py`, `counting.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...embed.corpus import Corpus
from ..records.runs import Run
from ..records.saved_counts import FREQUENCIES, frequency_rows, frequency_schema
from ..records.tables import append_rows
from .joint import JointCounts
from .matching import Rule
from .result import CaptionCounts


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


def save_caption_counts(corpus: Corpus, counts: CaptionCounts, rule: Rule) -> Run:
    """Save the counts of captions alone, by one rule, as rows of `frequencies` of side ``caption``.

    They are as the caption rows of `caption_rows`. No certificate vouches for them: to check them, count again.

    Returns
    -------
    Run
        Under whose name they are saved.

    Raises
    ------
    TailwagError
        When the table cannot be written.
    """
    import pyarrow as pa

    run, size = Run.begin(), len(counts)
    columns: dict[str, Any] = {
        "corpus": [counts.corpus] * size,
        "corpus_version": [counts.corpus_version] * size,
        "concept": list(counts.concepts),
        "side": ["caption"] * size,
        "recipe": [f"named by {rule}"] * size,
        "threshold": [float("nan")] * size,
        "threshold_source": [""] * size,
        "control": [counts.control] * size,
        "count": counts.phrase if rule == "phrase" else counts.words,
        "rows": [counts.rows] * size,
        **{name: [None] * size for name in ("estimate", "lower", "upper", "method", "grade")},
        "run": [run.name] * size,
        "created": [run.created] * size,
    }
    append_rows(corpus.database, FREQUENCIES, pa.table(columns, schema=frequency_schema()), corpus.space)
    return run


def _replaced(table: Any, **columns: Any) -> Any:
    import pyarrow as pa

    values = {name: table[name] for name in table.column_names}
    for name, column in columns.items():
        values[name] = [column] * len(table) if isinstance(column, str) else column
    return pa.table(values, schema=frequency_schema())
