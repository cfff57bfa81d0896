"""The tables that keep results beside the corpora: appending in one commit, reading, their format and spaces.

Not here: what stands in their rows (`saved_counts.py`, `saved_histograms.py`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from tailwag.errors import BadInput, TailwagError

from ...embed.database import Database, first_line
from ...embed.space import Space

FORMAT_VERSION = "1"
_METADATA_FORMAT = b"tailwag:format"
# A database may hold corpora of several spaces: each has an entry of its own, `tailwag:space:` and its fingerprint. The
# bare key `tailwag:space` is what makes a table a corpus.
_METADATA_SPACE = "tailwag:space:"
_TRIES = 60
# What lance says when another writer was first; nothing of this writer's rows was committed then.
_BEATEN = ("already exists", "0.manifest was not found", "incompatible transaction", "conflict", "concurrent")


def append_rows(database: Database, name: str, rows: Any, space: Space) -> None:
    """Add rows to a table in one commit, and make the table where it is not there.

    Writers may be many: one that was beaten to it reads the table's state again and tries again.

    Parameters
    ----------
    database, name
        Where.
    rows
        A `pyarrow.Table`.
    space
        The space that the rows hold for; recorded in the metadata of the table's schema.

    Raises
    ------
    BadInput
        When a table of this name is there and is of another kind or format.
    TailwagError
        When the rows cannot be written.
    """
    for attempt in range(_TRIES):
        try:
            return _append_once(database, name, rows, space)
        except OSError as error:
            if not any(word in str(error).lower() for word in _BEATEN):
                raise TailwagError(f"{database.table_uri(name)} cannot be written: {first_line(error)}") from error
            time.sleep(random.uniform(0, 0.01 * (attempt + 1)))
    raise TailwagError(f"{database.table_uri(name)} is being written by too many at once: save again later")


def open_records(database: Database, name: str) -> Any | None:
    """Open a table of results as a `lance.LanceDataset`; None where nothing was saved.

    Raises
    ------
    BadInput
        When it is of another kind or format.
    """
    dataset = database.try_table(name)
    if dataset is not None:
        found = (dataset.schema.metadata or {}).get(_METADATA_FORMAT, b"").decode()
        if "run" not in dataset.schema.names:
            raise BadInput(f"table {name!r} in {database.uri} holds no saved results: give it another name")
        if found != FORMAT_VERSION:
            raise BadInput(
                f"table {name!r} in {database.uri} has format {found or 'unknown'}, this tailwag reads "
                f"{FORMAT_VERSION}: use the tailwag that wrote it"
            )
    return dataset


def read_rows(
    database: Database, name: str, columns: Sequence[str] | None = None, **equal: str | int
) -> list[dict[str, Any]]:
    """Read the rows of a table of results whose columns equal the values given; none where nothing was saved."""
    dataset = open_records(database, name)
    if dataset is None:
        return []
    condition = " AND ".join(f"{column} = {_literal(value)}" for column, value in equal.items())
    try:
        return dataset.to_table(columns=columns and list(columns), filter=condition or None).to_pylist()
    except (OSError, ValueError) as error:
        raise TailwagError(f"{database.table_uri(name)} cannot be read: {first_line(error)}") from error


def spaces_of(dataset: Any) -> dict[str, Space]:
    """Which spaces do the rows of a table of results hold for, by their fingerprints?"""
    return {
        key.decode().removeprefix(_METADATA_SPACE): Space.from_json(value)
        for key, value in (dataset.schema.metadata or {}).items()
        if key.decode().startswith(_METADATA_SPACE)
    }


def _append_once(database: Database, name: str, rows: Any, space: Space) -> None:
    import lance

    uri, dataset = database.table_uri(name), _open_whole(database, name)
    own = {_METADATA_SPACE + space.fingerprint: space.to_json()}
    if dataset is None:
        schema = rows.schema.with_metadata({_METADATA_FORMAT.decode(): FORMAT_VERSION, **own})
        # Not write_dataset(mode="create"): of two that make a table at once, the second overwrites what the first
        # wrote. Without retries from version 0, all but one are refused.
        lance.LanceDataset.commit(uri, lance.LanceOperation.Overwrite(schema, []), read_version=0, max_retries=0)
    elif space.fingerprint not in spaces_of(dataset):
        dataset.update_schema_metadata(own)
    lance.write_dataset(rows, uri, mode="append")


def _open_whole(database: Database, name: str) -> Any | None:
    """Open a table, or give None where no commit has made it: a folder without a version is one that is being made."""
    try:
        return open_records(database, name)
    except TailwagError as error:
        if "not found" in str(error.__cause__).lower():
            return None
        raise


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
