"""Saving a count in the database, and finding saved ones: the tables `frequencies` and `certificates`.

Not here: histograms (`saved_histograms.py`), what a certificate holds (`certificate.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np

from tailwag.errors import NotFound, TailwagError

from ...embed.corpus import Corpus
from ...embed.database import Database
from ..counting import CountQuery, CountResult
from .certificate import Certificate, state_of
from .certificate_file import pack, seal_of, unpack
from .runs import Run
from .saved_histograms import save_histograms
from .tables import append_rows, read_rows

FREQUENCIES = "frequencies"
CERTIFICATES = "certificates"


@dataclass(frozen=True, eq=False)
class Estimates:
    """What C concepts' counts at T thresholds were carried on to; a count by itself has none of this.

    Attributes
    ----------
    estimate, lower, upper
        (C, T) float64, in rows; nan where there is none.
    method, grade
        (C, T) texts; None where there is none.
    """

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    method: Sequence[Sequence[str | None]]
    grade: Sequence[Sequence[str | None]]


@dataclass(frozen=True)
class SavedRun:
    """One saved count, without its numbers.

    Attributes
    ----------
    run, created
        Its name and time.
    corpus, corpus_version, corpus_state
        What was counted; the state names its rows, see `state_of`.
    space
        The space's fingerprint.
    side, control, rows
        The side compared, the control's name, the rows that were compared.
    query
        `Certificate.query_digest`: equal where the same was asked.
    seal
        The certificate's `seal_of`.
    """

    run: str
    created: datetime
    corpus: str
    corpus_version: int
    corpus_state: str
    space: str
    side: str
    control: str
    rows: int
    query: str
    seal: str


def save_counts(
    corpus: Corpus,
    query: CountQuery,
    result: CountResult,
    run: Run | None = None,
    estimates: Estimates | None = None,
    *,
    more_rows: Callable[[Run], Any] | None = None,
) -> Certificate:
    """Save a count in the corpus's database: its certificate, its histograms where it has them, its counts.

    The counts come last: a run that stands in `frequencies` was saved whole.

    Parameters
    ----------
    corpus
        What was counted, at the version that was.
    query, result
        What was asked, with `partials`, and what came out.
    run
        The run's name; None begins a new one.
    estimates
        What the counts were carried on to; None for a plain count, whose estimate, lower, upper, method and grade stay
        null: a count is not a frequency.
    more_rows
        Makes further rows of `frequencies` for the run, of other sides than the query's, which the certificate does not
        vouch for; they are saved in the same commit.

    Returns
    -------
    Certificate
        Under the run's name.

    Raises
    ------
    BadInput
        When the query did not ask for partial counts.
    TailwagError
        When the tables cannot be written.
    """
    certificate = Certificate.of(query, result, run)
    append_rows(corpus.database, CERTIFICATES, _certificate_row(certificate, corpus), result.space)
    if result.histogram is not None:
        save_histograms(corpus, query, result, certificate.run)
    rows = frequency_rows(result, certificate.run, estimates)
    if more_rows is not None:
        import pyarrow as pa

        rows = pa.concat_tables([rows, more_rows(certificate.run)])
    append_rows(corpus.database, FREQUENCIES, rows, result.space)
    return certificate


def frequency_rows(result: CountResult, run: Run, estimates: Estimates | None = None) -> Any:
    """Give a count as rows of the table `frequencies`, one a concept and threshold, as a `pyarrow.Table`."""
    import pyarrow as pa

    counted, size = result.to_arrow(), len(result)
    columns: dict[str, Any] = {name: counted[name] for name in counted.column_names if name != "share"}
    for name in ("estimate", "lower", "upper"):
        values = np.full(size, np.nan) if estimates is None else getattr(estimates, name).reshape(-1)
        columns[name] = pa.array(values.astype(np.float64), mask=np.isnan(values))
    for name in ("method", "grade"):
        texts = [None] * size if estimates is None else [one for row in getattr(estimates, name) for one in row]
        columns[name] = pa.array(texts, pa.string())
    columns["run"] = [run.name] * size
    columns["created"] = [run.created] * size
    return pa.table(columns, schema=frequency_schema())


def frequency_schema() -> Any:
    """Give the arrow schema of the table `frequencies`."""
    import pyarrow as pa

    text, number, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            pa.field("corpus", text, False),
            pa.field("corpus_version", number, False),
            pa.field("concept", text, False),
            pa.field("side", text, False),
            pa.field("recipe", text, False),
            pa.field("threshold", real, False),
            pa.field("threshold_source", text, False),
            pa.field("control", text, False),
            pa.field("count", number, False),
            pa.field("rows", number, False),
            pa.field("estimate", real, True),
            pa.field("lower", real, True),
            pa.field("upper", real, True),
            pa.field("method", text, True),
            pa.field("grade", text, True),
            pa.field("run", text, False),
            pa.field("created", pa.timestamp("us", tz="UTC"), False),
        ]
    )


def find_runs(database: Database, **equal: str | int) -> list[SavedRun]:
    """Which counts are saved, the newest first?

    Parameters
    ----------
    database
        Where they are saved.
    equal
        Fields of `SavedRun` and the values that they must have: ``corpus="cc3m", side="image"``.
    """
    columns = [field.name for field in fields(SavedRun)]
    found = [SavedRun(**row) for row in read_rows(database, CERTIFICATES, columns, **equal)]
    return sorted(found, key=lambda one: one.run, reverse=True)


def load_certificate(database: Database, run: str) -> Certificate:
    """Load the certificate of a saved count.

    Raises
    ------
    NotFound
        When there is no such run; names the newest ones.
    TailwagError
        When what is saved under this name was altered.
    """
    rows = read_rows(database, CERTIFICATES, ["certificate", "certificate_sha256"], run=run)
    if not rows:
        saved = [one.run for one in find_runs(database)]
        have = f"the newest are {', '.join(saved[:3])}" if saved else "none is saved: count with --save"
        raise NotFound(f"no run {run!r} is saved in {database.uri}; {have}")
    packed = rows[0]["certificate"]
    if len(rows) > 1 or hashlib.sha256(packed).hexdigest() != rows[0]["certificate_sha256"]:
        raise TailwagError(f"the certificate of run {run} in {database.uri} was altered: count again with --save")
    return unpack(packed, f"the certificate of run {run}")


def saved_frequencies(database: Database, run: str, **equal: str) -> list[dict[str, Any]]:
    """Give the rows of `frequencies` that a run saved, in their order; with ``side="image"`` those of that side."""
    return read_rows(database, FREQUENCIES, run=run, **equal)


def _certificate_row(certificate: Certificate, corpus: Corpus) -> Any:
    import pyarrow as pa

    packed = pack(certificate)
    kinds = {"corpus_version": pa.int64(), "rows": pa.int64(), "created": pa.timestamp("us", tz="UTC")}
    row = {
        "run": certificate.run.name,
        "created": certificate.run.created,
        "corpus": certificate.corpus,
        "corpus_version": certificate.corpus_version,
        "corpus_state": state_of(corpus),
        "space": certificate.space.fingerprint,
        "side": certificate.side,
        "control": certificate.control_name,
        "rows": certificate.rows,
        "query": certificate.query_digest,
        "seal": seal_of(certificate),
        "certificate_sha256": hashlib.sha256(packed).hexdigest(),
        "certificate": packed,
    }
    kinds["certificate"] = pa.large_binary()
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string()), False) for name in row])
    return pa.Table.from_pylist([row], schema=schema)
