"""What a job would take: a short measurement on its first pictures, then time, rows and disk by rule of three.

Nothing is written.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tailwag.progress import NoProgress

from ..shard_work import ShardWork
from ..sources import Sample
from .describing import duration, plan_lines
from .local_engine import local_devices
from .planning import EmbeddingPlan
from .worker_settings import WorkerSettings

# Batches a thread that are timed, after one that is not.
_BATCHES = 4
# What Lance adds to the columns' bytes.
_TABLE_OVERHEAD = 1.02


@dataclass(frozen=True)
class DryRun:
    """What was measured, and what follows.

    Attributes
    ----------
    plan
        The plan.
    model, device
        What it was measured with.
    workers
        Models that would work at the same time.
    measured
        Samples that were read for it.
    samples
        How many there will be: the sources' own count, else by bytes.
    samples_known
        Whether it is the sources' own count.
    images_per_second
        Of all workers, decoding and captions included, writing not.
    model_images_per_second
        Of the model alone, on one worker.
    disk_bytes, free_bytes
        What the rows will need; what is free where they go, None on an object store.
    """

    plan: EmbeddingPlan
    model: str
    device: str
    workers: int
    measured: int
    samples: int
    samples_known: bool
    images_per_second: float
    model_images_per_second: float
    disk_bytes: int
    free_bytes: int | None

    @property
    def seconds(self) -> float:
        """How long it should take."""
        return self.samples / self.images_per_second if self.images_per_second else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        told = {key: value for key, value in vars(self).items() if key != "plan"}
        return {
            "corpus": self.plan.corpus,
            "shards": len(self.plan.shards),
            "bytes": self.plan.size,
            **told,
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """Lay it out, a line a fact."""
        lines = [line for line in plan_lines(self.plan) if not line.startswith("samples")]
        about = "" if self.samples_known else f"about, by the first {self.measured:,}"
        lines += [
            f"samples  {self.samples:,} {about}".rstrip(),
            f"model    {self.model} on {self.device}"
            + (f", {self.workers} of them" if self.workers > 1 else "")
            + f": {self.model_images_per_second:,.0f} images/s for the model alone",
            f"speed    {self.images_per_second:,.0f} images/s with reading and decoding, by {self.measured:,} samples",
            f"time     about {duration(self.seconds)}",
            f"disk     about {self.disk_bytes / 1e6:,.1f} MB"
            + (f" of {self.free_bytes / 1e6:,.0f} MB free" if self.free_bytes is not None else ""),
        ]
        if self.free_bytes is not None and self.disk_bytes > self.free_bytes:
            lines.append("note     that is more than is free: pass another --db, or make room")
        return lines


def measure(plan: EmbeddingPlan, settings: WorkerSettings) -> DryRun:
    """Embed the first pictures of a plan's first shard, and say what all of them would take.

    Parameters
    ----------
    plan
        With at least one shard.
    settings
        Of the workers.

    Raises
    ------
    NotFound, BadInput, SpaceMismatch
        When the model cannot be loaded, as in `Encoder.load`.
    """
    encoder, shard = settings.load(), plan.shards[0]
    devices = local_devices(settings.device)
    with settings.worker(encoder, plan.reader) as worker:
        pool, threads, batch_size = worker.pool, worker.threads, worker.batch_size
        alone = encoder.images_per_second(threads, batch_size)
        found = list(islice(plan.reader.read(shard), (_BATCHES + 1) * threads * batch_size))
        warm = found[: len(found) // (_BATCHES + 1)]
        ShardWork(encoder, shard, worker.decoder).run(warm, pool, threads, batch_size, NoProgress())
        start = time.perf_counter()
        work = ShardWork(encoder, shard, worker.decoder)
        work.run(found, pool, threads, batch_size, NoProgress())
        text = work.encode_captions(pool, threads, batch_size)
        rate = len(found) / (time.perf_counter() - start)
    rows = work.finish(encoder.space, text).rows
    known = plan.samples
    samples = known if known is not None else _by_bytes(plan, found, shard.size)
    row_bytes = rows.nbytes / len(rows) * _TABLE_OVERHEAD if len(rows) else 4 * encoder.space.dimension
    return DryRun(
        plan=plan,
        model=encoder.space.title,
        device=devices[0],
        workers=len(devices),
        measured=len(found),
        samples=samples,
        samples_known=known is not None,
        images_per_second=rate * len(devices),
        model_images_per_second=alone,
        disk_bytes=round(samples * row_bytes),
        free_bytes=_free(plan),
    )


def _by_bytes(plan: EmbeddingPlan, found: list[Any], size: int) -> int:
    """Guess how many samples there are: by the bytes of pictures and captions read, of which a tar has some more."""
    read = sum(len(each.image) + len(each.caption) + 1536 for each in found if isinstance(each, Sample))
    each = read / len(found) if found else size
    guess = plan.size / each if each else 0
    return round(min(guess, plan.limit) if plan.limit is not None else guess)


def _free(plan: EmbeddingPlan) -> int | None:
    if not plan.database.is_local:
        return None
    folder = plan.database.folder.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(there).free
