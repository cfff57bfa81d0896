"""What is recorded beside a FAISS index, where it lies, and whether it still belongs to the corpus.

An index lives in `<database>/<corpus>.indices/<side>/`: `manifest.json`, which names the file with the index. The
manifest is replaced last and at once, so that there is always one whole index. Not here: FAISS (`index.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from tailwag.errors import BadInput, StaleIndex, TailwagError

from ..embed.corpus import SIDES, Corpus, Side
from ..embed.space import Space
from .index_plan import IndexPlan

INDEX_FORMAT = "1"
_MANIFEST = "manifest.json"
# Hashing a gigabyte takes about a second; above it the check would take longer than the search, and size must do.
_HASHED_BYTES = 1 << 30
# Rows that are looked at to see that the corpus is the one that was indexed.
_WITNESSES = 16


@dataclass(frozen=True)
class Manifest:
    """The record of one index.

    Attributes
    ----------
    corpus, version, side
        What was indexed.
    witnesses
        Digest of a few rows, since a corpus that was made anew may come to the same version.
    space
        The corpus's embedding space.
    plan
        Kind, rows and parameters.
    faiss
        FAISS's version.
    created
        When, in UTC, ISO 8601.
    file, bytes, sha256
        The file with the index.
    recall, recall_k, recall_queries
        Which share of the exact k nearest rows it found, over how many queries; each query is the vector of the other
        side of some pair (captions for an image index), so that it is as hard as what people ask.
    """

    corpus: str
    version: int
    side: Side
    witnesses: str
    space: Space
    plan: IndexPlan
    faiss: str
    created: str
    file: str
    bytes: int
    sha256: str
    recall: float
    recall_k: int
    recall_queries: int

    def to_json(self) -> str:
        """Write all fields as JSON."""
        return json.dumps({"format": INDEX_FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index's folder.

        Raises
        ------
        BadInput
            When it is damaged or of another format.
        """
        path = folder / _MANIFEST
        try:
            values = json.loads(path.read_text("utf-8"))
            found = values["format"]
            if found == INDEX_FORMAT:
                values["space"] = Space(**values["space"])
                values["plan"] = IndexPlan(**values["plan"])
                return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{path} cannot be read ({type(error).__name__}: {error}): build the index again, or pass --exact"
            ) from error
        raise BadInput(
            f"{path} has format {found}, this tailwag reads {INDEX_FORMAT}: build the index again, or pass --exact"
        )

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest at once; from then on the index it names is the index."""
        unfinished = folder / f".{_MANIFEST}.{os.getpid()}"
        unfinished.write_text(self.to_json(), "utf-8")
        unfinished.replace(folder / _MANIFEST)

    def check(self, corpus: Corpus, folder: Path) -> None:
        """Make sure that the index belongs to this corpus at this version, and that its file is whole.

        Raises
        ------
        SpaceMismatch
            When the corpus is of another space.
        StaleIndex
            When the corpus is at another version, or is not the one that was indexed.
        TailwagError
            When the file is missing or damaged.
        """
        again = f"run `{rebuild_command(corpus, self.side)}`, or pass --exact"
        corpus.space.require_same(
            self.space,
            here=f"corpus {corpus.name!r} holds",
            there=f"its {self.side} index was built from",
            remedy=again,
        )
        if self.version != corpus.version:
            raise StaleIndex(
                f"the {self.side} index of {corpus.name!r} was built for version {self.version}, the corpus is at "
                f"version {corpus.version}: {again}"
            )
        if self.corpus != corpus.name or self.plan.rows != len(corpus) or self.witnesses != witnesses(corpus):
            raise StaleIndex(f"the {self.side} index of {corpus.name!r} was built for other rows than it has: {again}")
        path = folder / self.file
        try:
            size = path.stat().st_size
            whole = size == self.bytes and (size > _HASHED_BYTES or file_sha256(path) == self.sha256)
        except OSError as error:
            raise TailwagError(f"index file {path} cannot be read ({error.strerror}): {again}") from error
        if not whole:
            raise TailwagError(f"index file {path} is damaged ({size:,} bytes, written with {self.bytes:,}): {again}")


@dataclass(frozen=True)
class IndexDescription:
    """One index of a corpus, for people.

    Attributes
    ----------
    side, kind, version, rows, bytes, created, recall, recall_k
        From its manifest; empty or 0 when that cannot be read.
    current
        Whether a search would use it.
    problem
        Why not, in one line; empty when it would.
    """

    side: Side
    kind: str
    version: int
    rows: int
    bytes: int
    created: str
    recall: float
    recall_k: int
    current: bool
    problem: str


def index_folder(corpus: Corpus, side: Side) -> Path:
    """Say where a side's index lives. The name does not end in `.lance`, so it is never taken for a table.

    Raises
    ------
    BadInput
        When the database is on an object store.
    """
    return corpus.database.folder / f"{corpus.name}.indices" / side


def has_index(corpus: Corpus, side: Side) -> bool:
    """Say whether there is an index of a side, current or not. On an object store there is none."""
    return corpus.database.is_local and (index_folder(corpus, side) / _MANIFEST).exists()


def describe_indices(corpus: Corpus) -> list[IndexDescription]:
    """List the indices of a corpus, and what is wrong with those that a search would refuse."""
    described = []
    for side in SIDES:
        if not has_index(corpus, side):
            continue
        folder = index_folder(corpus, side)
        manifest, problem = None, ""
        try:
            manifest = Manifest.read(folder)
            manifest.check(corpus, folder)
        except TailwagError as error:
            problem = str(error)
        if manifest is None:
            described.append(IndexDescription(side, "", 0, 0, 0, "", 0.0, 0, False, problem))
            continue
        described.append(
            IndexDescription(
                side=side,
                kind=manifest.plan.title,
                version=manifest.version,
                rows=manifest.plan.rows,
                bytes=manifest.bytes,
                created=manifest.created,
                recall=manifest.recall,
                recall_k=manifest.recall_k,
                current=not problem,
                problem=problem,
            )
        )
    return described


def rebuild_command(corpus: Corpus, side: Side) -> str:
    """Give the command that builds an index anew."""
    return f"tailwag index build {corpus.name}" + ("" if side == "image" else f" --side {side}")


def witnesses(corpus: Corpus) -> str:
    """Digest the keys of a few rows, evenly spread, the first and the last among them."""
    offsets = np.unique(np.linspace(0, len(corpus) - 1, _WITNESSES).astype(np.int64)) if len(corpus) else []
    keys = corpus.take_offsets(offsets, ["key", "sha256"]).to_pylist() if len(corpus) else []
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
