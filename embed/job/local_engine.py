"""The engine of one machine: a worker process a device, each with its own model.

A worker that dies (a decoder that crashes, memory) is started anew, and its shards are tried once more, one by one.
Not here: what a worker does (`worker_process.py`).
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tailwag.errors import TailwagError
from tailwag.progress import Progress

from ..space import Space
from .groups import Group, GroupDone, GroupSource
from .worker_process import work
from .worker_settings import WorkerSettings

# The one at work, and the next: a worker never waits for the committer.
_GROUPS_A_WORKER = 2
_SECONDS_TO_STOP = 5.0


@dataclass
class _Worker:
    """A process, the pipe to it, and the groups it has been given."""

    process: SpawnProcess
    connection: Connection
    settings: WorkerSettings
    groups: deque[Group] = field(default_factory=deque)

    def ending(self) -> str:
        """Say how its process ended."""
        self.process.join(_SECONDS_TO_STOP)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"ended with status {code}"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


class LocalEngine:
    """Worker processes on this machine.

    Parameters
    ----------
    settings
        For every worker.
    devices
        One worker each.
    """

    name = "local"

    def __init__(self, settings: WorkerSettings, devices: Sequence[str]) -> None:
        self.device = devices[0].partition(":")[0]
        self.workers = len(devices)
        self.lost_workers = 0
        self._settings = [replace(settings, device=device) for device in devices]
        # fork would copy locks that threads hold, and CUDA cannot be used in a forked process.
        self._context = multiprocessing.get_context("spawn")
        self._running: list[_Worker] = []

    def __enter__(self) -> Self:
        """Start the workers and wait until their models are loaded.

        Raises
        ------
        TailwagError
            When a model cannot be loaded, as in `Encoder.load`, or a worker dies of it.
        """
        try:
            self._running = [self._start(settings) for settings in self._settings]
            spaces = [self._wait_until_ready(worker) for worker in self._running]
        except BaseException:
            self._stop()
            raise
        self.space: Space = spaces[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def embed(self, groups: GroupSource, table_uri: str, progress: Progress) -> Iterator[GroupDone]:
        """Keep every worker supplied, and give what comes back in the order it comes.

        Raises
        ------
        TailwagError
            What a worker could not go on from: rows that cannot be written.
        """
        while True:
            for most in range(1, _GROUPS_A_WORKER + 1):
                for worker in self._running:
                    if len(worker.groups) < most and (group := groups.next()) is not None:
                        self._give(worker, group, table_uri)
            if not any(worker.groups for worker in self._running):
                return
            of = {worker.connection: worker for worker in self._running}
            for connection in wait(list(of)):
                worker = of[connection]  # type: ignore[index]
                outcome = self._hear(worker, groups, table_uri, progress)
                if outcome is not None:
                    yield outcome

    def _hear(self, worker: _Worker, groups: GroupSource, table_uri: str, progress: Progress) -> GroupDone | None:
        try:
            kind, *news = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, groups, table_uri)
            return None
        if kind == "samples":
            progress.advance(news[0])
            return None
        if kind == "failed":
            raise _error(news)
        worker.groups.popleft()
        return news[0]

    def _give(self, worker: _Worker, group: Group, table_uri: str) -> None:
        worker.groups.append(group)
        with suppress(OSError):  # it has died, which reading from it will show
            worker.connection.send((group, table_uri))

    def _replace(self, worker: _Worker, groups: GroupSource, table_uri: str) -> None:
        """Start another process for one that died; the group it was at counts as lost, the next it gets again."""
        self.lost_workers += 1
        ending = worker.ending()
        worker.connection.close()
        new = self._start(worker.settings)
        self._running[self._running.index(worker)] = new
        self._wait_until_ready(new)
        if worker.groups:
            groups.lost(worker.groups.popleft(), f"the worker that read it {ending}")
        for group in worker.groups:
            self._give(new, group, table_uri)

    def _start(self, settings: WorkerSettings) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, settings), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, settings)

    def _wait_until_ready(self, worker: _Worker) -> Space:
        try:
            kind, *news = worker.connection.recv()
        except (EOFError, OSError):
            raise TailwagError(
                f"a worker on {worker.settings.device} {worker.ending()} while it loaded its model: see if the memory "
                "holds it"
            ) from None
        if kind == "failed":
            raise _error(news)
        return news[0]

    def _stop(self) -> None:
        """End the workers: those that wait at once, those at work by force, since nobody will commit what they do."""
        for worker in self._running:
            if worker.groups or not worker.process.is_alive():
                worker.process.kill()
            else:
                with suppress(OSError):  # it may die at any moment
                    worker.connection.send(None)
        for worker in self._running:
            worker.process.join(_SECONDS_TO_STOP)
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._running = []


def local_devices(device: str | None) -> list[str]:
    """Name the devices that get a worker each: every GPU where none is named and there is one, else the one named."""
    # Without torch where that can be: in this process it would only take time and memory.
    if device not in (None, "cuda"):
        return [device]
    if device is None and not _may_have_gpu():
        return ["cpu"]
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [device or "cpu"]


def _may_have_gpu() -> bool:
    """Whether torch is to be asked: on Linux only where a driver has made its device (NVIDIA, WSL, AMD)."""
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(Path(driver).exists() for driver in drivers)


def _error(news: list[Any]) -> BaseException:
    kind, message = news
    return kind(message)
