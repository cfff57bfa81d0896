"""Verifying a certificate: is it consistent, does it fit its corpus, and do parts of it come out the same again?

Not here: what a certificate holds (`certificate.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput, NotFound, Refuted, TailwagError
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...embed.database import Database
from ...embed.scanning import Fragment
from ..counting import CountQuery, CountResult, Partial, count
from .certificate import Certificate, digest_of_histograms
from .certificate_file import seal_of
from .saved_counts import find_runs, frequency_rows, saved_frequencies
from .saved_histograms import read_histograms, saved_of_run

DEFAULT_PARTS = 5


@dataclass(frozen=True)
class Verdict:
    """A certificate that was accepted, and what that rests on.

    Attributes
    ----------
    run, seal
        The certificate's.
    corpus, corpus_version, newest_version
        The corpus at the version that was counted, and its newest version now.
    rows, parts
        What the certificate speaks of.
    recounted
        Positions of the parts that were counted again.
    rows_recounted
        Rows in them.
    seed
        By which they were chosen; None when all were counted.
    histograms
        Whether the histograms were made again too.
    saved
        Whether the rows that this run saved in the database were compared with the certificate.
    """

    run: str
    seal: str
    corpus: str
    corpus_version: int
    newest_version: int
    rows: int
    parts: int
    recounted: tuple[int, ...]
    rows_recounted: int
    seed: int | None
    histograms: bool
    saved: bool

    @property
    def share_recounted(self) -> float:
        """Rows that were counted again, as a share of all; 1 where there are none."""
        return self.rows_recounted / self.rows if self.rows else 1.0

    @property
    def chance_unnoticed(self) -> float:
        """With which chance a single wrong part, whichever it is, would not have been among the chosen ones."""
        return 1 - len(self.recounted) / self.parts if self.parts else 0.0


def verify(
    certificate: Certificate,
    database: Database,
    parts: int | None = DEFAULT_PARTS,
    seed: int | None = None,
    *,
    saved: bool = False,
    chosen: Sequence[np.ndarray] = (),
    backend: str = "auto",
    progress: Progress | None = None,
) -> Verdict:
    """Does a certificate hold?

    Its totals must be the sums of its parts, its parts the fragments of the corpus at its version, and a random choice
    of the parts must come out the same when their rows are read and counted again: the number of rows, the digest of
    their vectors, the counts. Where all parts are counted again, the histograms are as well.

    Parameters
    ----------
    certificate
        The certificate.
    database
        Where its corpus is.
    parts
        How many parts to count again; None counts all.
    seed
        For their choice; None takes one from the system, so that nobody can know beforehand which parts are looked at.
    saved
        Compare the rows that the run saved in `frequencies` and `similarities` too.
    chosen
        The rows of a control that were chosen by hand.
    backend
        What counts; see `count`.
    progress
        Advanced by the rows that are done.

    Returns
    -------
    Verdict
        When it holds.

    Raises
    ------
    Refuted
        When it does not; says what differs.
    TailwagError
        When that cannot be found out: the corpus or its version are gone, or its rows cannot be read.
    """
    if parts is not None and parts < 1:
        raise BadInput(f"at least one part must be counted again, and {parts} was asked for")
    _require_sums(certificate)
    everything = parts is None or parts >= len(certificate.partials)
    query = _rebuilt(certificate, chosen, histogram=everything and certificate.histogram_digest is not None)
    corpus, newest = _open(certificate, database)
    fragments = _fragments_by_part(certificate, corpus)
    if saved:
        _require_saved(certificate, database)
    if parts is None or everything:
        seed, positions = None, np.arange(len(fragments))
    else:
        seed = secrets.randbits(32) if seed is None else seed
        positions = choose_parts(len(fragments), parts, seed)
    again = count(corpus, query, backend, progress, parts=[fragments[position] for position in positions])
    for position, part in zip(positions, again.partials, strict=True):
        _require_same(certificate, int(position), part)
    if again.histogram is not None and digest_of_histograms(again.histogram) != certificate.histogram_digest:
        raise _refuted(certificate, "the histograms of the table's rows are not those that it names")
    listed = find_runs(database, run=certificate.run.name)
    if listed and listed[0].seal != seal_of(certificate):
        raise _refuted(certificate, f"the database has saved another one under this name (seal {listed[0].seal[:16]}…)")
    return Verdict(
        run=certificate.run.name,
        seal=seal_of(certificate),
        corpus=certificate.corpus,
        corpus_version=certificate.corpus_version,
        newest_version=newest,
        rows=certificate.rows,
        parts=len(fragments),
        recounted=tuple(positions.tolist()),
        rows_recounted=again.rows,
        seed=seed,
        histograms=query.histogram,
        saved=saved,
    )


def choose_parts(parts: int, wanted: int, seed: int) -> np.ndarray:
    """Choose different parts at random, each with the same chance.

    Returns
    -------
    numpy.ndarray
        (wanted,) int64, ascending.
    """
    return np.sort(np.random.default_rng(seed).choice(parts, size=min(wanted, parts), replace=False))


def _require_sums(certificate: Certificate) -> None:
    rows = sum(part.rows for part in certificate.partials)
    if rows != certificate.rows:
        raise _refuted(certificate, f"its parts have {rows:,} rows together, and it says {certificate.rows:,}")
    totals = sum((part.counts for part in certificate.partials), np.zeros_like(certificate.counts))
    wrong = np.argwhere(totals != certificate.counts)
    if len(wrong):
        concept, column = wrong[0]
        raise _refuted(
            certificate,
            f"its parts count {int(totals[concept, column]):,} rows for {certificate.concepts[concept]!r} at "
            f"{float(certificate.thresholds[concept, column])!r} together, and it says "
            f"{int(certificate.counts[concept, column]):,}",
        )


def _rebuilt(certificate: Certificate, chosen: Sequence[np.ndarray], histogram: bool) -> CountQuery:
    if certificate.control is not None and certificate.control["chosen"]:
        return certificate.query(chosen, histogram=histogram)  # what it lacks is no fault of the certificate's
    try:
        return certificate.query(histogram=histogram)
    except BadInput as error:
        raise _refuted(certificate, str(error)) from error


def _open(certificate: Certificate, database: Database) -> tuple[Corpus, int]:
    corpus = Corpus.open(database, certificate.corpus)
    newest = corpus.version
    try:
        corpus = Corpus.open(database, certificate.corpus, certificate.corpus_version)
    except NotFound as error:
        if certificate.corpus_version > newest:
            raise _refuted(
                certificate, f"it speaks of version {certificate.corpus_version}, and the newest is {newest}"
            ) from error
        raise TailwagError(
            f"run {certificate.run.name} cannot be verified: version {certificate.corpus_version} of corpus "
            f"{certificate.corpus!r} has been cleaned up, its newest is {newest}; count again with --save"
        ) from error
    if corpus.space.identity != certificate.space.identity:
        raise _refuted(
            certificate,
            f"it speaks of space {certificate.space.fingerprint} ({certificate.space.title}), and the corpus is in "
            f"{corpus.space.fingerprint} ({corpus.space.title})",
        )
    return corpus, newest


def _fragments_by_part(certificate: Certificate, corpus: Corpus) -> list[tuple[Fragment, ...]]:
    """Find the parts in the table: they must be all of its fragments at this version, in their order."""
    fragments = corpus.fragments()
    states, told = [fragment.state for fragment in fragments], certificate.states
    if states != told:
        missing, foreign = len(set(states) - set(told)), len(set(told) - set(states))
        differ = f"{missing:,} of the table's are in no part, {foreign:,} of the parts' are not in the table"
        if not missing and not foreign:
            differ = "they are the same, in another order or more than once"
        raise _refuted(
            certificate,
            f"its parts are not the {len(states):,} fragments of version {certificate.corpus_version}: {differ}",
        )
    remaining = iter(fragments)
    return [tuple(next(remaining) for _ in part.states) for part in certificate.partials]


def _require_same(certificate: Certificate, position: int, again: Partial) -> None:
    told = certificate.partials[position]
    which = f"part {position + 1} of {len(certificate.partials)}"
    if again.rows != told.rows:
        raise _refuted(certificate, f"{which} has {again.rows:,} rows, and it says {told.rows:,}")
    if again.digest != told.digest:
        raise _refuted(
            certificate, f"the vectors of {which} have sha256 {again.digest[:16]}…, and it says {told.digest[:16]}…"
        )
    wrong = np.argwhere(again.counts != told.counts)
    if len(wrong):
        concept, column = wrong[0]
        raise _refuted(
            certificate,
            f"{which} counts {int(again.counts[concept, column]):,} rows for {certificate.concepts[concept]!r} at "
            f"{float(certificate.thresholds[concept, column])!r}, and it says {int(told.counts[concept, column]):,}",
        )


def _require_saved(certificate: Certificate, database: Database) -> None:
    """Compare what people read, the tables, with the certificate."""
    run = certificate.run.name
    told = (seal_of(certificate), certificate.query_digest, certificate.corpus, certificate.corpus_version)
    listed = [(one.seal, one.query, one.corpus, one.corpus_version) for one in find_runs(database, run=run)]
    if listed != [told]:
        raise _refuted(certificate, "the table 'certificates' describes it otherwise")
    expected = _plain(frequency_rows(_as_result(certificate), certificate.run).to_pylist())
    found = _plain(saved_frequencies(database, run, side=certificate.side))
    if not found:
        raise TailwagError(f"run {run} was not saved whole, its counts are missing: count again with --save")
    if found != expected:
        raise _refuted(certificate, "the counts in the table 'frequencies' are not the certificate's")
    histograms = saved_of_run(database, run)
    if bool(histograms) != (certificate.histogram_digest is not None):
        raise _refuted(certificate, "the table 'similarities' does not hold the histograms that the certificate names")
    if histograms:
        positions = {row["concept"]: row["_rowoffset"] for row in histograms}
        if len(positions) != len(histograms) or set(positions) != set(certificate.concepts):
            raise _refuted(certificate, "the table 'similarities' holds other concepts than the certificate")
        saved = read_histograms(database, [positions[concept] for concept in certificate.concepts])
        if digest_of_histograms(saved) != certificate.histogram_digest:
            raise _refuted(certificate, "the histograms in the table 'similarities' are not those it names")


def _plain(rows: list[dict]) -> list[tuple]:
    """Leave out what a count was carried on to: a certificate vouches for counts."""
    estimated = ("estimate", "lower", "upper", "method", "grade")
    return sorted(tuple((name, row[name]) for name in sorted(row) if name not in estimated) for row in rows)


def _as_result(certificate: Certificate) -> CountResult:
    return CountResult(
        corpus=certificate.corpus,
        corpus_version=certificate.corpus_version,
        space=certificate.space,
        side=certificate.side,
        rows=certificate.rows,
        failures=certificate.failures,
        concepts=certificate.concepts,
        recipes=certificate.recipes,
        thresholds=certificate.thresholds,
        threshold_sources=certificate.threshold_sources,
        counts=certificate.counts,
        backend=certificate.backend,
        seconds=0.0,
        control=certificate.control_name,
        partials=certificate.partials,
    )


def _refuted(certificate: Certificate, why: str) -> Refuted:
    return Refuted(f"the certificate of run {certificate.run.name} is refuted: {why}")
