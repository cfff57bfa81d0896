"""What a job did, added up as its groups come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tailwag.errors import TailwagError

from ..failures import Failure
from ..ledger import ShardRecord


@dataclass
class EmbeddingReport:
    """What a run did. samples = rows + failures; seconds of decoding and of the model are summed over threads.

    Attributes
    ----------
    shards, samples, rows, reasons
        Of the shards that this run embedded; the reasons count its failures. Of a shard that was read again, only what
        was new counts among samples and rows.
    undone
        Shards of an interrupted run whose last commit did not happen.
    left
        Shards that could not be read or whose worker died, with the reason.
    lost_workers
        Workers that died and were started anew.
    precision
        In which numbers the model computed.
    """

    shards: int = 0
    samples: int = 0
    rows: int = 0
    cut_captions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    undone: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    lost_workers: int = 0
    precision: str = ""
    decode_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def failures(self) -> int:
        """How many samples failed, for any reason."""
        return self.reasons.total()

    @property
    def rate(self) -> float:
        """Samples a second, everything included."""
        return self.samples / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {**vars(self), "reasons": dict(self.reasons), "failures": self.failures, "rate": self.rate}

    def add(self, record: ShardRecord, failures: Sequence[Failure], known: int) -> None:
        """Add what one shard did; `known` of its rows were in the corpus before."""
        self.shards += 1
        self.samples += record.samples - known
        self.rows += record.rows - known
        self.cut_captions += record.cut_captions
        self.precision = record.precision
        self.reasons.update(failure.reason.value for failure in failures)
        self.decode_seconds += record.decode_seconds
        self.compute_seconds += record.compute_seconds


class IncompleteJob(TailwagError):
    """A job that did all it could and had to leave some shards; carries its report."""

    def __init__(self, report: EmbeddingReport) -> None:
        shard, reason = next(iter(report.left.items()))
        more = f" (and {len(report.left) - 1} more shards)" if len(report.left) > 1 else ""
        super().__init__(
            f"shard {shard!r} was left out: {reason}{more}; the other {report.shards:,} are done: mend that and give "
            "the same command again"
        )
        self.report = report
