"""Counting a new version of a corpus from what was counted of an old one: only rows that changed are read.

Not here: comparing the counts of two versions or corpora (`comparison.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailwag.errors import BadInput, SpaceMismatch
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...embed.scanning import Fragment
from ..counting import CountQuery, CountResult, Partial, count
from ..counting.engine import MOST_PARTS
from .certificate import Certificate

# Conditions that may hold for a row in one version and not in the next, though the row is the same.
_UNSTEADY = re.compile(r"_row|random|uuid|now\s*\(|today|current_", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Difference:
    """A count of which some parts were read and the others known.

    Attributes
    ----------
    result
        The count of the whole corpus at its version, equal to one that reads everything; with partial counts, and with
        histograms only where the known ones could be added to.
    rows_read, rows_reused
        Rows that were compared now, and rows whose counts were known; together the result's rows.
    parts_reused, parts_read
        The parts that these rows stand in.
    query
        What was asked, with partial counts, as `Certificate.of` wants it.
    """

    result: CountResult
    rows_read: int
    rows_reused: int
    parts_reused: int
    parts_read: int
    query: CountQuery


def count_since(
    corpus: Corpus,
    query: CountQuery,
    certificate: Certificate,
    backend: str = "auto",
    progress: Progress | None = None,
    *,
    histogram: np.ndarray | None = None,
) -> Difference:
    """How many rows of this version lie at or above each threshold, where an earlier version was counted already?

    Parts whose fragments stand in both versions with the same state hold the same rows: their counts are taken from the
    certificate, and only the rest is read.

    Parameters
    ----------
    corpus
        The corpus at the version to count.
    query
        What is asked; its concepts and thresholds must be among the certificate's.
    certificate
        Of the count that is known.
    backend, progress
        See `count`; the progress is advanced by the rows that are read.
    histogram
        (C, BINS) int64, the known count's, for the query's concepts. Where every known part stands still, those of the
        rows that are read are added to it and the result has them.

    Returns
    -------
    Difference
        The count, and what it took.

    Raises
    ------
    BadInput
        When the certificate does not answer this query.
    SpaceMismatch, TailwagError
        As `count` does.
    """
    if query.mentions or query.other_thresholds is not None or query.margin is not None or query.best or query.top_k:
        raise BadInput("only counts and histograms follow from the parts of a saved count: ask for the rest by itself")
    known = known_parts(certificate, query)
    start = time.perf_counter()
    still, rest = _still_there(corpus.fragments(), known)
    grows = histogram is not None and len(still) == len(known)
    asked = replace(query, histogram=grows, partials=True)
    read = count(corpus, asked, backend, progress, parts=rest)
    partials = _in_order(corpus.fragments(), [*still, *read.partials])
    reused = sum(part.rows for part in still)
    result = replace(
        read,
        rows=read.rows + reused,
        counts=sum((part.counts for part in still), read.counts),
        histogram=histogram + read.histogram if histogram is not None and read.histogram is not None else None,
        partials=partials,
        seconds=time.perf_counter() - start,
    )
    return Difference(result, read.rows, reused, len(still), len(read.partials), asked)


def reusable_rows(corpus: Corpus, query: CountQuery, certificate: Certificate) -> int:
    """Of how many rows of a corpus does a certificate know the answer to a query? 0 where it does not answer it."""
    try:
        known = known_parts(certificate, query)
    except (BadInput, SpaceMismatch):
        return 0
    return sum(part.rows for part in _still_there(corpus.fragments(), known)[0])


def known_parts(certificate: Certificate, query: CountQuery) -> tuple[Partial, ...]:
    """Give the partial counts of a certificate for the concepts and thresholds of a query.

    Raises
    ------
    BadInput
        When it counted in another space, of another side or under another control; when a prototype or a threshold of
        the query is not among its own; when rows were chosen by hand or by a condition that a version may change.
    """
    _require_same_rows(certificate, query)
    places = certificate.places
    found = np.zeros((*query.thresholds.shape, 2), dtype=np.int64)
    for row, column in np.ndindex(query.thresholds.shape):
        vector, threshold = query.prototypes.vectors[row].tobytes(), float(query.thresholds[row, column])
        place = places.get((vector, threshold))
        if place is None:
            concept = query.prototypes.names[row]
            others = [value for known, value in places if known == vector]
            if not others:
                raise BadInput(
                    f"run {certificate.run.name} did not count this prototype of {concept!r}: count without --since"
                )
            raise BadInput(
                f"run {certificate.run.name} did not count {concept!r} at {threshold!r}, only at "
                f"{', '.join(map(repr, others))}: pass one of these, or count without --since"
            )
        found[row, column] = place
    chosen = found[..., 0], found[..., 1]
    return tuple(replace(part, counts=part.counts[chosen]) for part in certificate.partials)


def _require_same_rows(certificate: Certificate, query: CountQuery) -> None:
    name = certificate.run.name
    query.prototypes.space.require_same(
        certificate.space,
        here="the prototypes are",
        there=f"run {name} counted with",
        remedy="count without --since",
    )
    if query.side != certificate.side:
        raise BadInput(f"run {name} counted the {certificate.side} side, and {query.side} was asked for: pass the same")
    described = query.control.describe() if query.control is not None else None
    if described != certificate.control:
        raise BadInput(
            f"run {name} counted {_under(certificate.control_name)}, and what was asked for is "
            f"{_under(query.control.name if query.control is not None else '')}: pass the same control"
        )
    if described is None:
        return
    if described["chosen"]:
        raise BadInput(
            f"the rows of control {described['name']!r} were chosen by hand for one version: count without --since"
        )
    unsteady = [condition for condition in described["conditions"] if _UNSTEADY.search(condition)]
    if unsteady:
        raise BadInput(f"which rows fulfil {unsteady[0]!r} may change though the rows do not: count without --since")


def _under(control: str) -> str:
    return f"the rows with {control}" if control else "all rows"


def _still_there(
    fragments: Sequence[Fragment], known: Sequence[Partial]
) -> tuple[list[Partial], list[tuple[Fragment, ...]]]:
    """Find the known parts that still stand in the table, and put what is left into parts."""
    position = {fragment.state: place for place, fragment in enumerate(fragments)}
    still, taken = [], np.zeros(len(fragments), dtype=bool)
    for part in known:
        places = [position.get(state, -1) for state in part.states]
        # In one piece and in the same order, or the digest of their vectors would be another.
        if places and -1 not in places and places == list(range(places[0], places[0] + len(places))):
            still.append(part)
            taken[places] = True
    return still, _parts_between(fragments, taken)


def _parts_between(fragments: Sequence[Fragment], taken: np.ndarray) -> list[tuple[Fragment, ...]]:
    """Put the fragments that are not taken into parts of neighbours, of about as many rows each."""
    left = [fragment for fragment, gone in zip(fragments, taken, strict=True) if not gone]
    least = -(-sum(fragment.rows for fragment in left) // MOST_PARTS) if len(left) > MOST_PARTS else 0
    parts: list[list[Fragment]] = []
    neighbour = False
    for fragment, gone in zip(fragments, taken, strict=True):
        if gone:
            neighbour = False
        elif neighbour and sum(one.rows for one in parts[-1]) < least:
            parts[-1].append(fragment)
        else:
            parts.append([fragment])
            neighbour = True
    return [tuple(part) for part in parts]


def _in_order(fragments: Sequence[Fragment], parts: Sequence[Partial]) -> tuple[Partial, ...]:
    position = {fragment.state: place for place, fragment in enumerate(fragments)}
    return tuple(sorted(parts, key=lambda part: position[part.states[0]]))
