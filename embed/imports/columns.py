"""What a set's parquet says of each pair, as the corpus's columns: keys, captions, addresses, sizes, labels.

Columns are known by the names that clip-retrieval, img2dataset, LAION-400M and DataComp give them. Not here: vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, TailwagError

from ..database import first_line
from ..ranged_reading import Range, open_ranged
from ..storage import Location, open_ends

# The first that is there is taken; letters' case does not matter.
_NAMES = {
    "key": ("image_path", "key", "uid", "sample_id"),
    "caption": ("caption", "text"),
    "url": ("url",),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "sha256": ("sha256",),
    "label": ("label_name", "label", "cls"),
}
_NUMBERS = ("width", "height")
# Columns are read by turns, and of each up to three blocks of a store's file are in memory.
_BLOCK_BYTES = 2 << 20
_BUFFER_BYTES = 256 << 10


class Columns:
    """The columns of one parquet file.

    Parameters
    ----------
    path
        The file, here or on a store.

    Raises
    ------
    BadInput
        When it has no column of keys.
    StoreFailure
        When the store refuses, or does not answer; reading raises it too.

    Attributes
    ----------
    found
        The file's own name of each corpus column that it has.
    """

    def __init__(self, path: Location) -> None:
        self.path = path
        self._file = _open(path)
        there = {name.lower(): name for name in reversed(self._file.schema_arrow.names)}
        self.found = {
            ours: there[next(name for name in names if name in there)]
            for ours, names in _NAMES.items()
            if any(name in there for name in names)
        }
        if "key" not in self.found:
            raise BadInput(
                f"{path} has no column of keys ({', '.join(_NAMES['key'])}), only {', '.join(there.values())}: "
                "its rows could not be named"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close(force=True)

    def keys(self) -> Any:
        """Read all keys: a `pyarrow.Array` of strings, null where there is none."""
        import pyarrow as pa

        try:
            column = self._file.read(columns=[self.found["key"]]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise TailwagError(f"{self.path} cannot be read: {first_line(error)}: fetch it again") from error
        return self._text(column.combine_chunks(), "key")

    def blocks(self, rows: int) -> Iterator[dict[str, Any]]:
        """Read all columns but the keys, some rows at a time.

        Yields
        ------
        dict[str, pyarrow.Array]
            ``caption``, ``url``, ``width``, ``height``, ``sha256``, ``label``: of equal lengths, at most `rows`; as
            the corpus has them, with empty texts and zeros for what the file does not say. Texts that are not UTF-8
            come as binary, for the caller to refuse row by row.

        Raises
        ------
        TailwagError
            When the file cannot be read.
        """
        import pyarrow as pa

        wanted = [name for ours, name in self.found.items() if ours != "key"]
        batches = self._file.iter_batches(rows, columns=wanted or [self.found["key"]])
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException) as error:
                raise TailwagError(f"{self.path} cannot be read: {first_line(error)}: fetch it again") from error
            if batch is None:
                return
            yield {ours: self._column(batch, ours) for ours in _NAMES if ours != "key"}

    def _column(self, batch: Any, ours: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if ours not in self.found:
            if ours == "label":
                return pa.nulls(len(batch), pa.string())
            return pa.repeat(pa.scalar(0, pa.int32()) if ours in _NUMBERS else pa.scalar("", pa.string()), len(batch))
        column = batch.column(self.found[ours])
        if ours in _NUMBERS:
            return self._numbers(column, ours)
        text = self._text(column, ours)
        return text if ours == "label" else pc.fill_null(text, b"" if pa.types.is_binary(text.type) else "")

    def _numbers(self, column: Any, ours: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            if pa.types.is_floating(column.type):  # pandas writes whole numbers so where some are missing
                column = pc.if_else(pc.is_finite(column), column, None)
            return pc.fill_null(column.cast(pa.int32()), 0)
        except pa.ArrowException as error:
            raise BadInput(
                f"{self.path}: column {self.found[ours]!r} holds no pixels ({first_line(error)[:100]})"
            ) from error

    def _text(self, column: Any, ours: str) -> Any:
        """Give a column as strings, or as binary where something in it is not UTF-8."""
        import pyarrow as pa

        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        if pa.types.is_nested(kind):
            raise BadInput(f"{self.path}: column {self.found[ours]!r} holds {kind}, not texts")
        try:
            text = column.cast(pa.string())
            text.validate(full=True)
        except pa.ArrowInvalid:
            return column.cast(pa.binary())
        return text


def _open(path: Location) -> Any:
    """Open a parquet file; of one on a store the columns that are read are fetched ahead, block by block."""
    import pyarrow.parquet as pq

    if isinstance(path, Path):
        return pq.ParquetFile(path, pre_buffer=False)
    path = path.known()
    with open_ends(path) as ends:
        metadata = pq.read_metadata(ends)
    file = open_ranged(path, _BLOCK_BYTES, _chunks_of_columns(metadata))
    return pq.ParquetFile(file, metadata=metadata, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _chunks_of_columns(metadata: Any) -> list[list[Range]]:
    """Say where each column's pages lie, row group by row group."""
    streams: list[list[Range]] = [[] for _ in range(metadata.num_columns)]
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for number, stream in enumerate(streams):
            chunk = group.column(number)
            start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            stream.append((start, start + chunk.total_compressed_size))
    return streams


def first_of_each(keys: Any) -> np.ndarray:
    """Say which keys come for the first time.

    Parameters
    ----------
    keys
        `pyarrow.Array` without nulls.

    Returns
    -------
    numpy.ndarray
        (n,) bool.
    """
    # The codes are given in the order in which values appear, so a first one is above all before it.
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    highest = np.maximum.accumulate(codes) if len(codes) else codes
    return codes > np.concatenate([np.array([-1], codes.dtype), highest[:-1]])


def not_utf8(texts: Any) -> np.ndarray:
    """Say which entries of a binary `pyarrow.Array` are not UTF-8: (n,) bool; none of an array of strings."""
    import pyarrow as pa

    if not pa.types.is_binary(texts.type):
        return np.zeros(len(texts), dtype=bool)

    def fails(value: bytes | None) -> bool:
        try:
            (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            return True
        return False

    return np.array([fails(value) for value in texts.to_pylist()], dtype=bool)
