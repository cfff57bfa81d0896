"""Who is told how a job goes: the bar on the terminal, the log, the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from tailwag.progress import Progress

from ..failures import Failure
from ..ledger import ShardRecord
from .metrics import Metrics
from .shard_log import ShardLog


class Watchers:
    """Passes the news on, and counts the shards that are committed."""

    def __init__(self, bar: Progress, log: ShardLog | None, metrics: Metrics | None) -> None:
        self.shards = 0
        self._bar = bar
        self._log = log
        self._metrics = metrics

    def advance(self, amount: int = 1) -> None:
        """Tell of samples that a worker has seen."""
        self._bar.advance(amount)
        if self._metrics is not None:
            self._metrics.advance(amount)

    def shard(self, record: ShardRecord, failures: Sequence[Failure]) -> None:
        """Tell of a shard that is committed."""
        self.shards += 1
        for watcher in (self._log, self._metrics):
            if watcher is not None:
                watcher.shard(record, failures)
