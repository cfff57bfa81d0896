"""Accuracies of single concepts as the tidy table that `analysis/inputs` reads.

Not here: how they are measured (`zero_shot.py`, `caption_retrieval.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..analysis.inputs.points import ACCURACY_COLUMNS
from .zero_shot import ConceptAccuracy


@dataclass(frozen=True)
class EvaluationTable:
    """What one model did on one test set.

    Attributes
    ----------
    model, pretraining, task, metric
        What stands in each row; `pretraining` may be empty.
    accuracies
        Of single concepts.
    """

    model: str
    pretraining: str
    task: str
    metric: str
    accuracies: tuple[ConceptAccuracy, ...]

    def __len__(self) -> int:
        return len(self.accuracies)

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table` with the columns of `ACCURACY_COLUMNS`; value is a fraction, n the samples."""
        import pyarrow as pa

        rows = [
            (self.model, self.pretraining, self.task, one.concept, self.metric, one.value, one.samples)
            for one in self.accuracies
        ]
        columns = list(zip(*rows, strict=True)) or [[] for _ in ACCURACY_COLUMNS]
        kinds = dict.fromkeys(ACCURACY_COLUMNS, pa.string()) | {"value": pa.float64(), "n": pa.int64()}
        return pa.table(
            {name: pa.array(column, kinds[name]) for name, column in zip(ACCURACY_COLUMNS, columns, strict=True)}
        )
