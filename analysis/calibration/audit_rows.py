"""Which rows of a corpus belong to which stratum? A random few of each, drawn in one pass with bounded memory.

Not here: what strata are (`strata.py`), which of them are labelled next (`audit.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ...retrieval.counting import similarities
from ...retrieval.counting.bins import EDGES, bin_of
from ...retrieval.counting.query import Mentions
from ...retrieval.counting.tally import pair_similarities
from .strata import Stratum

# Rows times concepts whose exact similarities are held at once: 32 MiB of float64.
_PRODUCTS_A_STEP = 1 << 22


def draw_rows(
    corpus: Corpus,
    prototypes: np.ndarray,
    strata: Sequence[Sequence[Stratum]],
    mentions: Mentions,
    most: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[tuple[np.ndarray, ...], ...]:
    """Draw rows at random from each stratum of each concept, without replacement.

    Parameters
    ----------
    corpus
        The corpus at the version of the histograms that the strata were laid on.
    prototypes
        (C, dimension) float16.
    strata
        C times those of `lay_strata`.
    mentions
        The rows that name the concepts.
    most
        How many rows of a stratum are drawn; all of one that has no more.
    seed
        Of the draw.
    progress
        Advanced by the rows that are done.

    Returns
    -------
    tuple[tuple[np.ndarray, ...], ...]
        For each concept and stratum (m,) int64 offsets in random order; none of a stratum out of reach. The first n of
        them are a sample of n; with the same seed a greater `most` only makes the tail longer.

    Raises
    ------
    BadInput
        When a stratum has another number of rows than it says: the corpus is not the one whose strata these are.

    Notes
    -----
    Each row has a pseudo-random 64-bit priority by concept and offset (the finaliser of splitmix64, Steele et al.
    2014), and the lowest `most` of a stratum are kept: bottom-k sampling.
    """
    progress = progress or NoProgress()
    reservoirs = [[_Reservoir(most) for _ in own] for own in strata]
    for block in corpus.scan("image"):
        step = max(_PRODUCTS_A_STEP // max(len(prototypes), 1), 1)
        for start in range(0, len(block.vectors), step):
            rows, offsets = block.vectors[start : start + step], block.offsets[start : start + step]
            _draw_from(rows, offsets, prototypes, strata, mentions, reservoirs, seed)
        progress.advance(len(block.vectors))
    for own, kept in zip(strata, reservoirs, strict=True):
        for stratum, reservoir in zip(own, kept, strict=True):
            if stratum.in_reach and reservoir.seen != stratum.rows:
                raise BadInput(
                    f"a stratum of {stratum.rows:,} rows has {reservoir.seen:,} in corpus {corpus.name!r} at version "
                    f"{corpus.version}: begin a new audit at this version"
                )
    return tuple(tuple(one.ordered() for one in own) for own in reservoirs)


def _draw_from(
    rows: np.ndarray,
    offsets: np.ndarray,
    prototypes: np.ndarray,
    strata: Sequence[Sequence[Stratum]],
    mentions: Mentions,
    reservoirs: list[list[_Reservoir]],
    seed: int,
) -> None:
    first, last = np.searchsorted(mentions.offsets, [offsets[0], offsets[-1] + 1])
    places, named_concepts = mentions.offsets[first:last] - offsets[0], mentions.concepts[first:last]
    named_bins = bin_of(pair_similarities(rows, places, prototypes, named_concepts))
    scores = similarities(rows, prototypes)
    for concept, (own, kept) in enumerate(zip(strata, reservoirs, strict=True)):
        of_concept = named_concepts == concept
        named, bins = np.unique(places[of_concept]), named_bins[of_concept]
        bins = bins[np.unique(places[of_concept], return_index=True)[1]]
        lowest = min((one.first for one in own if not one.named and one.in_reach), default=None)
        unnamed, unnamed_bins = named[:0], bins[:0]
        if lowest is not None:
            unnamed = np.setdiff1d(np.flatnonzero(scores[:, concept] >= EDGES[lowest]), named, assume_unique=True)
            unnamed_bins = bin_of(scores[unnamed, concept])
        for stratum, reservoir in zip(own, kept, strict=True):
            if not stratum.in_reach:
                continue
            candidates, their_bins = (named, bins) if stratum.named else (unnamed, unnamed_bins)
            chosen = candidates[(their_bins >= stratum.first) & (their_bins < stratum.last)]
            reservoir.add(offsets[chosen], _priorities(offsets[chosen], seed, concept))


class _Reservoir:
    """The rows of lowest priority so far."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._offsets = np.zeros(0, dtype=np.int64)
        self._priorities = np.zeros(0, dtype=np.uint64)
        self.seen = 0

    def add(self, offsets: np.ndarray, priorities: np.ndarray) -> None:
        self.seen += len(offsets)
        self._offsets = np.concatenate([self._offsets, offsets])
        self._priorities = np.concatenate([self._priorities, priorities])
        if len(self._offsets) > self._most:
            kept = np.lexsort((self._offsets, self._priorities))[: self._most]
            self._offsets, self._priorities = self._offsets[kept], self._priorities[kept]

    def ordered(self) -> np.ndarray:
        return self._offsets[np.lexsort((self._offsets, self._priorities))]


def _priorities(offsets: np.ndarray, seed: int, concept: int) -> np.ndarray:
    """Mix offsets into 64 bits that look random, differently for every seed and concept."""
    start = np.random.SeedSequence([seed, concept]).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        mixed = (offsets.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + start
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
