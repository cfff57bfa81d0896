"""A worker's part: embed a group of shards and write their rows as Lance fragments that nobody sees yet.

The same in every engine. Not here: committing (`committing.py`), and what runs where (the engines).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tailwag.errors import TailwagError
from tailwag.progress import Progress

from ..corpus import corpus_schema
from ..database import first_line
from ..decoding import Decoder
from ..encoder import Encoder
from ..failures import Failure
from ..fragment_writing import write_rows
from ..ledger import ShardRecord
from ..reading import ShardReader
from ..shard_work import EmbeddedShard, ShardWork, map_ahead
from ..sources import Shard
from ..store_requests import StoreDown
from .groups import Group, GroupDone

# Rows a record batch: what Lance holds in memory beside the shard at hand.
_BATCH_ROWS = 8192
_SHARDS_AT_A_TIME = 2


@dataclass(frozen=True)
class GroupWorker:
    """Embeds groups, with one model.

    Attributes
    ----------
    encoder
        The model.
    reader
        Reads shards.
    pool, threads
        Threads that decode and encode, and how many.
    batch_size
        Pictures a forward pass.
    decoder
        Makes pixels of files; None decodes in the pool's threads.
    """

    encoder: Encoder
    reader: ShardReader
    pool: Executor
    threads: int
    batch_size: int
    decoder: Decoder | None = None

    def embed(self, group: Group, table_uri: str, progress: Progress) -> GroupDone:
        """Embed a group and write its rows beside the table.

        Parameters
        ----------
        group
            The shards.
        table_uri
            Of the corpus's table.
        progress
            Told of every sample.

        Raises
        ------
        TailwagError
            When the fragments cannot be written, or a store does not answer. A shard that cannot be read does not
            raise: it is left.
        """
        start = time.perf_counter()
        done: list[tuple[ShardRecord, tuple[Failure, ...]]] = []
        left: dict[str, str] = {}
        rows = self._rows(group, progress, done, left)
        first = next(rows, None)
        written = []
        if first is not None:
            written = write_rows(table_uri, corpus_schema(self.encoder.space), _batches(first, rows))
        return GroupDone(group, tuple(written), tuple(done), left, time.perf_counter() - start)

    def _rows(
        self,
        group: Group,
        progress: Progress,
        done: list[tuple[ShardRecord, tuple[Failure, ...]]],
        left: dict[str, str],
    ) -> Iterator[Any]:
        """Embed shard by shard; give the rows of each that has some, as a `pyarrow.Table`.

        Two shards are under way at a time: while one's captions are encoded and its rows are put together, pictures of
        the next are decoded, so that the model never waits at a shard's end.
        """
        stopped = threading.Event()

        def embed(shard: Shard) -> EmbeddedShard | str:
            try:
                _require_planned(shard)
                work = ShardWork(self.encoder, shard, self.decoder)
                found = takewhile(lambda _: not stopped.is_set(), self.reader.read(shard))
                work.run(found, self.pool, self.threads, self.batch_size, progress)
                text = work.encode_captions(self.pool, self.threads, self.batch_size)
                return work.finish(self.encoder.space, text)
            except StoreDown:  # the other shards would wait for it as long, one by one
                raise
            except (OSError, TailwagError) as error:
                return first_line(error)

        with ThreadPoolExecutor(_SHARDS_AT_A_TIME, thread_name_prefix="tailwag-shard") as shards:
            try:
                outcomes = map_ahead(shards, embed, iter(group.shards), _SHARDS_AT_A_TIME)
                for shard, outcome in zip(group.shards, outcomes, strict=True):
                    if isinstance(outcome, str):
                        left[shard.name] = outcome
                        continue
                    done.append((outcome.record, tuple(outcome.failures)))
                    if len(outcome.rows):
                        yield outcome.rows
            finally:
                stopped.set()  # after an error, or Ctrl-C, what is under way is for nobody


def _require_planned(shard: Shard) -> None:
    if shard.is_tar and (size := shard.location.stat().st_size) != shard.size:
        raise TailwagError(
            f"{shard.location} was changed since the job began (it had {shard.size:,} bytes, now {size:,})"
        )


def _batches(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from first.to_batches(max_chunksize=_BATCH_ROWS)
    for table in rest:
        yield from table.to_batches(max_chunksize=_BATCH_ROWS)
