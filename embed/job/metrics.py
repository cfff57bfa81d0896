"""A Prometheus endpoint that a running job answers on: what is done, what failed, how long commits take.

Needs the extra `metrics`. Not here: the log (`shard_log.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tailwag.errors import BadInput, TailwagError

from ..failures import Failure
from ..ledger import ShardRecord
from .planning import EmbeddingPlan


class Metrics:
    """Counters of one job, served over HTTP on this machine only unless told otherwise.

    Parameters
    ----------
    plan
        What is to be done.
    port
        To listen on; 0 takes a free one, see `port`.
    address
        To listen at.

    Raises
    ------
    BadInput
        When the extra is not installed.
    TailwagError
        When the port cannot be had.
    """

    def __init__(self, plan: EmbeddingPlan, port: int, address: str = "127.0.0.1") -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
        except ImportError as error:
            raise BadInput("--metrics-port needs prometheus_client: pip install 'tailwag[metrics]'") from error
        registry = CollectorRegistry()
        labels = ["corpus"]
        self._corpus = plan.corpus
        self._seen = Counter("tailwag_embed_progress", "Samples seen by workers", labels, registry=registry)
        self._samples = Counter("tailwag_embed_samples", "Samples committed", labels, registry=registry)
        self._rows = Counter("tailwag_embed_rows", "Rows committed", labels, registry=registry)
        self._failures = Counter("tailwag_embed_failures", "Failures", [*labels, "reason"], registry=registry)
        self._shards = Counter("tailwag_embed_shards", "Shards committed", labels, registry=registry)
        to_do = Gauge("tailwag_embed_shards_planned", "Shards that this job is to embed", labels, registry=registry)
        to_do.labels(plan.corpus).set(len(plan.shards))
        self._last = Gauge(
            "tailwag_embed_last_commit_seconds", "When a shard was last committed", labels, registry=registry
        )
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise TailwagError(f"port {port} at {address} cannot be had ({error.strerror}): pass another") from error
        self.port = self._server.server_port

    def advance(self, amount: int = 1) -> None:
        """Count samples that a worker has seen; they are committed later."""
        self._seen.labels(self._corpus).inc(amount)

    def shard(self, record: ShardRecord, failures: Sequence[Failure]) -> None:
        """Count a shard that is committed."""
        self._samples.labels(self._corpus).inc(record.samples)
        self._rows.labels(self._corpus).inc(record.rows)
        self._shards.labels(self._corpus).inc()
        self._last.labels(self._corpus).set(record.finished.timestamp())
        for failure in failures:
            self._failures.labels(self._corpus, failure.reason.value).inc()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
