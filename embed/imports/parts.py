"""A part: the files whose rows belong together, row by row, taken in and committed as one.

Pairing them is each layout's own work (`clip_retrieval.py`, `datacomp.py`); here is what all parts have in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tailwag.errors import BadInput

from ..storage import Location, StorePath, open_ends, read_ends, size_of
from ..store_sources import REQUESTS_AT_ONCE
from .matrices import Matrix

Members = TypeVar("Members")


@dataclass(frozen=True)
class Part:
    """One part of a set of released vectors.

    Attributes
    ----------
    name
        Unique in the corpus; its rows' shard and the beginning of their keys: ``laion400m/3``.
    image
        The images' vectors.
    text
        The captions' vectors, or None where the set has none.
    metadata
        The parquet file with a row for each vector.
    """

    name: str
    image: Matrix
    text: Matrix | None
    metadata: Location

    @property
    def rows(self) -> int:
        """How many pairs it holds."""
        return self.image.rows

    @property
    def files(self) -> tuple[Location, ...]:
        """Its files, each once."""
        matrices = [self.image] + ([self.text] if self.text is not None else [])
        return tuple(dict.fromkeys([*(matrix.path for matrix in matrices), self.metadata]))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(size_of(file) for file in self.files)

    @property
    def tags(self) -> str:
        """A store's tags for the contents of its files, as they were listed; empty where a file has none."""
        return _joined([file.etag if isinstance(file, StorePath) else "" for file in self.files])

    def fingerprint(self) -> str:
        """Recognise the part again: a digest of its files' sizes and of both ends of each.

        On a store the digest is the same, and the store's tags for the contents follow it after a blank.
        """
        ends = [read_ends(path) for path in self.files]
        digest = hashlib.sha256()
        for each in ends:
            digest.update(f"{each.size} ".encode() + each.first + each.last)
        return f"{digest.hexdigest()} {_joined([each.etag for each in ends])}".rstrip()

    def is_same_as(self, fingerprint: str) -> bool:
        """Say whether this is the part of an earlier fingerprint; as for shards, equal tags spare reading anything."""
        digest, _, tags = fingerprint.partition(" ")
        return (tags != "" and self.tags == tags) or self.fingerprint().partition(" ")[0] == digest


def _joined(tags: Sequence[str]) -> str:
    return ",".join(tags) if all(tags) else ""


def open_parts(
    paired: Collection[Members], open_part: Callable[[Members], Part], faults: Sequence[str] = ()
) -> list[Part]:
    """Make parts of what was paired, and refuse them before anything is written where files do not fit together.

    Parameters
    ----------
    paired
        The members of each part, in order.
    open_part
        Makes one part, and raises `BadInput` where it cannot; called for several at a time.
    faults
        What was found wrong before.

    Raises
    ------
    BadInput
        Naming the files: one that cannot be read, other numbers of rows, other dimensions. All are looked at first.
    """

    def opened(members: Members) -> tuple[Part | None, str]:
        try:
            part = open_part(members)
            return part, _misfit(part)
        except BadInput as error:
            return None, str(error)

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:  # each asks a store a few times
        outcomes = list(pool.map(opened, paired))
    found = [*faults, *(fault for _, fault in outcomes if fault)]
    parts = [part for part, _ in outcomes if part is not None]
    matrices = [matrix for part in parts for matrix in (part.image, part.text) if matrix is not None]
    other = [matrix for matrix in matrices if matrix.dimension != matrices[0].dimension]
    if other:
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        found.append(
            f"one set has vectors of one dimension, and {matrices[0].title} has {matrices[0].dimension}, "
            f"{other[0].title} {other[0].dimension}{more}"
        )
    refuse(found)
    return parts


def _misfit(part: Part) -> str:
    """Say which of a part's files have other numbers of rows; nothing where all have one."""
    counted = {part.image.title: part.image.rows, f"{part.metadata}": parquet_rows(part.metadata)}
    if part.text is not None:
        counted[part.text.title] = part.text.rows
    if len(set(counted.values())) == 1:
        return ""
    return f"their rows do not pair: {', '.join(f'{title} has {count:,}' for title, count in counted.items())}"


def refuse(faults: Sequence[str]) -> None:
    """Raise the first few of what was found wrong as one error; nothing where nothing was found.

    Raises
    ------
    BadInput
        When there are any.
    """
    if faults:
        more = f"; and {len(faults) - 3:,} more such faults" if len(faults) > 3 else ""
        raise BadInput("; ".join(faults[:3]) + more)


def parquet_rows(path: Location) -> int:
    """Give how many rows a parquet file says it has.

    Raises
    ------
    BadInput
        When it is cut or no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_ends(path) as file:
            return pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        message = str(error).strip().splitlines()[0]
        raise BadInput(f"{path} cannot be read as parquet ({message[:150]}): fetch it again") from error
