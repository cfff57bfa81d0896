"""The embedding job: plan which shards are to be read, then read, decode, encode and write them one by one.

A shard's failures are written first, then its rows, then the record that it is done (`ledger.py`), so the same command
goes on where it was stopped. Not here: how shards are found and read (`sources.py` and the two readers).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from tailwag.errors import BadInput, NotFound
from tailwag.progress import NoProgress, Progress

from .corpus import Corpus
from .database import Database
from .decoding import IMAGE_SUFFIXES
from .encoder import Encoder
from .failures import Failure
from .image_folders import ImageFolder
from .ledger import Ledger, ShardRecord
from .locking import only_writer
from .shard_work import ShardWork
from .sources import Found, Shard, expand_braces, find_tars, tar_shards
from .tar_shards import read_tar


@dataclass(frozen=True)
class EmbeddingPlan:
    """What is to be done. Made by `plan_embedding`, done by `run_embedding`.

    Attributes
    ----------
    shards
        To be embedded, in order.
    shards_done
        How many of the sources' shards were done before.
    other_shards
        Shards that the corpus holds and the sources do not name.
    images_beside_tars
        Images in folders that also hold tar files: only the tar files of such a folder are read.
    folders
        The folders of images among the sources, listed.
    """

    database: Database
    corpus: str
    shards: tuple[Shard, ...]
    shards_done: int
    other_shards: tuple[str, ...]
    images_beside_tars: int
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
    """What a run did. samples = rows + failures; seconds of decoding and of the model are summed over threads."""

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
    tars, roots, images_beside_tars = _sort_sources(sources)
    shards = tar_shards(tars)
    rest = [shard for shard in shards if not _is_done(shard, records.get(shard.name))]
    done = len(shards) - len(rest)
    named = {shard.name for shard in shards}
    folders: dict[Path, ImageFolder] = {}
    for root in roots:
        folder = ImageFolder(root)
        same_name = [other.root for other in folders.values() if other.name == folder.name]
        parts = [record for record in records.values() if _folder_of(record) == folder.name]
        elsewhere = same_name + [Path(part.location) for part in parts if Path(part.location) != folder.root]
        if elsewhere:
            raise BadInput(
                f"corpus {corpus!r} would hold two folders {folder.name!r}, from {elsewhere[0]} and {folder.root}, "
                "with the same keys: rename one, or embed it into another corpus"
            )
        folders[folder.root] = folder
        rest.extend(folder.shards(_folder_keys(database, corpus, parts), len(parts)))
        named.update(part.shard for part in parts)
        done += len(parts)
    if not rest and not done:
        raise NotFound(f"{', '.join(sources)}: no .tar shards and no images there")
    others = tuple(name for name in records if name not in named)
    return EmbeddingPlan(database, corpus, tuple(rest), done, others, images_beside_tars, folders)


def run_embedding(
    plan: EmbeddingPlan,
    encoder: Encoder,
    *,
    batch_size: int = 32,
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
        Threads, each of which takes batches through decoding and the model.
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
    with _only_job(plan), encoder.shared_by_threads(), ThreadPoolExecutor(workers) as pool:
        corpus = _open_or_create(plan, encoder)
        report = EmbeddingReport(undone=ledger.undo_unfinished(corpus, {shard.name for shard in plan.shards}))
        # Another job may have done some since the plan was made.
        done = ledger.records()
        for shard in plan.shards:
            if _is_done(shard, done.get(shard.name)):
                continue
            work = ShardWork(encoder, shard)
            work.run(plan.read(shard), pool, workers, batch_size, progress or NoProgress())
            record = work.write(corpus, ledger, work.encode_captions(pool, workers, batch_size))
            report.add(record, work.failures)
            if on_shard is not None:
                on_shard(record)
    report.seconds = time.perf_counter() - start
    return report


def _is_done(shard: Shard, record: ShardRecord | None) -> bool:
    if record is None:
        return False
    if shard.fingerprint() != record.fingerprint:
        raise BadInput(
            f"shard {shard.name!r} was embedded from {record.location} ({record.size:,} bytes), and {shard.location} "
            f"({shard.size:,} bytes) is another file: rename its folder, or embed it into another corpus"
        )
    return True


def _expand(source: str) -> list[Path]:
    """Give the paths that a source names, whether they exist or not; a path that exists is never read as a pattern."""
    if "://" in source:
        return find_tars([source])  # which says that it is not on this machine
    paths: list[Path] = []
    for pattern in [source] if Path(source).exists() else expand_braces(source):
        matches = [] if Path(pattern).exists() else sorted(glob(pattern))  # noqa: PTH207 (patterns may be absolute)
        paths += [Path(match) for match in matches] or [Path(pattern)]
    return paths


def _sort_sources(sources: Sequence[str]) -> tuple[list[Path], list[Path], int]:
    """Tell tar files from folders of images; also count the images that lie beside tar files."""
    tar_sources: list[str] = []
    roots: dict[str, Path] = {}
    beside = 0
    for source in sources:
        for path in _expand(source):
            if not path.is_dir():
                tar_sources.append(str(path))
                continue
            suffixes = Counter(file.suffix.lower().lstrip(".") for file in path.rglob("*") if file.is_file())
            images = sum(suffixes[suffix] for suffix in IMAGE_SUFFIXES)
            if suffixes["tar"]:
                tar_sources.append(str(path))
                beside += images
            else:
                roots.setdefault(os.path.abspath(path), path)  # noqa: PTH100 (links stay links)
    return find_tars(tar_sources), list(roots.values()), beside


def _folder_of(record: ShardRecord) -> str | None:
    return None if record.is_tar else record.shard.rpartition("#")[0]


def _folder_keys(database: Database, corpus: str, parts: Sequence[ShardRecord]) -> set[str]:
    """Give the keys of a folder's pictures that are rows or failures of its finished parts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not parts:
        return set()
    names = [part.shard for part in parts]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    failures = Ledger(database, corpus).failures()
    failed = failures.filter(pc.is_in(failures.column("shard"), pa.array(names, pa.string())))
    return set(Corpus.open(database, corpus).keys(f"shard IN ({quoted})")) | set(failed.column("key").to_pylist())


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
        remedy=f"pass {corpus.space.options}, or another --corpus",
    )
    return corpus
