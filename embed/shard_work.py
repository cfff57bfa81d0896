"""One shard on its way from the source to rows: decoded and encoded batch by batch.

Each worker thread takes a batch of samples through decoding and the model. Not here: which shards, in which order,
and writing them (`job/`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from tailwag.errors import TailwagError
from tailwag.progress import Progress

from .corpus import corpus_schema, is_unit, sampling_number, vector_column
from .decoding import Decoder, InThisThread, Undecodable
from .encoder import Encoder
from .failures import Failure, Reason
from .ledger import ShardRecord
from .sources import Found, Shard
from .space import Space
from .text_tower import Tokens

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
    decoder
        Makes pixels of files; None decodes in the threads that also encode.
    """

    def __init__(self, encoder: Encoder, shard: Shard, decoder: Decoder | None = None) -> None:
        self.failures: list[Failure] = []
        self._encoder = encoder
        self._decoder = decoder or InThisThread(encoder.preprocessing)
        self._cut = np.zeros(0, bool)
        self._shard = shard
        self._fingerprint = shard.fingerprint()
        self._batches: list[_Batch] = []
        self._caption_seconds = 0.0

    def run(self, found: Iterable[Found], pool: Executor, workers: int, batch_size: int, progress: Progress) -> None:
        """Decode and encode everything that was found; at most `workers` + 2 batches are in memory at a time."""
        for batch in map_ahead(pool, self._batch, _batches(found, batch_size), workers + 2):
            self._batches.append(batch)
            self.failures.extend(batch.failures)
            progress.advance(len(batch.rows) + len(batch.failures))

    def _batch(self, found: tuple[Found, ...]) -> _Batch:
        batch = _Batch()
        start = time.perf_counter()
        samples = [each for each in found if not isinstance(each, Failure)]
        batch.failures += [each for each in found if isinstance(each, Failure)]
        pixels, outcomes = self._decoder.decode([sample.image for sample in samples])
        for sample, outcome in zip(samples, outcomes, strict=True):
            if isinstance(outcome, Undecodable):
                batch.failures.append(self._failure(sample.key, outcome.reason, outcome.detail))
            else:
                batch.rows.append(_Row(sample.key, sample.caption, sample.url, sample.label, **vars(outcome)))
        batch.decode_seconds = time.perf_counter() - start
        if not len(pixels):
            return batch
        start = time.perf_counter()
        vectors = self._encoder.encode_pixels(pixels)
        batch.compute_seconds = time.perf_counter() - start
        fine = is_unit(vectors)
        for row, good in zip(batch.rows, fine, strict=True):
            if not good:
                detail = "the model's image vector is not finite or has no length"
                batch.failures.append(self._failure(row.key, Reason.EMBEDDING_NOT_FINITE, detail))
        batch.rows = [row for row, good in zip(batch.rows, fine, strict=True) if good]
        batch.vectors = vectors[fine]
        return batch

    def _failure(self, key: str, reason: Reason, detail: str) -> Failure:
        return Failure(key, self._shard.name, reason, detail)

    def encode_captions(self, pool: Executor, workers: int, batch_size: int) -> np.ndarray:
        """Encode the captions: (rows, dimension) float16, in the order of the rows. Counts those that are cut."""
        captions = [row.caption for batch in self._batches for row in batch.rows]
        # Captions repeat (class prompts, stock phrases): each is encoded once.
        distinct = list(dict.fromkeys(captions))
        position = {caption: number for number, caption in enumerate(distinct)}
        rows = np.array([position[caption] for caption in captions], np.int64)
        start = time.perf_counter()
        tokenized = map_ahead(pool, self._encoder.tokenize, _batches(distinct, 1024), workers + 2)
        tokens = Tokens.joined([self._encoder.tokenize([]), *tokenized])
        self._caption_seconds = time.perf_counter() - start
        self._cut = tokens.cut[rows]
        # Captions of one length together: a batch is as wide as its longest.
        order = np.argsort(-tokens.lengths, kind="stable")

        def encode(chosen: tuple[int, ...]) -> tuple[np.ndarray, float]:
            start = time.perf_counter()
            return self._encoder.encode_tokens(tokens.take(np.array(chosen))), time.perf_counter() - start

        done = list(map_ahead(pool, encode, _batches(order.tolist(), 4 * batch_size), workers + 2))
        self._caption_seconds += sum(seconds for _, seconds in done)
        vectors = np.zeros((len(distinct), self._encoder.space.dimension), np.float16)
        if done:
            vectors[order] = np.concatenate([vectors for vectors, _ in done])
        return vectors[rows]

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
            cut_captions=int(self._cut[fine].sum()),
            decode_seconds=sum(batch.decode_seconds for batch in self._batches),
            compute_seconds=sum(batch.compute_seconds for batch in self._batches) + self._caption_seconds,
            finished=datetime.now(UTC),
            precision=self._encoder.precision,
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


def map_ahead(pool: Executor, work: Callable[[Item], Result], items: Iterator[Item], ahead: int) -> Iterator[Result]:
    """Map in order, with at most `ahead` items in flight, so that memory stays bounded however many there are."""
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
