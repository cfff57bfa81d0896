"""What a closed world comes to: a frequency a class with its interval and grade, and everything it holds for.

Not here: how they are found (`closed_world_counting.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...embed.space import Space
from ...retrieval.records.saved_frequencies import format_rows
from .closed_world import Method
from .grades import Grade

# Intervals wider than these factors; labelled rows of a class.
_FRAGILE_WIDTH, _UNSUPPORTED_WIDTH, _FEWEST_LABELLED = 4.0, 16.0, 5


@dataclass(frozen=True)
class ClosedWorldFrequency:
    """How many rows show one class, if every row shows one class of the vocabulary.

    Attributes
    ----------
    concept, recipe
        The class, and how its prototype was made.
    estimate, lower, upper
        Rows that show it, with the 95 % interval; nan without labels.
    wins
        Rows that are most similar to it.
    labels
        Labelled rows of it that were used.
    grade, reasons
        How far it may be trusted, and why no further.
    """

    concept: str
    recipe: str
    estimate: float
    lower: float
    upper: float
    wins: float
    labels: int
    grade: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ClosedWorldFrequencies:
    """The frequencies of C classes, which sum to the rows of the corpus.

    Attributes
    ----------
    corpus, corpus_version, space, rows
        What was counted.
    method
        What was done; the winner where another method had no labels.
    labels
        Where the labels are from; empty where there are none.
    sampled
        Rows that shares were estimated on; fewer than all where a sample stands for them.
    low
        Share of the rows whose best similarity is lower than that of 99 in 100 labelled rows; nan without labels.
    warnings
        What speaks against a closed world, and what else to know.
    frequencies
        C of them.
    """

    corpus: str
    corpus_version: int
    space: Space
    rows: int
    method: Method
    labels: str
    sampled: int
    low: float
    warnings: tuple[str, ...]
    frequencies: tuple[ClosedWorldFrequency, ...]

    def __len__(self) -> int:
        return len(self.frequencies)

    def __iter__(self) -> Iterator[ClosedWorldFrequency]:
        return iter(self.frequencies)

    def to_arrow(self) -> Any:
        """Give one row a class, as a `pyarrow.Table`, with the space in the schema's metadata."""
        import pyarrow as pa

        names = ("concept", "recipe", "estimate", "lower", "upper", "wins", "labels", "grade")
        size = len(self)
        table = pa.table(
            {
                "corpus": pa.array([self.corpus] * size, pa.string()),
                "corpus_version": pa.array(np.full(size, self.corpus_version, np.int64)),
                **{name: [getattr(one, name) for one in self] for name in names},
                "reasons": ["; ".join(one.reasons) for one in self],
                "method": pa.array([self.method] * size, pa.string()),
                "rows": pa.array(np.full(size, self.rows, np.int64)),
            }
        )
        return table.replace_schema_metadata({"tailwag:space": self.space.to_json()})


def grade_class(lower: float, upper: float, labels: int, is_open: bool, some_low: bool) -> Grade:
    """Say how far a frequency of a closed world may be trusted.

    Parameters
    ----------
    lower, upper
        Of its interval; nan without labels.
    labels
        Labelled rows of the class.
    is_open, some_low
        Whether the world is plainly open, and whether some rows look as if they showed none of the classes.
    """
    if is_open:
        return Grade("unsupported", ("the world is open",))
    if not labels:
        return Grade("fragile", ("no labels",))
    width = (upper + 0.5) / (lower + 0.5)
    if width > _UNSUPPORTED_WIDTH:
        return Grade("unsupported", (f"from {format_rows(lower)} to {format_rows(upper)}",))
    reasons = []
    if width > _FRAGILE_WIDTH:
        reasons.append(f"from {format_rows(lower)} to {format_rows(upper)}")
    if labels < _FEWEST_LABELLED:
        reasons.append(f"{labels} labelled rows of it")
    if some_low:
        reasons.append("many rows may show none of the classes")
    return Grade("fragile" if reasons else "sound", tuple(reasons))
