"""What a worker is told before its first group, wherever it runs: which model, on what, with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from ..encoder import Encoder, Precision
from ..pixel_workers import PixelWorkers
from ..reading import ShardReader
from ..space import Space
from .group_work import GroupWorker

# On a GPU each thread holds a decoded batch: more of them decode no faster than the GPU takes.
_MOST_THREADS = 16
# A larger batch is hardly quicker on a CPU, and takes memory in proportion: as many pixels as 8 pictures of 224 × 224.
_CPU_PIXELS = 8 * 224 * 224
_LEAST_CPU_BATCH, _MOST_CPU_BATCH = 4, 32

DecodeIn = Literal["threads", "processes"]


@dataclass(frozen=True)
class WorkerSettings:
    """How each worker of a job is set up; sent to other processes and machines.

    Attributes
    ----------
    model, pretrained
        As for `Encoder.load`; model None takes the one that `space` names.
    space
        The corpus's, where it exists: the model is then made sure to make it.
    device
        Where the model runs; None takes a GPU where one is found.
    threads
        That decode and encode; None for one a core of the worker's machine, at most 16.
    batch_size
        Pictures a forward pass; ``"auto"`` tries sizes when the model is loaded; None does so on a GPU, and takes 32
        elsewhere.
    precision, compile
        As for `Encoder.load`.
    decode_in
        Whether pictures are decoded in threads or in as many processes; None takes processes where the model runs on a
        GPU and there are several threads.
    """

    model: str | None
    pretrained: str | None = None
    space: Space | None = None
    device: str | None = None
    threads: int | None = None
    batch_size: int | Literal["auto"] | None = None
    precision: Precision | None = None
    compile: bool = False
    decode_in: DecodeIn | None = None

    def load(self) -> Encoder:
        """Load the model.

        Raises
        ------
        NotFound, BadInput, SpaceMismatch
            As `Encoder.load` and `Encoder.for_space`.
        """
        if self.model is None:
            if self.space is None:
                raise ValueError("neither a model nor a space to find one by")
            return Encoder.for_space(self.space, device=self.device, precision=self.precision, compile=self.compile)
        return Encoder.load(self.model, self.pretrained, self.device, precision=self.precision, compile=self.compile)

    def threads_here(self) -> int:
        """Say how many threads a worker on this machine has."""
        return self.threads or min(os.cpu_count() or 1, _MOST_THREADS)

    def batch_size_on(self, encoder: Encoder) -> int:
        """Say how many pictures go through the model at once; may try some sizes first."""
        if self.batch_size is None and encoder.device.type != "cuda":
            pixels = encoder.preprocessing.height * encoder.preprocessing.width
            return min(max(_CPU_PIXELS // pixels, _LEAST_CPU_BATCH), _MOST_CPU_BATCH)
        if self.batch_size is None or self.batch_size == "auto":
            return encoder.find_batch_size(self.threads_here())[0]
        return self.batch_size

    def decodes_in(self, encoder: Encoder) -> DecodeIn:
        """Say where pictures are decoded."""
        # Threads that wait for a GPU leave Python's lock to others, but only one of them decodes at a time in Python's
        # own steps; on a CPU the model itself keeps the cores busy and processes would only add copies.
        several = self.threads_here() > 1
        return self.decode_in or ("processes" if encoder.device.type == "cuda" and several else "threads")

    @contextmanager
    def worker(self, encoder: Encoder, reader: ShardReader | None = None) -> Iterator[GroupWorker]:
        """Make a worker of a loaded model while the block runs."""
        threads, batch_size = self.threads_here(), self.batch_size_on(encoder)
        with ExitStack() as stack:
            decoder = None
            if self.decodes_in(encoder) == "processes":
                decoder = stack.enter_context(PixelWorkers(encoder.preprocessing, threads, batch_size))
            stack.enter_context(encoder.shared_by_threads())
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            yield GroupWorker(encoder, reader or ShardReader(), pool, threads, batch_size, decoder)
