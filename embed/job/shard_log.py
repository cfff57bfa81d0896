"""A log of a job for machines: one JSON line a shard, and one when the job ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput

from ..failures import Failure
from ..ledger import ShardRecord
from .report import EmbeddingReport


class ShardLog:
    """Appends to a file; every line is written out at once, so that a killed job has logged what it did.

    Parameters
    ----------
    path
        The file; made where it is not there.
    corpus
        Named in every line.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """

    def __init__(self, path: Path, corpus: str) -> None:
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise BadInput(f"{path} cannot be written ({error.strerror}): pass another --log") from error
        self._corpus = corpus

    def shard(self, record: ShardRecord, failures: Sequence[Failure]) -> None:
        """Log a shard that is committed."""
        reasons = Counter(failure.reason.value for failure in failures)
        told: dict[str, Any] = {"event": "shard", **asdict(record), "reasons": dict(reasons)}
        told["finished"] = record.finished.isoformat()
        self._write(told)

    def end(self, report: EmbeddingReport) -> None:
        """Log that the job is done."""
        self._write({"event": "end", **report.as_dict()})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, told: dict[str, Any]) -> None:
        line = {"time": datetime.now(UTC).isoformat(), "corpus": self._corpus, **told}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
