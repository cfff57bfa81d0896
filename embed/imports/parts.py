"""A part: the files whose rows belong together, row by row, taken in and committed as one.

Pairing them is each layout's own work (`clip_retrieval.py`, `datacomp.py`); here is what all parts have in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tailwag.errors import BadInput

from .matrices import Matrix

_ENDS = 64 << 10  # bytes at either end of a file by which it is recognised


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
    metadata: Path

    @property
    def rows(self) -> int:
        """How many pairs it holds."""
        return self.image.rows

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files, each once."""
        matrices = [self.image] + ([self.text] if self.text is not None else [])
        return tuple(dict.fromkeys([*(matrix.path for matrix in matrices), self.metadata]))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.files)

    def fingerprint(self) -> str:
        """Recognise the part again: a digest of its files' sizes and of both ends of each."""
        digest = hashlib.sha256()
        for path in self.files:
            size = path.stat().st_size
            digest.update(f"{size} ".encode())
            with path.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, size - _ENDS))
                digest.update(file.read(_ENDS))
        return digest.hexdigest()


def check_parts(parts: Sequence[Part], faults: Iterable[str] = ()) -> None:
    """Refuse parts whose files do not fit together, before anything is written; all of them are looked at.

    Parameters
    ----------
    parts
        What was paired.
    faults
        What was found wrong before.

    Raises
    ------
    BadInput
        Naming the files: other numbers of rows, other dimensions, a parquet that cannot be read.
    """
    found = list(faults)
    for part in parts:
        try:
            rows = parquet_rows(part.metadata)
        except BadInput as error:
            found.append(str(error))
            continue
        counted = {f"{part.image.title}": part.image.rows, f"{part.metadata}": rows}
        if part.text is not None:
            counted[part.text.title] = part.text.rows
        if len(set(counted.values())) > 1:
            listed = ", ".join(f"{title} has {count:,}" for title, count in counted.items())
            found.append(f"their rows do not pair: {listed}")
    matrices = [matrix for part in parts for matrix in (part.image, part.text) if matrix is not None]
    other = [matrix for matrix in matrices if matrix.dimension != matrices[0].dimension]
    if other:
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        found.append(
            f"one set has vectors of one dimension, and {matrices[0].title} has {matrices[0].dimension}, "
            f"{other[0].title} {other[0].dimension}{more}"
        )
    refuse(found)


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


def parquet_rows(path: Path) -> int:
    """Give how many rows a parquet file says it has.

    Raises
    ------
    BadInput
        When it is cut or no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        message = str(error).strip().splitlines()[0]
        raise BadInput(f"{path} cannot be read as parquet ({message[:150]}): fetch it again") from error
