"""The database: a folder or object store that LanceDB keeps tables in. Naming, listing and opening them.

Not here: what a corpus is (`corpus.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound, TailwagError

METADATA_SPACE = b"tailwag:space"  # the key of a corpus's space in its schema's metadata
# Tables of saved results; no corpus may take their names.
RESULT_TABLES = ("frequencies", "similarities", "certificates")
_CORPUS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Database:
    """A LanceDB database: a folder, or an object store's URI.

    Examples
    --------
    >>> Database("./tailwag-db").corpora()
    []
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri).rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return "://" not in self.uri or self.uri.startswith("file://")

    @property
    def folder(self) -> Path:
        """The folder of a local database.

        Raises
        ------
        BadInput
            When the database is on an object store.
        """
        if not self.is_local:
            raise BadInput(
                f"{self.uri} is on an object store, and this needs a folder of this machine: pass --db FOLDER"
            )
        return Path(self.uri.removeprefix("file://"))

    def table_uri(self, table: str) -> str:
        """Say where LanceDB keeps a table."""
        return f"{self.uri}/{table}.lance"

    def tables(self) -> list[str]:
        """Name every LanceDB table, corpora and their ledgers alike."""
        if self.is_local:
            return sorted(path.name.removesuffix(".lance") for path in self.folder.glob("*.lance") if path.is_dir())
        import lancedb

        return sorted(lancedb.connect(self.uri).table_names(limit=100_000))

    def corpora(self) -> list[str]:
        """Name the corpora: the tables whose schema records a space."""
        names = [table for table in self.tables() if _CORPUS_NAME.fullmatch(table)]
        return [name for name in names if METADATA_SPACE in (self.open_table(name).schema.metadata or {})]

    def has_table(self, table: str) -> bool:
        """Say whether a table exists."""
        return self.try_table(table) is not None

    def try_table(self, table: str, version: int | str | None = None) -> Any | None:
        """Open a table as a `lance.LanceDataset`; None when there is none."""
        import lance

        try:
            return lance.dataset(self.table_uri(table), version=version)
        except (ValueError, OSError) as error:
            # A table that is there but damaged must not be taken for one that is not.
            there = self.is_local and version is None and (self.folder / f"{table}.lance").exists()
            if "not found" in str(error).lower() and not there:
                return None
            raise TailwagError(f"{self.table_uri(table)} cannot be opened: {first_line(error)}") from error

    def open_table(self, table: str) -> Any:
        """Open a table as a `lance.LanceDataset`.

        Raises
        ------
        NotFound
            When there is none.
        """
        dataset = self.try_table(table)
        if dataset is None:
            raise NotFound(f"there is no table {table!r} in {self.uri}")
        return dataset


def check_corpus_name(name: str) -> None:
    """Refuse a name that cannot be a corpus's.

    Raises
    ------
    BadInput
        When it holds anything but letters, digits, ``_`` and ``-``, or is the name of a table of saved results.
    """
    if name in RESULT_TABLES:
        raise BadInput(f"{name!r} is the table of saved {name}, not a corpus: take another name")
    if not _CORPUS_NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot name a corpus: use letters, digits, '_' and '-', a letter or digit first")


def first_line(error: BaseException) -> str:
    """Give an error's first line, or its kind where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
