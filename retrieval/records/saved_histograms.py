"""The table `similarities`: saved histograms, one row a concept, and reading them again.

Not here: the bins (`counting/bins.py`), counts at new thresholds that follow from histograms (`rethreshold.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tailwag.errors import BadInput, TailwagError

from ...embed.corpus import Corpus, Side
from ...embed.database import Database, first_line
from ..counting import CountQuery, CountResult
from ..counting.bins import BINS
from .certificate import BIN_RULE, state_of
from .runs import Run
from .tables import append_rows, open_records, read_rows

SIMILARITIES = "similarities"


def save_histograms(corpus: Corpus, query: CountQuery, result: CountResult, run: Run) -> None:
    """Save the histograms of a count, one row a concept, in one commit.

    Parameters
    ----------
    corpus
        What was counted, at the version that was.
    query, result
        What was asked, with `histogram`, and what came out.
    run
        The run under whose name they are saved.
    """
    import pyarrow as pa

    if result.histogram is None:
        raise BadInput("no histogram was made: ask for it with CountQuery(histogram=True)")
    concepts = len(result.concepts)
    vectors = query.prototypes.vectors
    repeated = {
        "corpus": result.corpus,
        "corpus_version": result.corpus_version,
        "corpus_state": state_of(corpus),
        "space": result.space.fingerprint,
        "side": result.side,
        "control": result.control,
        "bins": BIN_RULE,
        "rows": result.rows,
        "failures": result.failures,
        "run": run.name,
        "created": run.created,
    }
    columns: dict[str, Any] = {name: [value] * concepts for name, value in repeated.items()}
    columns["concept"] = list(result.concepts)
    columns["recipe"] = list(result.recipes)
    columns["prototype_sha256"] = [prototype_digest(vector) for vector in vectors]
    offsets = np.arange(concepts + 1, dtype=np.int32) * vectors.shape[1]
    columns["prototype"] = pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1)))
    columns["histogram"] = _lists(result.histogram)
    named = result.mention_histogram
    columns["mention_histogram"] = pa.nulls(concepts, _histogram_type()) if named is None else _lists(named)
    schema = similarity_schema()
    rows = pa.table([columns[name] for name in schema.names], schema=schema)
    append_rows(corpus.database, SIMILARITIES, rows, result.space)


def similarity_schema() -> Any:
    """Give the arrow schema of the table `similarities`."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    return pa.schema(
        [
            pa.field("corpus", text, False),
            pa.field("corpus_version", number, False),
            pa.field("corpus_state", text, False),
            pa.field("space", text, False),
            pa.field("side", text, False),
            pa.field("concept", text, False),
            pa.field("recipe", text, False),
            pa.field("control", text, False),
            pa.field("prototype_sha256", text, False),
            # Not of fixed size: a database may hold corpora of several spaces.
            pa.field("prototype", pa.list_(pa.float16()), False),
            pa.field("bins", text, False),
            pa.field("histogram", _histogram_type(), False),
            pa.field("mention_histogram", _histogram_type(), True),
            pa.field("rows", number, False),
            pa.field("failures", number, True),
            pa.field("run", text, False),
            pa.field("created", pa.timestamp("us", tz="UTC"), False),
        ]
    )


def prototype_digest(vector: np.ndarray) -> str:
    """Give the sha256 of a prototype's float16 numbers, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<f2").tobytes()).hexdigest()


def saved_prototypes(corpus: Corpus, side: Side, control: str) -> list[dict[str, Any]]:
    """Of which prototypes are histograms saved, for a side and a control of a corpus, the newest first?

    Returns
    -------
    list[dict]
        concept, recipe, corpus_version, corpus_state, prototype_sha256, bins, rows, failures, run, and `_rowoffset`, by
        which `read_histograms` finds the histogram. Only those of the corpus's own space and of today's bins.
    """
    columns = ("concept", "recipe", "corpus_version", "corpus_state", "prototype_sha256", "rows", "failures", "run")
    equal = {"corpus": corpus.name, "space": corpus.space.fingerprint, "side": side, "control": control}
    rows = read_rows(corpus.database, SIMILARITIES, [*columns, "_rowoffset"], bins=BIN_RULE, **equal)
    return sorted(rows, key=lambda row: row["run"], reverse=True)


def saved_of_run(database: Database, run: str) -> list[dict[str, Any]]:
    """Of which concepts did a run save histograms? Gives concept, prototype_sha256 and `_rowoffset`."""
    return read_rows(database, SIMILARITIES, ["concept", "prototype_sha256", "_rowoffset"], run=run)


def histograms_of_run(database: Database, run: str, prototypes: np.ndarray) -> np.ndarray | None:
    """Give the histograms that a run saved of some prototypes.

    Parameters
    ----------
    database, run
        Where, and under which name.
    prototypes
        (C, d) float16.

    Returns
    -------
    numpy.ndarray or None
        (C, BINS) int64; None unless it saved all of them.
    """
    places = {row["prototype_sha256"]: row["_rowoffset"] for row in saved_of_run(database, run)}
    digests = [prototype_digest(vector) for vector in prototypes]
    if not all(digest in places for digest in digests):
        return None
    return read_histograms(database, [places[digest] for digest in digests])


def read_histograms(database: Database, offsets: Sequence[int]) -> np.ndarray:
    """Read saved histograms by their `_rowoffset`.

    Returns
    -------
    numpy.ndarray
        (n, BINS) int64.

    Raises
    ------
    TailwagError
        When they cannot be read.
    """
    dataset = open_records(database, SIMILARITIES)
    assert dataset is not None  # the offsets come from it
    order = np.unique(offsets)
    try:
        column = dataset.take(order.tolist(), columns=["histogram"]).column(0).combine_chunks()
    except (OSError, ValueError) as error:
        raise TailwagError(f"table {SIMILARITIES!r} cannot be read: {first_line(error)}") from error
    histograms = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, BINS)
    return histograms[np.searchsorted(order, offsets)]


def _histogram_type() -> Any:
    import pyarrow as pa

    return pa.list_(pa.int64(), BINS)


def _lists(histogram: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(histogram).reshape(-1)), BINS)
