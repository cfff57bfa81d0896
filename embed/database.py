"""The database: a folder or object store that LanceDB keeps tables in. Naming, listing and opening them.

Lance reaches a store with what the environment says (docs/object-stores.md); nothing of that passes through here. Not
here: what a corpus is (`corpus.py`), sources on stores (`storage.py`).
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tailwag.errors import BadInput, Caution, NotFound, TailwagError

from .storage import StorePath, is_remote
from .store_requests import require_no_credentials, require_s3_settings, without_secrets

METADATA_SPACE = b"tailwag:space"  # the key of a corpus's space in its schema's metadata
# Tables of saved results; no corpus may take their names.
RESULT_TABLES = ("frequencies", "similarities", "certificates")
_WAITS = (0.5, 1.0, 2.0)  # seconds

Answer = TypeVar("Answer")
_LANCE_PLACE = re.compile(r", /[^ ]+\.rs:\d+:\d+$")
_CORPUS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Database:
    """A LanceDB database: a folder, or an object store's URI.

    Raises
    ------
    BadInput
        For a URI with credentials in it, and for a store that would be reached unencrypted without the user's word.

    Examples
    --------
    >>> Database("./tailwag-db").corpora()
    []
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri).rstrip("/")
        if not self.is_local:
            require_no_credentials(self.uri)
            if self.uri.startswith("s3"):
                require_s3_settings()

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return not is_remote(self.uri)

    def exists(self) -> bool:
        """Whether it is there: the folder, or on an object store any table."""
        return self.folder.is_dir() if self.is_local else bool(self.tables())

    def lock_place(self, corpus: str) -> Path | StorePath | None:
        """Say where the one writer of a corpus takes its lock; None for a store on which none can be taken."""
        if self.is_local:
            return self.folder / f".{corpus}.lock"
        return self._address / f"{corpus}.lease" if self.uri.startswith("s3://") else None

    @property
    def _address(self) -> StorePath:
        return StorePath(self.uri)

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
        if self.uri.startswith("s3://"):
            names = self._address.folders()
            return sorted(name.removesuffix(".lance") for name in names if name.endswith(".lance"))
        import lancedb  # which takes two seconds

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
            return asked_again(lambda: lance.dataset(self.table_uri(table), version=version))
        except (ValueError, OSError) as error:
            # A table that is there but damaged must not be taken for one that is not.
            if _says_not_found(error) and not (version is None and self._holds_files(table)):
                return None
            raise TailwagError(f"{self.table_uri(table)} cannot be opened: {first_line(error)}") from error

    def _holds_files(self, table: str) -> bool:
        if self.is_local:
            return (self.folder / f"{table}.lance").exists()
        return self.uri.startswith("s3://") and f"{table}.lance" in self._address.folders()

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


def asked_again(call: Callable[[], Answer]) -> Answer:
    """Make a call of Lance's that changes nothing or may be repeated, again where a store's answer broke off.

    Lance repeats requests that fail, but not those whose answer breaks off on the way.
    """
    for wait in _WAITS:
        try:
            return call()
        except (ValueError, OSError) as error:
            if "body error" not in str(error):
                raise
            warnings.warn(f"{first_line(error)}; trying again in {wait:g} s", Caution, stacklevel=2)
            time.sleep(wait)
    return call()


def first_line(error: BaseException) -> str:
    """Give an error's first line, or its kind where it says nothing; what a store answered in words, and no secrets."""
    said = str(error).strip()
    if not said:
        return type(error).__name__
    status = re.search(r"status code: (\d+ [A-Za-z ]+)", said)
    if status is not None and "Error performing" in said:
        code, message = (re.search(rf"<{tag}>([^<]*)</{tag}>", said) for tag in ("Code", "Message"))
        words = [found[1] for found in (code, message) if found is not None and found[1]]
        said = f"the store answers {': '.join([status[1].strip(), *words])}"
        if status[1].startswith(("401", "403")):
            said += " (check the credentials in the environment)"
    elif "body error" in said:
        said = "the store's answer broke off"
    elif "Failed to get AWS credentials" in said:
        said = "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    # Lance says last where in its own source it was.
    return without_secrets(re.sub(r"(, /\S+\.rs:\d+:\d+)+$", "", said.splitlines()[0]))


def _says_not_found(error: Exception) -> bool:
    # A bucket that is not there, or a request that is refused with 404, is no table that is not there.
    said = str(error)
    return "not found" in said.lower() and not ("Error performing" in said and "was not found" not in said)
