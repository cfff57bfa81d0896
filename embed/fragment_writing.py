"""Writing rows as data files that a table does not know of yet.

Not here: which rows, making them part of the table (`committing.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tailwag.errors import TailwagError

from .database import first_line
from .storage import is_remote


def write_rows(table_uri: str, schema: Any, batches: Iterator[Any]) -> list[str]:
    """Write rows beside a table, and bring them to the disk.

    Parameters
    ----------
    table_uri
        Of the table.
    schema
        The table's.
    batches
        `pyarrow.RecordBatch` of the schema; what the iterator raises is raised here.

    Returns
    -------
    list[str]
        `lance.FragmentMetadata` as JSON; empty where there was no row.

    Raises
    ------
    TailwagError
        When they cannot be written.
    """
    import pyarrow as pa
    from lance.fragment import write_fragments

    raised: list[BaseException] = []

    def watched() -> Iterator[Any]:
        try:
            yield from batches
        except BaseException as error:  # lance would wrap it in one of its own
            raised.append(error)
            raise

    try:
        reader = pa.RecordBatchReader.from_batches(schema, watched())
        fragments = write_fragments(reader, table_uri, schema=schema, mode="append")
        if not is_remote(table_uri):
            data = Path(table_uri.removeprefix("file://")) / "data"
            files = [data / file.path for fragment in fragments for file in fragment.files]
            bring_to_disk([*files, data] if files else [])  # without a row there may be no folder either
    except Exception as error:
        if raised:
            raise raised[0] from None
        raise TailwagError(
            f"rows cannot be written to {table_uri}: {first_line(error)}; give the command again once that is mended: "
            "it goes on where it stopped"
        ) from error
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def bring_to_disk(paths: Sequence[Path]) -> None:
    """Wait until files, or the names in folders, are on the disk: a machine that fails later has them."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
