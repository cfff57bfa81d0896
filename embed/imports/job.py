"""The import job: plan which parts are to be taken in, then read, check and write them one by one.

Not here: how parts are found (`clip_retrieval.py`, `datacomp.py`), what becomes a row (`part_rows.py`), which space the
vectors are of (`named_space.py`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound, TailwagError
from tailwag.progress import NoProgress, Progress

from ..committing import Committer, only_job, open_or_create
from ..corpus import Corpus
from ..database import Database
from ..failures import Failure
from ..fragment_writing import write_rows
from ..ledger import Ledger, ShardRecord
from ..open_clip_loading import keep_freed_memory
from ..sources import require_printable
from ..space import Space
from ..storage import Location, locate
from ..store_requests import WEB, StoreDown
from ..store_sources import REQUESTS_AT_ONCE
from . import clip_retrieval, datacomp
from .part_rows import EncodeCaptions, PartRows
from .parts import Part

CLIP_RETRIEVAL, DATACOMP = "clip-retrieval", "DataComp"
# While one waits for the disk two are read and written; more only cost memory.
PARTS_AT_ONCE = 3


@dataclass(frozen=True)
class ImportPlan:
    """What is to be done. Made by `plan_import`, done by `run_import`.

    Attributes
    ----------
    layout
        How the files are laid out, for people.
    parts
        To be taken in, in order; their files were found to fit together.
    parts_done
        How many of the sources' parts were done before.
    dimension
        Of all vectors.
    has_text
        Whether the captions' vectors are there.
    is_unit
        Whether those who write this layout bring vectors to unit length.
    """

    database: Database
    corpus: str
    layout: str
    parts: tuple[Part, ...]
    parts_done: int
    dimension: int
    has_text: bool
    is_unit: bool

    @property
    def rows(self) -> int:
        """How many pairs the parts hold."""
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of their files."""
        return sum(part.size for part in self.parts)


@dataclass
class ImportReport:
    """What a run did. samples = rows + failures."""

    parts: int = 0
    samples: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    undone: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> int:
        """How many samples failed, for any reason."""
        return self.reasons.total()


def plan_import(
    sources: Sequence[str | Path], database: Database | str | Path, corpus: str, *, vectors: str | None = None
) -> ImportPlan:
    """Find the parts in some folders, whether their files fit together, and which the corpus does not hold yet.

    Parameters
    ----------
    sources
        Folders, or prefixes on a store, laid out as clip-retrieval, LAION-400M or DataComp do; all in the same way.
    database, corpus
        Where the rows go. The corpus need not exist.
    vectors
        Of DataComp's two models, whose vectors to take: ``"b32"`` or ``"l14"``. None for the other layouts.

    Raises
    ------
    NotFound
        When a folder does not exist.
    BadInput
        When files have no partners or do not fit, are cut or changed since they were imported; names them. Also for a
        web server, which lists nothing.
    StoreFailure
        When a store refuses, or does not answer.
    """
    database = database if isinstance(database, Database) else Database(database)
    found: dict[str, list[Part]] = {}
    layouts = set()
    for source in sources:
        root = _root(source)
        require_printable(root)
        if root.name in found:
            raise BadInput(f"two sources are called {root.name!r}, which their keys begin with: rename one")
        layout, found[root.name] = _find(root, vectors)
        layouts.add(layout)
    if len(layouts) > 1:
        raise BadInput(f"the sources are laid out as {' and as '.join(sorted(layouts))}: import them one by one")
    parts = [part for listed in found.values() for part in listed]
    _check_same(parts)
    records = Ledger(database, corpus).records()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:  # each may ask a store for the ends of its files
        done = list(pool.map(lambda part: _is_done(part, records.get(part.name)), parts))
    rest = tuple(part for part, is_done in zip(parts, done, strict=True) if not is_done)
    layout = layouts.pop()
    return ImportPlan(
        database,
        corpus,
        layout,
        rest,
        len(parts) - len(rest),
        parts[0].image.dimension,
        parts[0].text is not None,
        layout != DATACOMP,
    )


def run_import(
    plan: ImportPlan,
    space: Space,
    *,
    any_length: bool = False,
    encode_captions: EncodeCaptions | None = None,
    progress: Progress | None = None,
    on_part: Callable[[ShardRecord], None] | None = None,
) -> ImportReport:
    """Take in the parts of a plan, each in one commit.

    Parameters
    ----------
    plan
        From `plan_import`.
    space
        What the vectors are; must be the corpus's, where it exists.
    any_length
        Take vectors of any length for their direction, as is always done where the layout's writers leave them so.
    encode_captions
        Makes the captions' vectors where the set has none.
    progress
        Told of every pair that is done; None shows nothing.
    on_part
        Called with each part's record once it is written; None for nobody.

    Raises
    ------
    SpaceMismatch
        When the corpus holds vectors of another space; nothing is written then.
    BadInput
        When the space is of another dimension than the vectors, or the captions have no vectors.
    TailwagError
        When another job writes to the corpus, or a file cannot be read; what was committed before stays.
    """
    start = time.perf_counter()
    if space.dimension != plan.dimension:
        raise BadInput(
            f"the vectors are of {plan.dimension} dimensions, and {space.title} makes {space.dimension}: name the "
            "model that made them"
        )
    if not plan.has_text and encode_captions is None:
        raise BadInput("the set has no vectors of captions, and a corpus needs both: pass --encode-captions")
    report = ImportReport()
    with only_job(plan.database, plan.corpus) as lock:
        committer = Committer(open_or_create(plan.database, plan.corpus, space), lock)
        report.undone = committer.settle()
        done = Ledger(plan.database, plan.corpus).records()  # another job may have done some since the plan was made
        rest = [part for part in plan.parts if not _is_done(part, done.get(part.name))]
        read = partial(
            _read_part,
            corpus=committer.corpus,
            any_length=any_length or not plan.is_unit,
            encode_captions=encode_captions,
            progress=progress or NoProgress(),
        )
        keep_freed_memory()  # blocks of several megabytes come and go: handing each back costs as much as filling it
        at_once = 1 if encode_captions is not None else PARTS_AT_ONCE
        try:
            with closing(_in_order(rest, read, at_once)) as parts:  # left, nobody writes any more
                for fragments, record, failures in parts:
                    committer.commit(fragments, [record], failures)
                    report.parts += 1
                    report.samples += record.samples
                    report.rows += record.rows
                    report.reasons.update(failure.reason.value for failure in failures)
                    if on_part is not None:
                        on_part(record)
        finally:
            committer.tidy()
    report.seconds = time.perf_counter() - start
    return report


def _root(source: str | Path) -> Location:
    """Turn a source into a folder that is there, here or on a store."""
    root = locate(source)
    if isinstance(root, Path):
        root = Path(os.path.abspath(root))  # noqa: PTH100 (links stay links)
        if not root.is_dir():
            raise NotFound(f"{source} is no folder on this machine: name the folder that holds the vectors")
        return root
    if root.protocol in WEB:
        raise BadInput(f"{root}: a web server does not list its files: copy them to a folder or an object store")
    if not root.is_dir():
        raise NotFound(f"no files lie below {root}: name the prefix that holds the vectors")
    return root


def _find(root: Location, vectors: str | None) -> tuple[str, list[Part]]:
    if clip_retrieval.is_clip_retrieval(root):
        if vectors is not None:
            raise BadInput(f"{root} holds one model's vectors, as clip-retrieval writes them: leave --vectors out")
        return CLIP_RETRIEVAL, clip_retrieval.find_parts(root, root.name)
    if datacomp.is_datacomp(root):
        if vectors is None:
            raise BadInput(f"{root} holds the vectors of two models: pass --vectors {' or '.join(datacomp.VECTORS)}")
        return DATACOMP, datacomp.find_parts(root, root.name, vectors)
    raise BadInput(
        f"{root} is laid out neither as clip-retrieval's output (img_emb/, text_emb/, metadata/) nor as DataComp's "
        "metadata (.npz and .parquet side by side): name the folder that holds them"
    )


def _check_same(parts: Sequence[Part]) -> None:
    """Refuse sources that differ in dimension, or in whether captions have vectors."""
    for part in parts:
        if part.image.dimension != parts[0].image.dimension:
            raise BadInput(
                f"{parts[0].image.title} has {parts[0].image.dimension} dimensions, {part.image.title} "
                f"{part.image.dimension}: import them into two corpora"
            )
        if (part.text is None) != (parts[0].text is None):
            first, second = (parts[0], part) if part.text is None else (part, parts[0])
            raise BadInput(
                f"{first.image.path} has vectors of captions beside it and {second.image.path} has none: import them "
                "one by one"
            )


def _is_done(part: Part, record: ShardRecord | None) -> bool:
    if record is None:
        return False
    if not part.is_same_as(record.fingerprint):
        files = ", ".join(str(file) for file in part.files)
        raise BadInput(
            f"part {part.name!r} was imported from {record.location} ({record.size:,} bytes), and {files} "
            f"({part.size:,} bytes) are not the same files: rename their folder, or import them into another corpus"
        )
    return True


class _Stopped(Exception):
    """Another part's fault ended the job."""


# What comes of a part: fragments that are not committed yet, its record, its failures.
_Read = tuple[list[str], ShardRecord, list[Failure]]


def _in_order(parts: Sequence[Part], read: Callable[..., _Read], at_once: int) -> Generator[_Read]:
    """Read parts, some at once, and give what comes of them in their order; a fault stops them all."""
    stop = threading.Event()
    with ThreadPoolExecutor(at_once, thread_name_prefix="tailwag-import") as pool:
        waiting: deque[Future[_Read]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(read, part, stop=stop))
                if len(waiting) == at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
            for future in waiting:
                future.cancel()


def _read_part(
    part: Part,
    *,
    corpus: Corpus,
    any_length: bool,
    encode_captions: EncodeCaptions | None,
    progress: Progress,
    stop: threading.Event,
) -> _Read:
    start = time.perf_counter()
    fingerprint = part.fingerprint()
    if part.tags and not fingerprint.endswith(f" {part.tags}"):
        raise _changed(part, "after they were listed")
    rows = PartRows(part, corpus.schema, any_length=any_length, encode_captions=encode_captions)
    try:
        fragments = write_rows(corpus.database.table_uri(corpus.name), corpus.schema, _told(rows, progress, stop))
    except TailwagError as error:
        if not isinstance(error, StoreDown):  # what was found wrong may be that another file came in between
            _require_unchanged(part, fingerprint)
        raise
    _require_unchanged(part, fingerprint)
    if rows.rows + len(rows.failures) != part.rows:  # the promise of every corpus
        raise TailwagError(
            f"part {part.name!r} has {part.rows:,} rows, of which came {rows.rows:,} and {len(rows.failures):,} "
            "failures: this is a fault of tailwag, and nothing of it was written"
        )
    record = ShardRecord(
        shard=part.name,
        location=str(part.metadata),
        is_tar=False,
        size=part.size,
        fingerprint=fingerprint,
        samples=part.rows,
        rows=rows.rows,
        failures=len(rows.failures),
        cut_captions=0,
        decode_seconds=0.0,
        compute_seconds=time.perf_counter() - start,
        finished=datetime.now(UTC),
    )
    return fragments, record, rows.failures


def _require_unchanged(part: Part, fingerprint: str) -> None:
    """Refuse a part whose files are no longer those of a fingerprint, or no longer there."""
    try:
        now = part.fingerprint()
    except (FileNotFoundError, NotFound):
        now = ""
    if now != fingerprint:
        raise _changed(part, "while they were read")


def _changed(part: Part, when: str) -> TailwagError:
    files = ", ".join(str(file) for file in part.files)
    return TailwagError(f"{files} were changed {when}, and nothing of them was written: give the command again")


def _told(rows: PartRows, progress: Progress, stop: threading.Event) -> Iterator[Any]:
    """Give a part's batches, each read while the one before is written."""
    told, batches = 0, rows.batches()
    with ThreadPoolExecutor(1, thread_name_prefix="tailwag-import-read") as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            if stop.is_set():
                raise _Stopped
            done = rows.rows + len(rows.failures)
            coming = pool.submit(next, batches, None)
            yield batch
            progress.advance(done - told)
            told = done
