"""What changed between two corpora, two versions of one, or two saved counts: the same concepts counted in both.

Not here: counting only what changed (`version_difference.py`), printing (`printing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...embed.database import Database
from ..counting import CountQuery, count
from .certificate import Certificate, digest_of_query, state_of
from .runs import is_run_name
from .saved_counts import SavedRun, find_runs, load_certificate
from .version_difference import count_since, reusable_rows

# Certificates that are tried when none is saved of the very same question: each takes a while to load.
_MOST_TRIED = 5


@dataclass(frozen=True)
class Compared:
    """One concept at one threshold in both.

    Attributes
    ----------
    concept, threshold
        What was counted.
    first_count, second_count, first_share, second_share
        Hits, and hits as a share of the rows.
    difference
        Second count minus first.
    ratio
        Second share over first: 1 where the concept kept pace with the corpus. None where the first is 0.
    """

    concept: str
    threshold: float
    first_count: int
    second_count: int
    first_share: float
    second_share: float

    @property
    def difference(self) -> int:
        """Second count minus first."""
        return self.second_count - self.first_count

    @property
    def ratio(self) -> float | None:
        """Second share over first; None where the first is 0."""
        return self.second_share / self.first_share if self.first_share else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The counts of the same prototypes at the same thresholds in two places.

    Attributes
    ----------
    first, second
        The certificates of both counts; they may be of runs that were not saved.
    rows_read
        Rows that were read to compare them; 0 where both were saved.
    entries
        One a concept and threshold that both have, in the order of the first.
    only_first, only_second
        Concepts that one of them did not count with the same prototype and threshold.
    """

    first: Certificate
    second: Certificate
    rows_read: int
    entries: tuple[Compared, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.entries)

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table` with one row a concept and threshold, both sides in its columns."""
        import pyarrow as pa

        size = len(self)
        columns: dict[str, Any] = {
            "concept": pa.array([one.concept for one in self], pa.string()),
            "threshold": pa.array([one.threshold for one in self], pa.float64()),
        }
        for which, own in (("first", self.first), ("second", self.second)):
            columns[f"{which}_corpus"] = pa.array([own.corpus] * size, pa.string())
            columns[f"{which}_version"] = pa.array([own.corpus_version] * size, pa.int64())
            columns[f"{which}_side"] = pa.array([own.side] * size, pa.string())
            columns[f"{which}_control"] = pa.array([own.control_name] * size, pa.string())
            columns[f"{which}_count"] = pa.array([getattr(one, f"{which}_count") for one in self], pa.int64())
            columns[f"{which}_rows"] = pa.array([own.rows] * size, pa.int64())
            columns[f"{which}_share"] = pa.array([getattr(one, f"{which}_share") for one in self], pa.float64())
        columns["difference"] = pa.array([one.difference for one in self], pa.int64())
        columns["ratio"] = pa.array([one.ratio for one in self], pa.float64())
        return pa.table(columns).replace_schema_metadata({"tailwag:space": self.first.space.to_json()})


def find_side(database: Database, text: str) -> Corpus | Certificate:
    """Find what a side of a comparison is named by: a run, ``CORPUS``, or ``CORPUS@VERSION``.

    Raises
    ------
    NotFound, BadInput
        When there is no such thing.
    """
    if is_run_name(text):
        return load_certificate(database, text)
    name, _, version = text.partition("@")
    return Corpus.open(database, name, (int(version) if version.isdigit() else version) or None)


def compare(
    database: Database,
    first: Corpus | Certificate,
    second: Corpus | Certificate,
    query: CountQuery | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
    side: str = "image",
) -> Comparison:
    """What did filtering or growing do to each concept?

    Saved counts are taken where they hold for these very rows; else rows are counted, those that both versions of a
    corpus share only once.

    Parameters
    ----------
    database
        Where both are.
    first, second
        Corpora at their versions, or the certificates of saved counts.
    query
        What to count in corpora; None takes what a saved count of one of the two asked.
    backend, progress
        See `count`.
    side
        Of saved counts, without a query: those of this side.

    Raises
    ------
    NotFound
        When nothing is saved that says what to count.
    SpaceMismatch
        When the two are in different spaces.
    BadInput
        When they have no prototype and threshold in common.
    """
    _require_same_space(first, second)
    if isinstance(first, Certificate) and isinstance(second, Certificate):
        return match(first, second)
    known = []
    if query is None:
        known = [_base(database, first, second, side)]
        query = known[0].query()
    read = 0
    counted: list[Certificate] = []
    for one in (first, second):
        if isinstance(one, Certificate):
            counted.append(one)
            continue
        certificate, rows = _counts_of(database, one, query, [*counted, *known], backend, progress)
        counted.append(certificate)
        read += rows
    return match(*counted, rows_read=read)


def match(first: Certificate, second: Certificate, rows_read: int = 0) -> Comparison:
    """Put the counts of two certificates side by side, where prototypes and thresholds are the same.

    Raises
    ------
    BadInput
        When none are.
    """
    places = second.places
    entries: list[Compared] = []
    matched: tuple[set[int], set[int]] = (set(), set())
    for (vector, threshold), (row, column) in first.places.items():
        other = places.get((vector, threshold))
        if other is None:
            continue
        matched[0].add(row)
        matched[1].add(other[0])
        one, two = int(first.counts[row, column]), int(second.counts[other])
        entries.append(
            Compared(first.concepts[row], threshold, one, two, _share(one, first.rows), _share(two, second.rows))
        )
    if not entries:
        raise BadInput(
            f"what was counted in {_title(first)} and in {_title(second)} has no prototype and threshold in common: "
            "name what to count with --concepts and --threshold"
        )
    left = [
        tuple(concept for row, concept in enumerate(own.concepts) if row not in found)
        for own, found in zip((first, second), matched, strict=True)
    ]
    return Comparison(first, second, rows_read, tuple(entries), *left)


def _require_same_space(first: Corpus | Certificate, second: Corpus | Certificate) -> None:
    first.space.require_same(
        second.space, here=f"{_title(first)} holds", there=f"{_title(second)} holds", remedy="compare within a space"
    )


def _base(database: Database, first: Corpus | Certificate, second: Corpus | Certificate, side: str) -> Certificate:
    """Choose the saved count that says what to compare."""
    for one in (first, second):
        if isinstance(one, Certificate):
            return one
    saved = [[run for run in _runs_of(database, one) if run.side == side] for one in (first, second)]
    asked = {(run.query, run.control) for run in saved[1]}
    both = [run for run in saved[0] if (run.query, run.control) in asked]
    for run in (*both, *saved[0], *saved[1]):
        return load_certificate(database, run.run)
    raise NotFound(
        f"neither {_title(first)} nor {_title(second)} has a saved count of the {side} side: name what to count with "
        "--concepts and --threshold, or count one of them with --save"
    )


def _runs_of(database: Database, corpus: Corpus | Certificate) -> list[SavedRun]:
    """Give the saved counts that hold for these very rows, the newest first."""
    if isinstance(corpus, Certificate):
        return []
    state = state_of(corpus)
    runs = find_runs(database, corpus=corpus.name, corpus_version=corpus.version)
    return [run for run in runs if run.corpus_state == state]


def _counts_of(
    database: Database,
    corpus: Corpus,
    query: CountQuery,
    known: list[Certificate],
    backend: str,
    progress: Progress | None,
) -> tuple[Certificate, int]:
    """Answer a query for a corpus, from what is known as far as that goes; gives also how many rows were read."""
    question = digest_of_query(query)
    runs = sorted(find_runs(database, corpus=corpus.name), key=lambda run: run.query == question, reverse=True)
    candidates = [*known, *(load_certificate(database, run.run) for run in runs[:_MOST_TRIED])]
    reusable = [reusable_rows(corpus, query, one) for one in candidates]
    if not any(reusable):
        asked = replace(query, partials=True)
        result = count(corpus, asked, backend, progress)
        return Certificate.of(asked, result), result.rows
    best = candidates[int(np.argmax(reusable))]
    if best.query_digest == question and best.states == [fragment.state for fragment in corpus.fragments()]:
        return best, 0
    difference = count_since(corpus, query, best, backend, progress)
    return Certificate.of(difference.query, difference.result), difference.rows_read


def _title(one: Corpus | Certificate) -> str:
    if isinstance(one, Certificate):
        return f"run {one.run.name}"
    return f"corpus {one.name!r} (version {one.version})"


def _share(count: int, rows: int) -> float:
    return count / rows if rows else 0.0
