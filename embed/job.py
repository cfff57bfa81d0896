"""The embedding job: plan which shards are to be read, then read, decode, encode and write them one by one.

A shard's failures are written first, then its rows, then the record that it is done (`ledger.py`), so the same command
goes on where it was stopped. Not here: how shards are found and read (`sources.py` and the two readers).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tailwag.errors import BadInput, NotFound
from tailwag.progress import NoProgress, Progress

from .corpus import Corpus, corpus_schema, is_unit, sampling_number
from .database import Database
from .decoding import UndecodableImage, decode_image
from .encoder import Encoder
from .failures import Failure, Reason
from .image_folders import ImageFolder
from .ledger import Ledger, ShardRecord
from .locking import only_writer
from .sources import Found, Shard, expand_braces, find_tars, tar_shards
from .tar_shards import read_tar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EmbeddingPlan:
    """What is to be done. Made by `plan_embedding`, done by `run_embedding`.

    Attributes
    ----------
    shards
        To be embedded, in order.
    shards_done
        How many of the sources' shards were done before.
    folders
        The folders of images among the sources, listed.
    """

    database: Database
    corpus: str
    shards: tuple[Shard, ...]
    shards_done: int
    folders: dict[Path, ImageFolder] = field(repr=False)

    @property
    def samples(self) -> int | None:
        """How many samples the shards should hold; None where one of them does not say."""
        expected = [shard.expected for shard in self.shards]
        return None if None in expected else sum(count for count in expected if count is not None)

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(shard.size for shard in self.shards)

    def read(self, shard: Shard) -> Iterator[Found]:
        """Read a shard's samples and failures."""
        return read_tar(shard) if shard.is_tar else self.folders[shard.location].read(shard)


@dataclass
class EmbeddingReport:
    """What a run did. samples = rows + failures; seconds of decoding are summed over threads."""

    shards: int = 0
    samples: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    undone: list[str] = field(default_factory=list)
    decode_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def failures(self) -> int:
        """How many samples failed, for any reason."""
        return self.reasons.total()

    def add(self, record: ShardRecord, failures: Sequence[Failure]) -> None:
        """Add what one shard did."""
        self.shards += 1
        self.samples += record.samples
        self.rows += record.rows
        self.reasons.update(failure.reason.value for failure in failures)
        self.decode_seconds += record.decode_seconds
        self.compute_seconds += record.compute_seconds
        self.write_seconds += record.write_seconds


def plan_embedding(sources: Sequence[str], database: Database | str | Path, corpus: str) -> EmbeddingPlan:
    """Find the shards that sources name and that the corpus does not hold yet.

    Parameters
    ----------
    sources
        Tar shards (files, folders of them, brace patterns, globs) and folders of images.
    database, corpus
        Where the rows go. The corpus need not exist.

    Raises
    ------
    NotFound
        When a source does not exist or holds nothing.
    BadInput
        When a shard's name is taken by another shard.
    """
    database = database if isinstance(database, Database) else Database(database)
    ledger = Ledger(database, corpus)
    records = ledger.records()
    roots, tar_sources = [], []
    for source in sources:
        paths = [Path(path) for path in expand_braces(source)]
        folders = [path for path in paths if path.is_dir() and not any(path.rglob("*.tar"))]
        roots.extend(folders)
        tar_sources.extend(str(path) for path in paths if path not in folders)
    shards = tar_shards(find_tars(tar_sources))
    rest = [shard for shard in shards if not _is_done(shard, records.get(shard.name))]
    done = len(shards) - len(rest)
    folders_by_root: dict[Path, ImageFolder] = {}
    for root in roots:
        folder = ImageFolder(root)
        folders_by_root[folder.root] = folder
        earlier = [record for name, record in records.items() if name.startswith(f"{folder.name}#")]
        elsewhere = [record for record in earlier if Path(record.location) != folder.root]
        if elsewhere:
            raise BadInput(
                f"corpus {corpus!r} holds a folder {folder.name!r} from {elsewhere[0].location}, and {folder.root} "
                "would take the same keys: rename it, or embed it into another corpus"
            )
        keys = _folder_keys(database, corpus, folder.name) if earlier else set()
        rest.extend(folder.shards(keys, len(earlier)))
        done += len(earlier)
    if not rest and not done:
        raise NotFound(f"{', '.join(sources)}: no .tar shards and no images there")
    return EmbeddingPlan(database, corpus, tuple(rest), done, folders_by_root)


def run_embedding(
    plan: EmbeddingPlan,
    encoder: Encoder,
    *,
    batch_size: int = 64,
    workers: int = 2,
    progress: Progress | None = None,
    on_shard: Callable[[ShardRecord], None] | None = None,
) -> EmbeddingReport:
    """Embed the shards of a plan.

    Parameters
    ----------
    plan
        From `plan_embedding`.
    encoder
        The model; its space must be the corpus's.
    batch_size
        Pictures a forward pass.
    workers
        Threads that decode and preprocess.
    progress
        Told of every sample that is done; None shows nothing.
    on_shard
        Called with each shard's record once it is written; None for nobody.

    Raises
    ------
    SpaceMismatch
        When the corpus holds vectors of another space; nothing is written then.
    TailwagError
        When another job writes to the corpus.
    """
    start = time.perf_counter()
    ledger = Ledger(plan.database, plan.corpus)
    with _only_job(plan), ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        corpus = _open_or_create(plan, encoder)
        report = EmbeddingReport(undone=ledger.undo_unfinished(corpus))
        # Another job may have done some since the plan was made.
        done = ledger.records()
        for shard in plan.shards:
            if shard.name in done:
                continue
            work = _ShardWork(encoder, shard)
            work.run(plan.read(shard), pool, batch_size, 2 * batch_size + workers, progress or NoProgress())
            record = work.write(corpus, ledger)
            report.add(record, work.failures)
            if on_shard is not None:
                on_shard(record)
    report.seconds = time.perf_counter() - start
    return report


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


class _ShardWork:
    """One shard on its way from the source into the table."""

    def __init__(self, encoder: Encoder, shard: Shard) -> None:
        self.encoder = encoder
        self.shard = shard
        self.failures: list[Failure] = []
        self._rows: list[_Row] = []
        self._vectors: list[np.ndarray] = []
        self._decode_seconds = 0.0
        self._compute_seconds = 0.0

    def run(
        self, found: Iterator[Found], pool: ThreadPoolExecutor, batch_size: int, ahead: int, progress: Progress
    ) -> None:
        rows: list[_Row] = []
        pixels: list[torch.Tensor] = []
        for decoded, seconds in _map_ahead(pool, self._decode, found, ahead):
            self._decode_seconds += seconds
            if isinstance(decoded, Failure):
                self.failures.append(decoded)
                progress.advance()
                continue
            rows.append(decoded[0])
            pixels.append(decoded[1])
            if len(rows) == batch_size:
                self._encode(rows, pixels)
                progress.advance(len(rows))
                rows, pixels = [], []
        if rows:
            self._encode(rows, pixels)
            progress.advance(len(rows))

    def _decode(self, found: Found) -> tuple[tuple[_Row, torch.Tensor] | Failure, float]:
        start = time.thread_time()
        if isinstance(found, Failure):
            return found, 0.0
        try:
            image = decode_image(found.image)
            pixels = self.encoder.preprocess(image)
        except UndecodableImage as error:
            return self._failure(found.key, error.reason, error.detail), time.thread_time() - start
        except Exception as error:  # a mode that Pillow cannot convert: this sample's fault, not the job's
            detail = f"{type(error).__name__}: {error}"[:200]
            return self._failure(found.key, Reason.DAMAGED_IMAGE, detail), time.thread_time() - start
        digest = hashlib.sha256(found.image).hexdigest()
        row = _Row(found.key, found.caption, found.url, found.label, image.width, image.height, digest)
        return (row, pixels), time.thread_time() - start

    def _failure(self, key: str, reason: Reason, detail: str) -> Failure:
        return Failure(key, self.shard.name, reason, detail)

    def _encode(self, rows: list[_Row], pixels: list[torch.Tensor]) -> None:
        import torch

        start = time.perf_counter()
        vectors = self.encoder.encode_pixels(torch.stack(pixels))
        self._compute_seconds += time.perf_counter() - start
        fine = is_unit(vectors)
        for row, good in zip(rows, fine, strict=True):
            if good:
                self._rows.append(row)
            else:
                detail = "the model's image vector is not finite or has no length"
                self.failures.append(self._failure(row.key, Reason.EMBEDDING_NOT_FINITE, detail))
        self._vectors.append(vectors[fine])

    def write(self, corpus: Corpus, ledger: Ledger) -> ShardRecord:
        start = time.perf_counter()
        # Captions repeat (class prompts, stock phrases): each is encoded once.
        captions = list(dict.fromkeys(row.caption for row in self._rows))
        position = {caption: number for number, caption in enumerate(captions)}
        text = self.encoder.encode_texts(captions)[[position[row.caption] for row in self._rows]]
        self._compute_seconds += time.perf_counter() - start
        start = time.perf_counter()
        ledger.add_failures(self.failures)
        if self._rows:
            corpus.append(self._table(corpus, np.concatenate(self._vectors), text))
        record = ShardRecord(
            shard=self.shard.name,
            location=str(self.shard.location),
            is_tar=self.shard.is_tar,
            size=self.shard.size,
            fingerprint=self.shard.fingerprint(),
            samples=len(self._rows) + len(self.failures),
            rows=len(self._rows),
            failures=len(self.failures),
            decode_seconds=self._decode_seconds,
            compute_seconds=self._compute_seconds,
            write_seconds=time.perf_counter() - start,
            finished=datetime.now(UTC),
        )
        ledger.add_record(record)
        return record

    def _table(self, corpus: Corpus, image: np.ndarray, text: np.ndarray) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {
            column.name: [getattr(row, column.name) for row in self._rows] for column in fields(_Row)
        }
        columns["shard"] = [self.shard.name] * len(self._rows)
        columns["u"] = [sampling_number(row.key) for row in self._rows]
        columns["image"], columns["text"] = vector_column(image), vector_column(text)
        return pa.table(columns, schema=corpus_schema(corpus.space))


def vector_column(vectors: np.ndarray) -> Any:
    """Turn (n, d) float16 vectors into an arrow column of fixed-size lists, without copying."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])


def _map_ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterator[Item], ahead: int
) -> Iterator[Result]:
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


def _is_done(shard: Shard, record: ShardRecord | None) -> bool:
    if record is None:
        return False
    if shard.fingerprint() != record.fingerprint:
        raise BadInput(
            f"shard {shard.name!r} was embedded from {record.location} ({record.size:,} bytes), and {shard.location} "
            f"({shard.size:,} bytes) is another file: rename its folder, or embed it into another corpus"
        )
    return True


def _folder_keys(database: Database, corpus: str, folder: str) -> set[str]:
    """Give the keys of a folder's pictures that are rows or failures already."""
    import pyarrow.compute as pc

    prefix = f"{folder}#"
    keys = set(Corpus.open(database, corpus).keys("starts_with(shard, '" + prefix.replace("'", "''") + "')"))
    failures = Ledger(database, corpus).failures()
    return keys | set(failures.filter(pc.starts_with(failures.column("shard"), prefix)).column("key").to_pylist())


def _only_job(plan: EmbeddingPlan) -> AbstractContextManager[None]:
    if not plan.database.is_local:
        return nullcontext()
    path = plan.database.folder / f".{plan.corpus}.lock"
    return only_writer(path, f"another `tailwag embed` writes to corpus {plan.corpus!r}: wait until it is done")


def _open_or_create(plan: EmbeddingPlan, encoder: Encoder) -> Corpus:
    if not plan.database.has_table(plan.corpus):
        return Corpus.create(plan.database, plan.corpus, encoder.space)
    corpus = Corpus.open(plan.database, plan.corpus)
    corpus.space.require_same(
        encoder.space,
        here=f"corpus {corpus.name!r} holds",
        there="this job would add those of",
        remedy=f"pass --model {corpus.space.model}, or another --corpus",
    )
    return corpus
