"""The database: a folder or object store that LanceDB keeps tables in. Naming, listing and opening them.

Lance reaches a store with what the environment says (docs/object-stores.md); nothing of that passes through here. Not
here: what a corpus is (`corpus.py`), sources on stores (`storage.py`).
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
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


class NoVersion(TailwagError):
    """A table has data and no version of it: its versions were lost, or its making was broken off."""


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
        opened = ((name, self.try_table(name)) for name in names)
        return [name for name, table in opened if table is not None and _records_space(table)]

    def has_table(self, table: str) -> bool:
        """Say whether a table exists."""
        return self.try_table(table) is not None

    def try_table(self, table: str, version: int | str | None = None) -> Any | None:
        """Open a table as a `lance.LanceDataset`; None when there is none, or one that is only being made.

        Raises
        ------
        NoVersion
            When it has data and no version: it is damaged, or an older tailwag died while it made it.
        TailwagError
            When it cannot be opened otherwise.
        """
        try:
            return self._opened(table, version)
        except (ValueError, OSError) as error:
            where = self.table_uri(table)
            if _says_not_found(error):
                if version is not None:
                    return None
                # A table that is there but damaged must not be taken for one that is not. Lance makes a first version
                # last: without one, and without data, it is a table that `make_table` did not come to the end of.
                has_data, has_version = (self._holds(table, part) for part in ("data", "_versions"))
                if not (has_data or has_version):
                    return None
                if not has_version:
                    raise NoVersion(
                        f"{where} cannot be opened: it has data and no version: bring its folder _versions back from a "
                        "copy, or delete the table"
                    ) from error
                with suppress(ValueError, OSError):  # another program may have made it meanwhile
                    return self._opened(table, version)
            raise TailwagError(f"{where} cannot be opened: {first_line(error)}") from error

    def _opened(self, table: str, version: int | str | None) -> Any:
        import lance

        return asked_again(lambda: lance.dataset(self.table_uri(table), version=version))

    def _holds(self, table: str, part: str) -> bool:
        """Whether a folder of a table has files: for versions, those of Lance's that are whole."""
        pattern = "*.manifest" if part == "_versions" else "*"
        if self.is_local:
            return any((self.folder / f"{table}.lance" / part).glob(pattern))
        if not self.uri.startswith("s3://") or f"{table}.lance" not in self._address.folders():
            return False
        return any(fnmatch(file.name, pattern) for file in (self._address / f"{table}.lance" / part).iterdir())

    def make_table(self, table: str, schema: Any) -> Any:
        """Make a table without rows, in one commit, and open it.

        The caller has asked `try_table`, which refuses a damaged one: this would be made over it.

        Raises
        ------
        BadInput
            When there is one, also one that another program made at the same time.
        TailwagError
            When it cannot be made.
        """
        import lance

        # Not write_dataset(mode="create"): of two that make a table at once, the second overwrites what the first
        # wrote, and rows lie there before a version does. Without retries from version 0, all but one are refused.
        made = lance.Transaction(read_version=0, operation=lance.LanceOperation.Overwrite(schema, []))
        try:
            return lance.LanceDataset.commit(self.table_uri(table), made, max_retries=0)
        except (ValueError, OSError) as error:
            found = self.try_table(table, 1)
            if found is None:
                where = self.table_uri(table)
                raise TailwagError(f"{where} cannot be made: {first_line(error)}") from error
            # A store may do what was asked and say that it failed, and refuse when it is asked again.
            if found.read_transaction(1).uuid == made.uuid:
                return found
            raise BadInput(f"there is a table {table!r} in {self.uri} already: take another name") from error

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


def _records_space(table: Any) -> bool:
    return METADATA_SPACE in (table.schema.metadata or {})
