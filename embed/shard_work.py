"""One shard on its way from the source to rows: decoded and encoded batch by batch.

Each worker thread takes a batch of samples through decoding and the model. Not here: which shards, in which order,
and writing them (`job/`).
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tailwag.errors import TailwagError
from tailwag.progress import Progress

from .corpus import corpus_schema, is_unit, sampling_number, vector_column
from .decoding import UndecodableImage, decode_image
from .encoder import Encoder
from .failures import Failure, Reason
from .ledger import ShardRecord
from .sources import Found, Shard
from .space import Space

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Row:
    """What a row says beside its vectors. The file's bytes are not kept: a shard's worth would fill the memory."""

    key: str
    caption: str
    url: str
    label: str | None
    width: int
    height: int
    sha256: str


@dataclass
class _Batch:
    """What came of some consecutive samples."""

    rows: list[_Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    vectors: np.ndarray | None = None
    decode_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True)
class EmbeddedShard:
    """One shard, embedded and not yet written: its record, its failures, and its rows as a `pyarrow.Table`."""

    record: ShardRecord
    failures: list[Failure]
    rows: Any


class ShardWork:
    """One shard's samples, failures and vectors.

    Parameters
    ----------
    encoder
        The model.
    shard
        The shard.
    """

    def __init__(self, encoder: Encoder, shard: Shard) -> None:
        self.failures: list[Failure] = []
        self._encoder = encoder
        self._shard = shard
        self._fingerprint = shard.fingerprint()
        self._batches: list[_Batch] = []
        self._caption_seconds = 0.0

    def run(self, found: Iterable[Found], pool: Executor, workers: int, batch_size: int, progress: Progress) -> None:
        """Decode and encode everything that was found; at most `workers` + 2 batches are in memory at a time."""
        for batch in _map_ahead(pool, self._batch, _batches(found, batch_size), workers + 2):
            self._batches.append(batch)
            self.failures.extend(batch.failures)
            progress.advance(len(batch.rows) + len(batch.failures))

    def _batch(self, found: tuple[Found, ...]) -> _Batch:
        import torch

        batch = _Batch()
        start = time.perf_counter()
        pixels = [decoded for each in found if (decoded := self._decode(each, batch)) is not None]
        batch.decode_seconds = time.perf_counter() - start
        if not pixels:
            return batch
        start = time.perf_counter()
        vectors = self._encoder.encode_pixels(torch.stack(pixels))
        batch.compute_seconds = time.perf_counter() - start
        fine = is_unit(vectors)
        for row, good in zip(batch.rows, fine, strict=True):
            if not good:
                detail = "the model's image vector is not finite or has no length"
                batch.failures.append(self._failure(row.key, Reason.EMBEDDING_NOT_FINITE, detail))
        batch.rows = [row for row, good in zip(batch.rows, fine, strict=True) if good]
        batch.vectors = vectors[fine]
        return batch

    def _decode(self, found: Found, batch: _Batch) -> torch.Tensor | None:
        """Note a sample as a row of the batch and give its pixels, or note it as a failure."""
        if isinstance(found, Failure):
            batch.failures.append(found)
            return None
        try:
            image = decode_image(found.image)
            pixels = self._encoder.preprocess(image)
        except UndecodableImage as error:
            batch.failures.append(self._failure(found.key, error.reason, error.detail))
            return None
        except Exception as error:  # a mode that Pillow cannot convert: this sample's fault, not the job's
            detail = f"{type(error).__name__}: {error}"[:200]
            batch.failures.append(self._failure(found.key, Reason.DAMAGED_IMAGE, detail))
            return None
        digest = hashlib.sha256(found.image).hexdigest()
        batch.rows.append(_Row(found.key, found.caption, found.url, found.label, image.width, image.height, digest))
        return pixels

    def _failure(self, key: str, reason: Reason, detail: str) -> Failure:
        return Failure(key, self._shard.name, reason, detail)

    def encode_captions(self, pool: Executor, workers: int, batch_size: int) -> np.ndarray:
        """Encode the captions: (rows, dimension) float16, in the order of the rows."""
        captions = [row.caption for batch in self._batches for row in batch.rows]
        # Captions repeat (class prompts, stock phrases): each is encoded once.
        distinct = list(dict.fromkeys(captions))

        def encode(texts: tuple[str, ...]) -> tuple[np.ndarray, float]:
            start = time.perf_counter()
            return self._encoder.encode_texts(texts), time.perf_counter() - start

        done = list(_map_ahead(pool, encode, _batches(distinct, 4 * batch_size), workers + 2))
        self._caption_seconds = sum(seconds for _, seconds in done)
        position = {caption: number for number, caption in enumerate(distinct)}
        return np.concatenate([self._encoder.encode_texts([]), *(vectors for vectors, _ in done)])[
            [position[caption] for caption in captions]
        ]

    def finish(self, space: Space, text: np.ndarray) -> EmbeddedShard:
        """Put everything together.

        Parameters
        ----------
        space
            Of the corpus.
        text
            From `encode_captions`.

        Raises
        ------
        TailwagError
            When the shard's file was changed while it was read.
        """
        if self._shard.fingerprint() != self._fingerprint:
            raise TailwagError(
                f"{self._shard.location} was changed while it was read, and nothing of it was written: give the "
                "command again"
            )
        image = [batch.vectors for batch in self._batches if batch.vectors is not None]
        fine = is_unit(text)
        rows = []
        for row, good in zip((row for batch in self._batches for row in batch.rows), fine, strict=True):
            if good:
                rows.append(row)
            else:
                detail = "the model's caption vector is not finite or has no length"
                self.failures.append(self._failure(row.key, Reason.EMBEDDING_NOT_FINITE, detail))
        record = ShardRecord(
            shard=self._shard.name,
            location=str(self._shard.location),
            is_tar=self._shard.is_tar,
            size=self._shard.size,
            fingerprint=self._fingerprint,
            samples=len(self._shard.skip) + len(rows) + len(self.failures),
            rows=len(self._shard.skip) + len(rows),
            failures=len(self.failures),
            cut_captions=0,
            decode_seconds=sum(batch.decode_seconds for batch in self._batches),
            compute_seconds=sum(batch.compute_seconds for batch in self._batches) + self._caption_seconds,
            finished=datetime.now(UTC),
        )
        vectors = np.concatenate(image)[fine] if rows else np.zeros((0, space.dimension), np.float16)
        return EmbeddedShard(record, self.failures, self._table(space, rows, vectors, text[fine]))

    def _table(self, space: Space, rows: list[_Row], image: np.ndarray, text: np.ndarray) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {column.name: [getattr(row, column.name) for row in rows] for column in fields(_Row)}
        columns["shard"] = [self._shard.name] * len(rows)
        columns["u"] = [sampling_number(row.key) for row in rows]
        columns["image"], columns["text"] = vector_column(image), vector_column(text)
        return pa.table(columns, schema=corpus_schema(space))


def _batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch


def _map_ahead(pool: Executor, work: Callable[[Item], Result], items: Iterator[Item], ahead: int) -> Iterator[Result]:
    """Map in order, with at most `ahead` items in flight, so that memory stays bounded whatever the shard's size."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
