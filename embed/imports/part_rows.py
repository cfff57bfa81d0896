"""A part's rows on their way into the corpus: each pair becomes a row of the table, or a failure with its reason.

Not here: writing them (`job.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from tailwag.errors import BadInput, TailwagError

from ..corpus import vector_column
from ..failures import Failure, Reason
from .columns import Columns, first_of_each, not_utf8
from .normalising import LEAST_LENGTH, LENGTH_TOLERANCE, normalise
from .parts import Part
from .sampling import sampling_numbers

BLOCK_ROWS = 8192

# Turns captions into (n, dimension) float16 vectors.
EncodeCaptions = Callable[[list[str]], np.ndarray]


class PartRows:
    """Reads one part.

    Parameters
    ----------
    part
        The part.
    schema
        The corpus's arrow schema.
    any_length
        Take vectors of any length for their direction; otherwise one that is not of unit length is a failure.
    encode_captions
        Makes the captions' vectors where the set has none; None where it has.

    Attributes
    ----------
    failures
        Of what has been read so far.
    rows
        How many rows have been given so far.
    """

    def __init__(
        self, part: Part, schema: Any, *, any_length: bool = False, encode_captions: EncodeCaptions | None = None
    ) -> None:
        self._part = part
        self._schema = schema
        self._any_length = any_length
        self._encode_captions = encode_captions
        self.failures: list[Failure] = []
        self.rows = 0
        self._is_first = True

    def batches(self) -> Iterator[Any]:
        """Read the part, a few thousand rows at a time.

        Yields
        ------
        pyarrow.RecordBatch
            Rows of the corpus's schema.

        Raises
        ------
        TailwagError
            When a file cannot be read to its end.
        BadInput
            When most of the first vectors of a part that should be of unit length are not.
        """
        start = 0
        with ExitStack() as stack:
            columns = stack.enter_context(closing(Columns(self._part.metadata)))
            keys, unnamed, repeated = self._keys(columns)
            image = stack.enter_context(self._part.image.reader())
            text = stack.enter_context(self._part.text.reader()) if self._part.text is not None else None
            for said in columns.blocks(BLOCK_ROWS):
                count = len(said["caption"])
                stop = start + count
                if stop > self._part.rows:
                    break
                batch = self._block(
                    keys.slice(start, count),
                    unnamed[start:stop],
                    repeated[start:stop],
                    said,
                    image(count),
                    text(count) if text is not None else None,
                )
                start = stop
                yield batch
        if start != self._part.rows:
            raise TailwagError(f"{self._part.metadata} gave other rows than it says it has: fetch it again")

    def _keys(self, columns: Columns) -> tuple[Any, np.ndarray, np.ndarray]:
        """Give the corpus's keys, which rows have none of their own, and which have one that came before."""
        import pyarrow as pa
        import pyarrow.compute as pc

        own = columns.keys()
        if len(own) != self._part.rows:
            raise TailwagError(f"{columns.path} gave {len(own):,} of {self._part.rows:,} rows: fetch it again")
        broken = not_utf8(own)
        if pa.types.is_binary(own.type):
            own = pa.array([(value or b"").decode("utf-8", "backslashreplace") for value in own.to_pylist()])
        unnamed = pc.equal(pc.fill_null(pc.utf8_length(own), 0), 0).to_numpy(zero_copy_only=False)
        if unnamed.any():  # a failure has a key too: the row's number in the part
            numbers = pa.array([f"#{row}" if none else None for row, none in enumerate(unnamed)], pa.string())
            own = pc.if_else(pa.array(unnamed), numbers, own)
        keys = pc.binary_join_element_wise(self._part.name, own, "/")
        return keys, unnamed | broken, ~first_of_each(own)

    def _block(
        self,
        keys: Any,
        unnamed: np.ndarray,
        repeated: np.ndarray,
        said: dict[str, Any],
        image: np.ndarray,
        text: np.ndarray | None,
    ) -> Any:
        import pyarrow as pa

        fine = np.ones(len(keys), dtype=bool)

        def refuse(rows: np.ndarray, reason: Reason, detail: Callable[[int], str]) -> None:
            for row in np.flatnonzero(rows & fine).tolist():
                self.failures.append(Failure(keys[row].as_py(), self._part.name, reason, detail(row)))
            fine[rows] = False

        refuse(unnamed, Reason.NO_KEY, lambda _: "the metadata names no key, or one that is not UTF-8")
        refuse(repeated, Reason.DUPLICATE_KEY, lambda _: "the same key came before in this part")
        for column, texts in said.items():
            if column in ("caption", "url", "sha256", "label"):
                bad = not_utf8(texts)
                refuse(bad, Reason.CAPTION_NOT_UTF8, lambda _, column=column: f"the {column} is not UTF-8")
                if pa.types.is_binary(texts.type):
                    said[column] = pa.array(
                        [None if value is None else value.decode("utf-8", "replace") for value in texts.to_pylist()],
                        pa.string(),
                    )
        if text is None:
            assert self._encode_captions is not None
            text = self._encode_captions(said["caption"].to_pylist())
        captions = self._part.text.title if self._part.text is not None else "the model"
        sides = {
            "image": self._unit(image, self._part.image.title, "image", refuse),
            "text": self._unit(text, captions, "caption", refuse),
        }
        chosen = None if fine.all() else pa.array(np.flatnonzero(fine))
        if chosen is not None:
            keys, said = keys.take(chosen), {name: column.take(chosen) for name, column in said.items()}
            sides = {side: vectors[fine] for side, vectors in sides.items()}
        columns = {
            "key": keys,
            "shard": pa.repeat(pa.scalar(self._part.name), len(keys)),
            **said,
            "u": pa.array(sampling_numbers(keys)),
            **{side: vector_column(vectors) for side, vectors in sides.items()},
        }
        self._is_first = False
        self.rows += len(keys)
        return pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)

    def _unit(
        self,
        vectors: np.ndarray,
        title: str,
        side: str,
        refuse: Callable[[np.ndarray, Reason, Callable[[int], str]], None],
    ) -> np.ndarray:
        unit, lengths = normalise(vectors)
        finite = np.isfinite(lengths)
        refuse(~finite, Reason.EMBEDDING_NOT_FINITE, lambda _: f"the stored {side} vector is not finite")
        none = finite & (lengths < LEAST_LENGTH)
        refuse(none, Reason.EMBEDDING_ZERO, lambda _: f"the stored {side} vector has no length")
        if not self._any_length:
            off = finite & ~none & (np.abs(lengths - 1) > LENGTH_TOLERANCE)
            if self._is_first and 2 * np.count_nonzero(off) > len(off):
                raise BadInput(
                    f"{title} holds vectors of length {float(np.median(lengths[off])):.3g}, not 1: pass --any-length "
                    "if they were never brought to unit length"
                )
            refuse(
                off, Reason.EMBEDDING_OFF_UNIT, lambda row: f"the stored {side} vector has length {lengths[row]:.4g}"
            )
        return unit
