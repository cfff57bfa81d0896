"""The corpus: a LanceDB table with one row a pair (image, caption), both vectors, and its space.

Creating, opening at a version, scanning in blocks, taking rows. Reads through `lance`, imports no torch. Not here:
where rows come from (`sources.py`, `job.py`), which shards are done (`ledger.py`), the pictures (`pictures.py`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailwag.errors import BadInput, Caution, NotFound, TailwagError

from .database import METADATA_SPACE, Database, check_corpus_name, first_line
from .scanning import DEFAULT_BLOCK_ROWS, Ahead, Block, Fragment, RowMask, read_blocks
from .space import Space

FORMAT_VERSION = "1"
UNIT_TOLERANCE = 1e-3  # how far from length 1 a stored vector may be; exact counting rests on it
LEAST_SQUARE, MOST_SQUARE = (1 - UNIT_TOLERANCE) ** 2, (1 + UNIT_TOLERANCE) ** 2  # the same of Σxᵢ², in float64

Side = Literal["image", "text"]
SIDES: tuple[Side, ...] = ("image", "text")

_METADATA_FORMAT = b"tailwag:format"


class Corpus:
    """One corpus at one version.

    Made by `Corpus.open` or `Corpus.create`; immutable but for `append`, which moves it to the version it made.

    Examples
    --------
    >>> corpus = Corpus.open("./tailwag-db", "cc3m")              # doctest: +SKIP
    >>> for block in corpus.scan("image"):                        # doctest: +SKIP
    ...     print(block.offset, block.vectors.shape)
    """

    def __init__(self, database: Database, name: str, dataset: Any) -> None:
        metadata = dataset.schema.metadata or {}
        if METADATA_SPACE not in metadata:
            raise BadInput(f"table {name!r} in {database.uri} is no corpus: its schema records no embedding space")
        found = metadata.get(_METADATA_FORMAT, b"").decode()
        if found != FORMAT_VERSION:
            raise BadInput(
                f"corpus {name!r} has format {found or 'unknown'}, this tailwag reads {FORMAT_VERSION}: "
                "use the tailwag that wrote it, or embed again"
            )
        self.database = database
        self.name = name
        self.space = Space.from_json(metadata[METADATA_SPACE])
        self._dataset = dataset

    @classmethod
    def open(cls, database: Database | str | Path, name: str, version: int | str | None = None) -> Corpus:
        """Open a corpus.

        Parameters
        ----------
        database
            The database, or its URI.
        name
            The corpus.
        version
            A version's number or tag; None for the newest.

        Raises
        ------
        NotFound
            When there is no such corpus, or not at that version; names those there are.
        """
        database = database if isinstance(database, Database) else Database(database)
        check_corpus_name(name)
        dataset = database.try_table(name)
        if dataset is None:
            there = database.corpora() if not database.is_local or database.folder.is_dir() else []
            have = f"it has {', '.join(there)}" if there else "it has none: make one with `tailwag embed`, or pass --db"
            raise NotFound(f"no corpus {name!r} in {database.uri}; {have}")
        if version is not None:
            newest = dataset.version
            dataset = database.try_table(name, version)
            if dataset is None:
                raise NotFound(f"corpus {name!r} has no version {version}; its newest is {newest}")
        return cls(database, name, dataset)

    @classmethod
    def create(cls, database: Database | str | Path, name: str, space: Space) -> Corpus:
        """Make an empty corpus of a space.

        Raises
        ------
        BadInput
            When the name is not usable or is taken.
        TailwagError
            When it cannot be made.
        """
        database = database if isinstance(database, Database) else Database(database)
        check_corpus_name(name)
        taken = f"corpus {name!r} exists already in {database.uri}: take another name, or add rows to it"
        if database.has_table(name):
            raise BadInput(taken)
        try:
            dataset = database.make_table(name, corpus_schema(space))
        except BadInput as error:
            raise BadInput(taken) from error
        return cls(database, name, dataset)

    def __len__(self) -> int:
        return self._dataset.count_rows()

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, version {self.version}, {len(self):,} rows, {self.space.title})"

    @property
    def version(self) -> int:
        """The table's version, named in every result."""
        return self._dataset.version

    @property
    def schema(self) -> Any:
        """The table's arrow schema."""
        return self._dataset.schema

    def fragments(self) -> tuple[Fragment, ...]:
        """Give the table's fragments, in the order of their rows."""
        found, offset = [], 0
        for fragment in self._dataset.get_fragments():
            rows, metadata = fragment.count_rows(), fragment.metadata.to_json()
            named = json.dumps([metadata["id"], metadata["files"], metadata["deletion_file"]], sort_keys=True)
            found.append(Fragment(fragment.fragment_id, offset, rows, hashlib.sha256(named.encode()).hexdigest()))
            offset += rows
        return tuple(found)

    def data_files(self) -> set[str]:
        """Name the files that hold this version's rows, as they are called in the table's folder ``data``."""
        return {file.path for fragment in self._dataset.get_fragments() for file in fragment.metadata.files}

    def scan(
        self,
        side: Side = "image",
        block_rows: int = DEFAULT_BLOCK_ROWS,
        *,
        both: bool = False,
        fragments: Sequence[Fragment] | None = None,
        mask: RowMask | None = None,
    ) -> Iterator[Block]:
        """Read vectors in order, without copying them, in a thread that runs a few blocks ahead.

        Parameters
        ----------
        side
            ``"image"`` or ``"text"`` (the caption's vector).
        block_rows
            Rows a block at most; blocks may be shorter.
        both
            Read the other side too, into `Block.other`.
        fragments
            Of `fragments()`, the ones to read; None reads all.
        mask
            The rows to read, of the whole corpus; None reads all.

        Yields
        ------
        Block
            Offset and (n, dimension) float16 vectors.

        Raises
        ------
        BadInput
            When the mask is of another number of rows than the corpus.
        TailwagError
            When a block cannot be read, or fewer rows come than the table holds: a reader that fails never yields a
            smaller count.
        """
        check_side(side)
        if mask is not None and mask.length != len(self):
            raise BadInput(
                f"{mask.length} rows were chosen from, and corpus {self.name!r} has {len(self)} at version "
                f"{self.version}: choose again at this version"
            )
        blocks = read_blocks(
            self._dataset,
            f"corpus {self.name!r} (version {self.version})",
            [side, *(other for other in SIDES if both and other != side)],
            self.space.dimension,
            self.fragments() if fragments is None else fragments,
            block_rows,
            mask,
        )
        with Ahead(blocks) as ahead:
            yield from ahead

    def take_offsets(self, offsets: Sequence[int] | np.ndarray, columns: Sequence[str]) -> Any:
        """Take rows by their position.

        Returns
        -------
        pyarrow.Table
            One row an offset, in the order asked for.
        """
        return self._dataset.take(np.asarray(offsets, dtype=np.int64).tolist(), columns=list(columns))

    def take(self, keys: Sequence[str], columns: Sequence[str]) -> Any:
        """Take rows by key.

        Returns
        -------
        pyarrow.Table
            Columns ``key`` and those asked for; one row a key, in the order asked for.

        Raises
        ------
        NotFound
            When a key is not in the corpus.
        """
        import pyarrow as pa

        wanted = list(dict.fromkeys(["key", *columns]))
        quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in dict.fromkeys(keys))
        if not quoted:
            return pa.schema([self.schema.field(column) for column in wanted]).empty_table()
        table = self._dataset.to_table(columns=wanted, filter=f"key IN ({quoted})")
        position = {key: row for row, key in enumerate(table.column("key").to_pylist())}
        missing = [key for key in keys if key not in position]
        if missing:
            raise NotFound(f"corpus {self.name!r} has no key {missing[0]!r}" + _and_others(len(missing) - 1))
        return table.take([position[key] for key in keys])

    def column(self, name: str) -> Any:
        """Read one column whole, as a `pyarrow.ChunkedArray`, in the order of `scan`."""
        try:
            return self._dataset.to_table(columns=[name]).column(0)
        except (OSError, ValueError) as error:
            raise TailwagError(
                f"column {name!r} of corpus {self.name!r} cannot be read: {first_line(error)}"
            ) from error

    def column_pieces(self, name: str) -> Iterator[np.ndarray]:
        """Read one column of numbers piece by piece, in the order of `scan`."""
        try:
            for batch in self._dataset.to_batches(columns=[name], batch_size=1 << 20):
                yield batch.column(0).to_numpy(zero_copy_only=False)
        except (OSError, ValueError) as error:
            raise TailwagError(
                f"column {name!r} of corpus {self.name!r} cannot be read: {first_line(error)}"
            ) from error

    def text_pieces(self, name: str, rows: int = 1 << 16) -> Iterator[Any]:
        """Read one column of texts piece by piece, as `pyarrow.Array`, in the order of `scan`.

        Raises
        ------
        TailwagError
            When it cannot be read, or fewer rows come than the table holds.
        """
        read = 0
        try:
            for batch in self._dataset.to_batches(columns=[name], batch_size=rows):
                read += len(batch)
                yield batch.column(0)
        except (OSError, ValueError) as error:
            raise TailwagError(
                f"column {name!r} of corpus {self.name!r} cannot be read: {first_line(error)}"
            ) from error
        if read != len(self):
            raise TailwagError(
                f"column {name!r} of corpus {self.name!r} gave {read:,} of {len(self):,} rows: read it again"
            )

    def keys(self, condition: str) -> list[str]:
        """Give the keys of the rows that fulfil an SQL condition."""
        return self._dataset.to_table(columns=["key"], filter=condition).column(0).to_pylist()

    def offsets(self, condition: str) -> np.ndarray:
        """Give the positions of the rows that fulfil an SQL condition on the columns, ascending.

        Raises
        ------
        BadInput
            For a condition that cannot be evaluated.
        """
        try:
            found = self._dataset.to_table(columns=["_rowoffset"], filter=condition).column(0)
        except (OSError, ValueError) as error:
            message = first_line(error).removeprefix("Invalid user input: ").partition(", /")[0]
            raise BadInput(
                f"the condition {condition!r} cannot be evaluated on corpus {self.name!r}: {message}"
            ) from error
        return np.sort(found.to_numpy().astype(np.int64))

    def count_rows(self, condition: str) -> int:
        """Count the rows that fulfil an SQL condition on the columns."""
        return self._dataset.count_rows(condition)

    def delete(self, condition: str) -> None:
        """Delete the rows that fulfil an SQL condition; moves this corpus to the version that made."""
        self._dataset.delete(condition)

    def append(self, rows: Any) -> None:
        """Add rows in one commit; moves this corpus to the version it made.

        Parameters
        ----------
        rows
            A `pyarrow.Table` with the columns of `corpus_schema`.

        Raises
        ------
        BadInput
            When a vector is not finite or not of unit length; names the first such key.
        """
        import lance

        rows = rows.select(self.schema.names).cast(self.schema)
        keys = rows.column("key")
        for side in SIDES:
            chunks = rows.column(side).combine_chunks()
            vectors = chunks.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.space.dimension)
            bad = np.flatnonzero(~is_unit(vectors))
            if len(bad):
                raise BadInput(
                    f"the {side} vector of {keys[int(bad[0])].as_py()!r} is not finite or not of unit length"
                    + _and_others(len(bad) - 1)
                )
        self._dataset = lance.write_dataset(rows, self.database.table_uri(self.name), mode="append", schema=self.schema)

    def commit_fragments(self, fragments: Sequence[str]) -> None:
        """Add fragments that were written and not yet committed; moves this corpus to the version that made.

        Parameters
        ----------
        fragments
            `lance.FragmentMetadata` as JSON.
        """
        import lance

        added = [lance.FragmentMetadata.from_json(fragment) for fragment in fragments]
        self._dataset = lance.LanceDataset.commit(
            self._dataset, lance.LanceOperation.Append(added), read_version=self._dataset.version
        )

    def compaction_tasks(self, target_rows: int) -> list[tuple[Any, int]]:
        """Give Lance's tasks that would put small fragments together, each with the bytes that it would rewrite."""
        from lance.optimize import Compaction

        plan = Compaction.plan(self._dataset, {"target_rows_per_fragment": target_rows})
        tasks = plan.tasks
        return [
            (task, sum(file.file_size_bytes or 0 for fragment in task.fragments for file in fragment.files))
            for task in tasks
        ]

    def rewrite(self, task: Any) -> Any:
        """Do one of `compaction_tasks`, of this or an earlier version; it shows once committed."""
        return task.execute(self._dataset)

    def commit_rewritten(self, rewritten: Sequence[Any]) -> None:
        """Put what `rewrite` gave in the old fragments' place; moves this corpus to the version that made."""
        from lance.optimize import Compaction

        Compaction.commit(self._dataset, list(rewritten))

    def move_to_newest(self) -> None:
        """Move this corpus to its newest version, which another process may have made."""
        self._dataset = Corpus.open(self.database, self.name)._dataset

    def versions(self) -> list[tuple[int, datetime, tuple[str, ...]]]:
        """Give the versions there are, the oldest first: number, when it was made, tags."""
        tags: dict[int, list[str]] = {}
        for name, tag in self._dataset.tags.list().items():
            tags.setdefault(tag["version"], []).append(name)
        listed: list[Any] = self._dataset.versions()
        return [(each["version"], each["timestamp"], tuple(sorted(tags.get(each["version"], ())))) for each in listed]

    def tag(self, name: str) -> None:
        """Give this version a name, by which it can be opened and which keeps it from being dropped.

        Raises
        ------
        BadInput
            When the name is taken or not usable.
        """
        try:
            self._dataset.tags.create(name, self.version)
        except (ValueError, OSError) as error:
            raise BadInput(f"version {self.version} cannot be called {name!r}: {first_line(error)}") from error

    def untag(self, name: str) -> None:
        """Take a name away; its version stays, and may be dropped from now on.

        Raises
        ------
        NotFound
            When no version has that name.
        """
        try:
            self._dataset.tags.delete(name)
        except (ValueError, OSError) as error:
            raise NotFound(f"no version of corpus {self.name!r} is called {name!r}") from error

    def remove_unreferenced(self, older_than: timedelta) -> int:
        """Delete versions older than that, and every data file that no version refers to; give the bytes removed.

        Only for the one writer: a file that another is about to commit looks the same.

        Warns
        -----
        Caution
            When files could not be deleted.
        """
        stats = self._dataset.cleanup_old_versions(
            older_than=older_than, delete_unverified=True, error_if_tagged_old_versions=False
        )
        if failed := stats.failed_deletes:
            warnings.warn(
                f"{failed:,} file{'s' if failed > 1 else ''} of corpus {self.name!r} that nothing refers to could not "
                "be deleted: the next job tries again",
                Caution,
                stacklevel=2,
            )
        return stats.bytes_removed


def corpus_schema(space: Space) -> Any:
    """Give the arrow schema of a corpus of a space, with the space in its metadata."""
    import pyarrow as pa

    vector = pa.list_(pa.float16(), space.dimension)
    return pa.schema(
        [
            pa.field("key", pa.string(), False),
            pa.field("shard", pa.string(), False),
            pa.field("caption", pa.string(), False),
            pa.field("url", pa.string(), False),
            pa.field("width", pa.int32(), False),
            pa.field("height", pa.int32(), False),
            pa.field("sha256", pa.string(), False),
            pa.field("u", pa.float32(), False),
            pa.field("label", pa.string(), True),
            pa.field("image", vector, False),
            pa.field("text", vector, False),
        ],
        metadata={METADATA_SPACE: space.to_json(), _METADATA_FORMAT: FORMAT_VERSION},
    )


def vector_column(vectors: np.ndarray) -> Any:
    """Turn (n, d) float16 vectors into an arrow column of fixed-size lists, without copying."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])


def sampling_number(key: str) -> float:
    """Give the number in [0, 1) by which rows are sampled: ``u < q`` is a sample of rate q, the same on every machine.

    Returns
    -------
    float
        The first 24 bits of the key's sha256 over 2²⁴, so that float32 holds it exactly and it never rounds up to 1.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:3], "big") / (1 << 24)


def is_unit(vectors: np.ndarray) -> np.ndarray:
    """Say which vectors are finite and within `UNIT_TOLERANCE` of unit length.

    Parameters
    ----------
    vectors
        (n, d) float16.

    Returns
    -------
    numpy.ndarray
        (n,) bool.
    """
    # Float32 errs by far less than a hundredth of the tolerance; what lies that near is settled by float64, which is
    # exact for float16 numbers, so that every way of looking gives the same answer. nan and inf compare as False.
    wide = vectors.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("ij,ij->i", wide, wide, dtype=np.float32)
        fine = (squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE)
        near = np.abs(np.abs(squares - 1) - 2 * UNIT_TOLERANCE) < UNIT_TOLERANCE / 5
    exact = np.square(vectors[near].astype(np.float64)).sum(axis=1)
    fine[near] = (exact >= LEAST_SQUARE) & (exact <= MOST_SQUARE)
    return fine


def check_side(side: str) -> None:
    """Refuse a side that has no vectors.

    Raises
    ------
    BadInput
        When it is neither ``image`` nor ``text``.
    """
    if side not in SIDES:
        raise BadInput(f"no side {side!r}: vectors are stored for {' and '.join(SIDES)}")


def _and_others(count: int) -> str:
    return f" (and {count} others)" if count > 0 else ""
