"""Tables of a user's files as they stand: CSV and parquet as columns of cells, and cells read as text and numbers.

Not here: what the columns mean (`tidy.py`, `count_tables.py`, `clip_benchmark.py`).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound

from .points import Exclusion

UNREAD_COLUMN = "a column that is not read"


@dataclass(frozen=True)
class RawTable:
    """A file's columns, cell by cell: text in a CSV, whatever the column holds in parquet; empty cells are ``""``.

    Attributes
    ----------
    path
        The file.
    columns
        Cells by column name.
    rows
        How many there are.
    """

    path: Path
    columns: dict[str, list[Any]]
    rows: int

    def require(self, names: Sequence[str], what: str) -> None:
        """Refuse a table without these columns.

        Raises
        ------
        BadInput
            Naming those that are missing and those that are there.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise BadInput(
                f"{self.path} has no column {', '.join(map(repr, missing))}: {what} has {', '.join(names)}; "
                f"there are {', '.join(map(repr, self.columns)) or 'none'}"
            )

    def unread(self, known: Sequence[str]) -> tuple[Exclusion, ...]:
        """List the columns that nobody reads; refuse one that looks like a known one misspelt.

        Raises
        ------
        BadInput
            Naming both spellings.
        """
        others = [name for name in self.columns if name not in known]
        for name in others:
            near = get_close_matches(name.strip().casefold(), known, n=1, cutoff=0.75)
            if near and near[0] not in self.columns:
                raise BadInput(f"{self.path} has a column {name!r}: did you mean {near[0]!r}? Rename it or drop it")
        return tuple(Exclusion(str(self.path), name, UNREAD_COLUMN) for name in others)

    def records(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Give the cells of some columns row by row, each with its number in the file; the header is row 1.

        A column that is not there gives empty cells.
        """
        empty = [""] * self.rows
        columns = [self.columns.get(name, empty) for name in names]
        return enumerate(zip(*columns, strict=True), start=2)


def read_raw_table(path: str | Path) -> RawTable:
    """Read a CSV (UTF-8, with a header) or parquet file, by the end of its name.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is neither, a column's name stands twice, or a row has more or fewer cells than the header.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    if path.suffix.casefold() == ".parquet":
        return _read_parquet(path)
    if path.suffix.casefold() in (".csv", ".tsv"):
        return _read_csv(path, "\t" if path.suffix.casefold() == ".tsv" else ",")
    raise BadInput(f"{path} is neither .csv, .tsv nor .parquet: rename it, or say its layout")


def text(cell: Any) -> str:
    """Read a cell as text, without white space at its ends."""
    return "" if cell is None else str(cell).strip()


def number(cell: Any, where: str) -> float:
    """Read a cell as a number; nan for an empty one, or one that says that it is none.

    Raises
    ------
    BadInput
        When it is no number, or infinite.
    """
    written = text(cell)
    if written.casefold() in ("", "nan", "none", "null", "na"):
        return math.nan
    try:
        value = float(written)
    except ValueError as error:
        raise BadInput(f"{where}: {written!r} is no number") from error
    if math.isinf(value):
        raise BadInput(f"{where}: {written!r} is not finite")
    return value


def _read_csv(path: Path, delimiter: str) -> RawTable:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no CSV in UTF-8: {error}") from error
    lines = [line for line in lines if line]
    if not lines:
        raise BadInput(f"{path} is empty: it needs a header")
    header, *rest = lines
    header = [name.strip() for name in header]
    _refuse_twice(header, path)
    for row, line in enumerate(rest, start=2):
        if len(line) != len(header):
            raise BadInput(f"{path}, row {row}: {len(line)} cells where the header has {len(header)}")
    columns = [list(column) for column in zip(*rest, strict=True)] or [[] for _ in header]
    return RawTable(path, dict(zip(header, columns, strict=True)), len(rest))


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is no parquet: {error}") from error
    _refuse_twice(table.column_names, path)
    return RawTable(path, {name: table[name].to_pylist() for name in table.column_names}, table.num_rows)


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise BadInput(f"{path}: the column {twice[0]!r} stands twice: leave one of them")
