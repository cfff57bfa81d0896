"""Writing a part's rows as data files that the table does not know of yet.

Not here: which rows (`part_rows.py`), making them part of the table (`../committing.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from tailwag.errors import TailwagError

from ..corpus import Corpus
from ..database import first_line


def write_part(corpus: Corpus, batches: Iterator[Any]) -> list[str]:
    """Write rows.

    Parameters
    ----------
    corpus
        The corpus.
    batches
        `pyarrow.RecordBatch` of its schema; what the iterator raises is raised here.

    Returns
    -------
    list[str]
        `lance.FragmentMetadata` as JSON.

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

    uri = corpus.database.table_uri(corpus.name)
    try:
        reader = pa.RecordBatchReader.from_batches(corpus.schema, watched())
        fragments = write_fragments(reader, uri, schema=corpus.schema, mode="append")
    except Exception as error:
        if raised:
            raise raised[0] from None
        raise TailwagError(f"{uri} cannot be written: {first_line(error)}") from error
    if corpus.database.is_local:
        _to_disk(corpus, fragments)
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def _to_disk(corpus: Corpus, fragments: Sequence[Any]) -> None:
    """Wait until the files are on the disk, so that a machine that fails after the commit does not lose them."""
    data = corpus.database.folder / f"{corpus.name}.lance" / "data"
    for file in (file for fragment in fragments for file in fragment.files):
        descriptor = os.open(data / file.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
