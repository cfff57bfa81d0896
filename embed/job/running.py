"""Running a plan: an engine embeds groups of shards, one committer writes what comes back.

`run_embedding` is the job in this process with a model at hand; `run_job` takes any engine. Not here: what is to be
done (`planning.py`), what a worker does (`group_work.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from tailwag.errors import TailwagError
from tailwag.progress import NoProgress, Progress

from ..committing import Committer, only_job, open_or_create
from ..encoder import Encoder
from ..failures import Failure
from ..ledger import JobRecord, Ledger, ShardRecord
from ..reading import ShardReader
from ..sources import Shard
from ..space import Space
from .group_work import GroupWorker
from .groups import TARGET_SECONDS, GroupDone, GroupSource
from .planning import EmbeddingPlan, is_as_planned, is_done
from .report import EmbeddingReport, IncompleteJob

OnShard = Callable[[ShardRecord, Sequence[Failure]], None]


class Engine(Protocol):
    """Where a job's work is done. Entered, its models are loaded; left, its workers are gone.

    Attributes
    ----------
    name, device
        What is written down of where a job ran.
    workers
        How many groups are worked on at the same time.
    space
        Of the model; known once the engine is entered.
    lost_workers
        How many died so far.
    """

    name: str
    device: str
    workers: int
    space: Space
    lost_workers: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def embed(self, groups: GroupSource, table_uri: str, progress: Progress) -> Iterator[GroupDone]:
        """Take groups until none is left, and give what came of each; a lost one is given back to `groups`."""
        ...


class ThisProcess:
    """The engine without processes: one worker, here, with a model that is loaded already.

    Parameters
    ----------
    encoder
        The model.
    reader
        Reads the shards.
    threads
        That take batches through decoding and the model.
    batch_size
        Pictures a forward pass.
    """

    name = "inline"
    workers = 1
    lost_workers = 0

    def __init__(self, encoder: Encoder, reader: ShardReader, threads: int, batch_size: int) -> None:
        self.space = encoder.space
        self.device = str(encoder.device)
        self._encoder = encoder
        self._reader = reader
        self._threads = threads
        self._batch_size = batch_size
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._encoder.shared_by_threads())
        pool = self._open.enter_context(ThreadPoolExecutor(self._threads))
        self._worker = GroupWorker(self._encoder, self._reader, pool, self._threads, self._batch_size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def embed(self, groups: GroupSource, table_uri: str, progress: Progress) -> Iterator[GroupDone]:
        """Embed group after group."""
        while (group := groups.next()) is not None:
            yield self._worker.embed(group, table_uri, progress)


def run_embedding(
    plan: EmbeddingPlan,
    encoder: Encoder,
    *,
    batch_size: int = 32,
    workers: int = 2,
    progress: Progress | None = None,
    on_shard: OnShard | None = None,
    group_seconds: float = TARGET_SECONDS,
) -> EmbeddingReport:
    """Embed the shards of a plan in this process.

    Parameters
    ----------
    plan
        From `plan_embedding`.
    encoder
        The model; its space must be the corpus's.
    batch_size
        Pictures a forward pass.
    workers
        Threads, each of which takes batches through decoding and the model.
    progress, on_shard, group_seconds
        As for `run_job`.

    Raises
    ------
    SpaceMismatch, IncompleteJob, TailwagError
        As for `run_job`.
    """
    engine = ThisProcess(encoder, plan.reader, workers, batch_size)
    return run_job(plan, engine, progress=progress, on_shard=on_shard, group_seconds=group_seconds)


def run_job(
    plan: EmbeddingPlan,
    engine: Engine,
    *,
    progress: Progress | None = None,
    on_shard: OnShard | None = None,
    on_ready: Callable[[], None] | None = None,
    group_seconds: float = TARGET_SECONDS,
) -> EmbeddingReport:
    """Embed the shards of a plan on an engine.

    Parameters
    ----------
    plan
        From `plan_embedding`.
    engine
        Not yet entered.
    progress
        Told of every sample that is done; None shows nothing.
    on_shard
        Called with each shard's record and failures once they are committed; None for nobody.
    on_ready
        Called once the models are loaded and fit the corpus.
    group_seconds
        How much work is committed in one go, and lost with a worker at most.

    Raises
    ------
    SpaceMismatch
        When the corpus holds vectors of another space; nothing is written then.
    IncompleteJob
        When all is done but some shards, which could not be read or killed their worker twice.
    TailwagError
        When another job writes to the corpus, or nothing can be written.
    """
    start, started = time.perf_counter(), datetime.now(UTC)
    with only_job(plan.database, plan.corpus) as lock, engine:
        committer = Committer(open_or_create(plan.database, plan.corpus, engine.space), lock)
        report = EmbeddingReport(undone=committer.settle())
        if on_ready is not None:
            on_ready()
        # Another job may have done some since the plan was made.
        records = Ledger(plan.database, plan.corpus).records()
        shards = [shard for shard in plan.shards if _is_to_do(plan, shard, records.get(shard.name))]
        groups = GroupSource(shards, engine.workers, plan.limit, group_seconds)
        table_uri = plan.database.table_uri(plan.corpus)
        known = {shard.name: len(shard.skip) for shard in shards}
        try:
            for outcome in engine.embed(groups, table_uri, progress or NoProgress()):
                committer.commit(
                    outcome.fragments,
                    [record for record, _ in outcome.shards],
                    [failure for _, failures in outcome.shards for failure in failures],
                )
                groups.done(outcome)
                for record, failures in outcome.shards:
                    report.add(record, failures, known[record.shard])
                    if on_shard is not None:
                        on_shard(record, failures)
        finally:
            report.left, report.lost_workers = groups.left, engine.lost_workers
            report.write_seconds = committer.seconds
            report.seconds = time.perf_counter() - start
            # What ended the job is what is told, even where these fail for the same reason.
            with suppress(OSError, ValueError, TailwagError):
                _write_down(plan, engine, report, started)
            committer.tidy()
    if report.left:
        raise IncompleteJob(report)
    return report


def _is_to_do(plan: EmbeddingPlan, shard: Shard, record: ShardRecord | None) -> bool:
    return is_as_planned(shard, record) if shard.name in plan.again else not is_done(shard, record)


def _write_down(plan: EmbeddingPlan, engine: Engine, report: EmbeddingReport, started: datetime) -> None:
    if not report.shards:
        return
    job = JobRecord(
        started=started,
        seconds=report.seconds,
        engine=engine.name,
        workers=engine.workers,
        device=engine.device,
        shards=report.shards,
        samples=report.samples,
        rows=report.rows,
        failures=report.failures,
    )
    Ledger(plan.database, plan.corpus).add_job(job)
