"""Writing a part's rows as data files that the table does not know of yet.

Not here: which rows (`part_rows.py`), making them part of the table (`../committing.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    return [json.dumps(fragment.to_json()) for fragment in fragments]
