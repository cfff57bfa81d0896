"""A certificate: everything that is needed to count again, in parts, what was counted.

Not here: its form as a file (`certificate_file.py`), counting again (`verification.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.version import __version__

from ...embed.corpus import Corpus, Side
from ...embed.space import Space
from ..counting import Control, CountQuery, CountResult, Partial
from ..counting.bins import BINS, BINS_PER_UNIT, FIRST_EDGE
from ..prototypes import PrototypeSet
from .runs import Run

# The rule by which similarities fall into bins; saved histograms of another rule cannot be read by this one.
BIN_RULE = f"{BINS} of 1/{BINS_PER_UNIT} from {FIRST_EDGE}/{BINS_PER_UNIT}"


@dataclass(frozen=True, eq=False)
class Certificate:
    """What was counted, of what, with what outcome, and how each part of the table adds to it.

    Attributes
    ----------
    run
        The run's name and time.
    corpus, corpus_version, space, side
        What was counted.
    control
        What `Control.describe` tells of the control; None when all rows were counted.
    concepts, recipes, threshold_sources
        C texts each.
    prototypes
        (C, d) float16.
    thresholds
        (C, T) float64.
    counts
        (C, T) int64.
    rows
        Rows that were compared.
    failures
        Samples that could not be embedded; None where that was not known.
    partials
        What each part of the table, in its order, adds: its fragments' states, rows, digest of vectors, counts.
    histogram_digest
        sha256 of the histograms, (C, BINS) int64 in little-endian bytes; None when none were made.
    backend, version
        What counted, and the version of tailwag that did.
    """

    run: Run
    corpus: str
    corpus_version: int
    space: Space
    side: Side
    control: Mapping[str, Any] | None
    concepts: tuple[str, ...]
    recipes: tuple[str, ...]
    threshold_sources: tuple[str, ...]
    prototypes: np.ndarray
    thresholds: np.ndarray
    counts: np.ndarray
    rows: int
    failures: int | None
    partials: tuple[Partial, ...]
    histogram_digest: str | None
    backend: str
    version: str = __version__

    @classmethod
    def of(cls, query: CountQuery, result: CountResult, run: Run | None = None) -> Certificate:
        """Make the certificate of a count.

        Parameters
        ----------
        query
            What was asked, with `partials`.
        result
            What came out.
        run
            Its name; None begins a new run.

        Raises
        ------
        BadInput
            When the query did not ask for partial counts.
        """
        if not query.partials:
            raise BadInput("a certificate needs the counts of each part: ask for them with CountQuery(partials=True)")
        return cls(
            run=run or Run.begin(),
            corpus=result.corpus,
            corpus_version=result.corpus_version,
            space=result.space,
            side=result.side,
            control=query.control.describe() if query.control is not None else None,
            concepts=result.concepts,
            recipes=result.recipes,
            threshold_sources=result.threshold_sources,
            prototypes=query.prototypes.vectors,
            thresholds=result.thresholds,
            counts=result.counts,
            rows=result.rows,
            failures=result.failures,
            partials=result.partials,
            histogram_digest=digest_of_histograms(result.histogram) if result.histogram is not None else None,
            backend=result.backend,
        )

    @property
    def states(self) -> list[str]:
        """The states of all fragments, part by part."""
        return [state for part in self.partials for state in part.states]

    @property
    def control_name(self) -> str:
        """The control's name; empty when all rows were counted."""
        return self.control["name"] if self.control is not None else ""

    @property
    def places(self) -> dict[tuple[bytes, float], tuple[int, int]]:
        """Where each prototype, by its bytes, and threshold stands in `counts`: row and column."""
        names = [vector.tobytes() for vector in self.prototypes]
        return {
            (names[row], float(self.thresholds[row, column])): (row, column)
            for row, column in np.ndindex(self.thresholds.shape)
        }

    def query(self, chosen: Sequence[np.ndarray] = (), *, histogram: bool = False) -> CountQuery:
        """Give the question that was answered, with partial counts.

        Parameters
        ----------
        chosen
            (N,) bool arrays: the rows of a control that were chosen by hand; a certificate keeps but their digest.
        histogram
            Whether to ask for histograms too.

        Raises
        ------
        BadInput
            When the prototypes or thresholds cannot be used, or rows that were chosen are not given.
        """
        control = Control.rebuild(self.control, chosen) if self.control is not None else None
        return CountQuery(
            PrototypeSet(self.concepts, self.prototypes, self.space, self.recipes),
            self.thresholds,
            self.side,
            self.threshold_sources,
            control=control,
            histogram=histogram,
            partials=True,
        )

    @property
    def query_digest(self) -> str:
        """Names what was asked, whatever was counted: the space, the side, the prototypes and their thresholds."""
        return _digest_of_question(self.space, self.side, self.prototypes, self.thresholds)


def digest_of_query(query: CountQuery) -> str:
    """Name what a query asks, as `Certificate.query_digest` does."""
    return _digest_of_question(query.prototypes.space, query.side, query.prototypes.vectors, query.thresholds)


def state_of(corpus: Corpus) -> str:
    """Name the rows of a corpus at its version: sha256 of its fragments' states.

    A version's number says less: a corpus that is made anew under its old name begins at 1 again.
    """
    return hashlib.sha256("\n".join(fragment.state for fragment in corpus.fragments()).encode()).hexdigest()


def digest_of_histograms(histogram: np.ndarray) -> str:
    """Give the sha256 of histograms, (C, BINS), as int64 in little-endian bytes."""
    return hashlib.sha256(np.ascontiguousarray(histogram, dtype="<i8").tobytes()).hexdigest()


def digest_of_array(array: np.ndarray) -> str:
    """Give the sha256 of an array's type, shape and little-endian numbers: how a file lays it out is of no account."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{plain.dtype.str} {plain.shape} ".encode() + plain.tobytes()).hexdigest()


def _digest_of_question(space: Space, side: str, prototypes: np.ndarray, thresholds: np.ndarray) -> str:
    return hashlib.sha256(
        f"{space.fingerprint} {side} {digest_of_array(prototypes)} {digest_of_array(thresholds)}".encode()
    ).hexdigest()
