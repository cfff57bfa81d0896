"""A sketch: a sample of a corpus's vectors, small enough to carry about. It answers for concepts never counted before.

Making one from a corpus, and asking it. Not here: its file (`sketch_file.py`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput, TailwagError
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus, Side, check_side, is_unit
from ...embed.scanning import DEFAULT_BLOCK_ROWS
from ...embed.space import Space
from ..counting import Asked, Backend, CountQuery, choose_backend, count, sample
from ..counting.bins import BINS, EDGES, counts_at_edges
from ..counting.engine import known_failures
from ..prototypes import PrototypeSet
from .growing import require_counts_alone
from .intervals import hypergeometric_interval, point_estimate
from .result import HISTOGRAM, HISTOGRAM_AND_SAMPLE, ONE_LOOK, WHOLE, EstimateResult

# 20 MB at 512 numbers a row: an attachment, or a file in a repository.
DEFAULT_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Sketch:
    """A sample of one side of a corpus at one version, and the exact histograms of some concepts.

    Attributes
    ----------
    corpus, corpus_version, space, side
        What was sampled.
    rows
        N, the corpus's rows.
    failures
        Samples that could not be embedded; None where that is not known.
    rate
        q: the vectors are those of the rows with u < q, all of them and no others.
    vectors
        (n, dimension) float16, of unit length, in the order of the corpus; read-only.
    prototypes
        The concepts that were counted in the whole corpus; None if none were.
    histograms
        (S, BINS) int64: the similarities of all N rows to them, by the bins of `counting/bins.py`.

    Raises
    ------
    BadInput
        When one of this does not hold.
    """

    corpus: str
    corpus_version: int
    space: Space
    side: Side
    rows: int
    failures: int | None
    rate: float
    vectors: np.ndarray
    prototypes: PrototypeSet | None = None
    histograms: np.ndarray | None = None

    def __post_init__(self) -> None:
        vectors = np.ascontiguousarray(self.vectors)
        if vectors.dtype != np.float16 or vectors.ndim != 2 or vectors.shape[1] != self.space.dimension:
            raise BadInput(
                f"a sketch of a {self.space.dimension}-dimensional space holds float16 vectors of that length, not "
                f"{vectors.dtype} of shape {vectors.shape}"
            )
        bad = np.flatnonzero(~is_unit(vectors))
        if len(bad):
            raise BadInput(f"{len(bad):,} of its {len(vectors):,} vectors are not finite or not of unit length")
        if not (0 < self.rate <= 1 and len(vectors) <= self.rows) or (self.rate == 1 and len(vectors) != self.rows):
            raise BadInput(f"{len(vectors):,} vectors are no sample u < {self.rate:g} of {self.rows:,} rows")
        check_side(self.side)
        if (self.prototypes is None) != (self.histograms is None):
            raise BadInput("histograms need the prototypes that they are of, and prototypes their histograms")
        vectors.setflags(write=False)
        object.__setattr__(self, "vectors", vectors)
        if self.prototypes is not None and self.histograms is not None:
            self._check_histograms(self.prototypes, self.histograms)

    @classmethod
    def of_corpus(
        cls,
        corpus: Corpus,
        rows: int = DEFAULT_ROWS,
        side: Side = "image",
        prototypes: PrototypeSet | None = None,
        *,
        backend: str = "auto",
        progress: Progress | None = None,
    ) -> Sketch:
        """Sample a corpus.

        Parameters
        ----------
        corpus
            The corpus at one version.
        rows
            About how many rows are wanted: those with u < rows / N are taken, and all if the corpus has no more.
        side
            Whose vectors.
        prototypes
            Concepts whose histograms over the whole corpus are wanted too; None for none, which saves a pass.
        backend, progress
            For that pass; progress is advanced by all rows that are read.

        Raises
        ------
        BadInput
            For fewer than one row.
        TailwagError
            When a row cannot be read or is not of unit length.
        """
        check_side(side)
        if rows < 1:
            raise BadInput(f"a sketch holds at least one row, and {rows} were asked for")
        progress = progress or NoProgress()
        total = len(corpus)
        rate = min(1.0, rows / total) if total else 1.0
        taken = [np.zeros((0, corpus.space.dimension), np.float16)]
        for block in corpus.scan(side, mask=sample(rate).mask(corpus) if rate < 1 else None):
            bad = np.flatnonzero(~is_unit(block.vectors))
            if len(bad):
                key = corpus.take_offsets([int(block.offsets[bad[0]])], ["key"]).column("key")[0].as_py()
                raise TailwagError(
                    f"the {side} vector of {key!r} is not finite or not of unit length in corpus {corpus.name!r} "
                    f"(version {corpus.version}): no sketch was made; embed it again, or delete it"
                )
            taken.append(np.array(block.vectors))
            progress.advance(len(block.vectors))
        histograms = None
        if prototypes is not None:
            query = CountQuery(prototypes, 0.0, side, histogram=True)
            histograms = count(corpus, query, backend, progress).histogram
        return cls(
            corpus=corpus.name,
            corpus_version=corpus.version,
            space=corpus.space,
            side=side,
            rows=total,
            failures=known_failures(corpus),
            rate=rate,
            vectors=np.concatenate(taken),
            prototypes=prototypes,
            histograms=histograms,
        )

    def estimate(self, query: CountQuery, confidence: float = 0.95, backend: str = "auto") -> EstimateResult:
        """About how many rows of the corpus lie at or above each threshold? Without the corpus.

        For a prototype whose histogram the sketch holds, the count at an edge of a bin is exact; between two edges only
        the rows of that bin are in doubt, and those of them that are in the sample say how many reach the threshold.

        Parameters
        ----------
        query
            Prototypes of the sketch's space, thresholds, the sketch's side. Nothing else may be asked for.
        confidence
            With which each interval, for itself, holds the count.
        backend
            What compares the sample.

        Raises
        ------
        SpaceMismatch
            When the prototypes live in another space.
        BadInput
            For another side, a control, or histograms that contradict the sample.
        """
        self._require_fits(query)
        start = time.perf_counter()
        chosen = choose_backend(backend)
        hits = _hits(self.vectors, query.prototypes.vectors, query.thresholds, chosen)
        sample_of = (hits, len(self.vectors), self.rows)
        estimates, (lower, upper) = point_estimate(*sample_of), hypergeometric_interval(*sample_of, confidence)
        whole = len(self.vectors) == self.rows
        approximate = np.full(hits.shape, not whole)
        methods = np.full(hits.shape, WHOLE if whole else ONE_LOOK, dtype=object)
        asked, stored = self._stored(query.prototypes)
        if len(asked) and not whole and self.histograms is not None:
            refined = _refine(
                query.prototypes.vectors[asked],
                query.thresholds[asked],
                hits[asked],
                self.vectors,
                counts_at_edges(self.histograms[stored]),
                confidence,
                chosen,
            )
            estimates[asked], lower[asked], upper[asked], approximate[asked] = refined
            methods[asked] = np.where(approximate[asked], HISTOGRAM_AND_SAMPLE, HISTOGRAM)
        return EstimateResult(
            corpus=self.corpus,
            corpus_version=self.corpus_version,
            space=self.space,
            side=self.side,
            rows=self.rows,
            sampled=len(self.vectors),
            rate=self.rate,
            failures=self.failures,
            concepts=query.prototypes.names,
            recipes=query.prototypes.recipes,
            thresholds=query.thresholds,
            threshold_sources=query.threshold_sources,
            hits=hits,
            estimates=estimates,
            lower=lower,
            upper=upper,
            approximate=approximate,
            methods=methods,
            confidence=confidence,
            backend=chosen.name,
            seconds=time.perf_counter() - start,
        )

    def _require_fits(self, query: CountQuery) -> None:
        require_counts_alone(query)
        query.prototypes.space.require_same(
            self.space,
            here="the prototypes are",
            there=f"the sketch of {self.corpus!r} holds",
            remedy="make the prototypes with the sketch's model",
        )
        if query.side != self.side:
            raise BadInput(
                f"the sketch of {self.corpus!r} holds {self.side} vectors, and the {query.side} side was asked for: "
                "make a sketch of that side"
            )
        if query.control is not None:
            raise BadInput(f"a sketch holds vectors alone: it cannot be asked for the rows with {query.control.name}")

    def _stored(self, prototypes: PrototypeSet) -> tuple[np.ndarray, np.ndarray]:
        """Give the prototypes whose very vectors have a histogram here, and which."""
        if self.prototypes is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        known = {vector.tobytes(): row for row, vector in enumerate(self.prototypes.vectors)}
        stored = np.array([known.get(vector.tobytes(), -1) for vector in prototypes.vectors])
        return np.flatnonzero(stored >= 0), stored[stored >= 0]

    def _check_histograms(self, prototypes: PrototypeSet, histograms: np.ndarray) -> None:
        prototypes.space.require_same(
            self.space, here="its prototypes are", there="its vectors are", remedy="make the sketch again"
        )
        if histograms.dtype != np.int64 or histograms.shape != (len(prototypes), BINS):
            raise BadInput(
                f"histograms of {len(prototypes)} concepts are int64 of shape {(len(prototypes), BINS)}, not "
                f"{histograms.dtype} of {histograms.shape}"
            )
        wrong = np.flatnonzero((histograms < 0).any(axis=1) | (histograms.sum(axis=1) != self.rows))
        if len(wrong):
            raise BadInput(f"the histogram of {prototypes.names[wrong[0]]!r} does not add up to {self.rows:,} rows")


def _hits(vectors: np.ndarray, prototypes: np.ndarray, thresholds: np.ndarray, backend: Backend) -> np.ndarray:
    """Count the sample: (C, T) int64."""
    counter = backend.prepare(prototypes, Asked(thresholds))
    hits = np.zeros(thresholds.shape, dtype=np.int64)
    for start in range(0, len(vectors), DEFAULT_BLOCK_ROWS):
        hits += counter.count_tile(vectors[start : start + DEFAULT_BLOCK_ROWS]).counts
    return hits


def _refine(
    prototypes: np.ndarray,
    thresholds: np.ndarray,
    hits: np.ndarray,
    vectors: np.ndarray,
    counts: np.ndarray,
    confidence: float,
    backend: Backend,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Estimate from the exact counts at the edges about each threshold, and the sampled rows between those.

    Those among the rows of a bin that are in the sample are a sample of that bin, drawn without replacement, whatever
    their number: the interval of one look holds given that number (post-stratification).

    Parameters
    ----------
    counts
        (C, BINS + 1), at the edges.

    Returns
    -------
    tuple[numpy.ndarray, ...]
        Estimates, lower, upper, and whether they are approximate; (C, T) each.
    """
    above = np.searchsorted(EDGES, thresholds, side="left")
    below = np.where(EDGES[above] == thresholds, above, above - 1)
    at_edges = _hits(vectors, prototypes, np.concatenate([EDGES[below], EDGES[above]], axis=1), backend)
    seen_below, seen_above = np.split(at_edges, 2, axis=1)
    sure = np.take_along_axis(counts, above, axis=1)
    in_bin = np.take_along_axis(counts, below, axis=1) - sure
    seen = seen_below - seen_above
    if (seen > in_bin).any() or (seen_above > sure).any():
        raise BadInput("the sketch's histograms contradict its vectors: make it again")
    lower, upper = hypergeometric_interval(hits - seen_above, seen, in_bin, confidence)
    # Where none of a bin's rows is in the sample, they are taken to lie evenly in it.
    width = np.where(above == below, 1.0, EDGES[above] - EDGES[below])
    evenly = np.rint(in_bin * (EDGES[above] - thresholds) / width).astype(np.int64)
    within = np.where(seen == 0, evenly, point_estimate(hits - seen_above, seen, in_bin))
    return sure + within, sure + lower, sure + upper, seen < in_bin
