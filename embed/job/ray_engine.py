"""The engine of a Ray cluster: an actor a GPU (or a node's cores), each with its own model.

Ray places the actors and says when one has died; a new one then waits for a place, and the dead one's shards are tried
once more. Sources and database must be reachable under the same names from every node. Needs the extra `ray`. Not
here: what a worker does (`group_work.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, cast

from tailwag.errors import TailwagError
from tailwag.progress import NoProgress, Progress

from ..ray_cluster import join_cluster, nodes_of
from ..space import Space
from .group_work import GroupWorker
from .groups import Group, GroupDone, GroupSource
from .worker_settings import WorkerSettings

# The one at work, and the next.
_GROUPS_A_WORKER = 2
# A worker: nodes may go while models load, but a model that does not fit into memory never will.
_MOST_FAILED_STARTS = 3


class _Actor:
    """What lives in a worker process of the cluster. Loading is not part of its making: Ray would hide the error."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._worker: GroupWorker | None = None

    def load(self, settings: WorkerSettings) -> Space:
        encoder = settings.load()
        self._worker = self._open.enter_context(settings.worker(encoder))
        return encoder.space

    def embed(self, group: Group, table_uri: str) -> GroupDone:
        assert self._worker is not None, "load comes first"
        return self._worker.embed(group, table_uri, NoProgress())


@dataclass
class _Worker:
    """An actor, what tells that it is ready, and the groups it has been given with what they will come back as."""

    actor: Any
    ready: Any
    is_ready: bool = False
    groups: deque[tuple[Group, Any]] = field(default_factory=deque)


class RayEngine:
    """Workers on a Ray cluster.

    Parameters
    ----------
    settings
        For every worker. Without `threads` a worker has as many as the smallest node has cores.
    address
        Of the cluster's head; None for the cluster that this machine belongs to.

    Raises
    ------
    BadInput
        When Ray is not installed, or there is no such cluster.
    """

    name = "ray"

    def __init__(self, settings: WorkerSettings, address: str | None = None) -> None:
        ray = join_cluster(address)
        self._ray = ray
        self._make: Any = ray.remote(max_restarts=0)(_Actor).options
        self._running: list[_Worker] = []
        self._failed_starts = 0
        self.lost_workers = 0
        gpus, cores = nodes_of(ray)
        if gpus and settings.device in (None, "cuda"):
            self.device, self.workers = "cuda", gpus
            self._settings = replace(settings, device="cuda")
            self._needs = {"num_gpus": 1}
        else:
            threads = settings.threads or min(cores, default=1)
            self.device, self.workers = "cpu", max(1, sum(count // threads for count in cores))
            self._settings = replace(settings, device="cpu", threads=threads)
            self._needs = {"num_cpus": threads}

    def __enter__(self) -> Self:
        """Start the workers and wait for the first to have loaded its model.

        Raises
        ------
        TailwagError
            When the model cannot be loaded, as in `Encoder.load`.
        """
        self._running = [self._start() for _ in range(self.workers)]
        ready, _ = self._ray.wait([worker.ready for worker in self._running], num_returns=1)
        try:
            self.space: Space = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            self._stop()
            raise _cause(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def embed(self, groups: GroupSource, table_uri: str, progress: Progress) -> Iterator[GroupDone]:
        """Keep every worker that is ready supplied, and give what comes back in the order it comes.

        Raises
        ------
        TailwagError
            What a worker could not go on from: rows that cannot be written.
        """
        while True:
            for most in range(1, _GROUPS_A_WORKER + 1):
                for worker in self._running:
                    if worker.is_ready and len(worker.groups) < most and (group := groups.next()) is not None:
                        worker.groups.append((group, worker.actor.embed.remote(group, table_uri)))
            waiting = [worker for worker in self._running if worker.groups]
            starting = [worker for worker in self._running if not worker.is_ready]
            if not waiting and (not starting or groups.is_empty):
                return
            # Of several answers Ray gives the first named: who has nothing to do comes first, then who waited longest.
            asked = {worker.ready: worker for worker in starting} | {worker.groups[0][1]: worker for worker in waiting}
            answered, _ = self._ray.wait(list(asked), num_returns=1)
            outcome = self._hear(asked[answered[0]], groups, answered[0])
            if outcome is not None:
                progress.advance(sum(record.samples for record, _ in outcome.shards))
                yield outcome

    def _hear(self, worker: _Worker, groups: GroupSource, answer: Any) -> GroupDone | None:
        try:
            news = self._ray.get(answer)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
            # A worker's node may go after it has answered, and with it the answer.
            self._replace(worker, groups, _first_line(error))
            return None
        except self._ray.exceptions.RayError as error:
            raise _cause(error) from None
        if not worker.is_ready:
            worker.is_ready = True
            return None
        worker.groups.popleft()
        self._running.remove(worker)
        self._running.append(worker)
        return cast("GroupDone", news)

    def _replace(self, worker: _Worker, groups: GroupSource, ending: str) -> None:
        self.lost_workers += 1
        self._failed_starts += not worker.is_ready
        if self._failed_starts > _MOST_FAILED_STARTS * self.workers:
            raise TailwagError(
                f"workers die before they have loaded their model ({ending}): see if the memory holds it"
            )
        self._ray.kill(worker.actor)  # nothing where it is dead; else it would keep the new one's place
        self._running[self._running.index(worker)] = self._start()
        for number, (group, _) in enumerate(worker.groups):
            if number == 0:
                groups.lost(group, f"the worker that read it has died ({ending})")
            else:
                groups.give_back(group)

    def _start(self) -> _Worker:
        actor = self._make(**self._needs).remote()
        return _Worker(actor, actor.load.remote(self._settings))

    def _stop(self) -> None:
        for worker in self._running:
            self._ray.kill(worker.actor)
        self._running = []


def _first_line(error: BaseException) -> str:
    """Give the first line of what Ray says, which may be a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _cause(error: Any) -> BaseException:
    """Give the error that a worker raised, out of Ray's wrapping."""
    found = getattr(error, "cause", None)
    return found if isinstance(found, BaseException) else TailwagError(f"a worker failed: {_first_line(error)}")
