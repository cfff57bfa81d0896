"""Counting the captions of a corpus that name each concept: one pass, all concepts, both rules.

Not here: what naming is (`matching.py`), the paper's own procedure (`paper_search.py`), the result (`result.py`).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ..concepts import ConceptSet
from ..counting.controls import Control
from ..counting.query import Mentions
from .matching import RULES, CaptionMatcher, Matches, Rule
from .paper_search import PaperIndex
from .result import CaptionCounts

BATCH_ROWS = 1 << 16


def count_captions(
    corpus: Corpus,
    concepts: ConceptSet,
    *,
    like_paper: bool = False,
    keep: Rule | None = "words",
    control: Control | None = None,
    progress: Progress | None = None,
) -> CaptionCounts:
    """How many captions of the corpus name each concept?

    One pass over the captions at the corpus's version, for both rules: the phrase, and all words in any form. A caption
    counts once for a concept, however many of its names it holds. Captions are matched in as many threads as there are
    cores; what is held in memory is a few batches, and the mentions that are kept.

    Parameters
    ----------
    corpus
        The corpus at one version.
    concepts
        C concepts; their synonyms count as well.
    like_paper
        Count also as the frequency paper did, faults and all; see `paper_search.py`. In one thread, and slowly.
    keep
        The rule whose rows are kept as `CaptionCounts.mentions`, 12 bytes each; None keeps none.
    control
        Which rows are counted; None counts all.
    progress
        Advanced by the rows that are done; None shows nothing.

    Raises
    ------
    BadInput
        For a name without a letter or digit, and a rule that does not exist.
    TailwagError
        When captions cannot be read.

    Examples
    --------
    >>> print(count_captions(corpus, load_concepts("everyday"))[0])    # doctest: +SKIP
    """
    if keep is not None and keep not in RULES:
        raise BadInput(f"no rule {keep!r} by which captions name concepts: there are {' and '.join(RULES)}")
    progress = progress or NoProgress()
    start = time.perf_counter()
    matcher = CaptionMatcher(concepts)
    counts, empty, rows = np.zeros((2, len(concepts)), dtype=np.int64), 0, 0
    paper = PaperIndex(concepts.names) if like_paper else None
    offsets: list[np.ndarray] = []
    named: list[np.ndarray] = []

    def match(piece: tuple[np.ndarray | int, Any]) -> tuple[np.ndarray | int, Any, Matches]:
        where, captions = piece
        return where, captions, matcher.match(captions, keep)

    for where, captions, found in _in_order(match, _batches(corpus, control)):
        counts += found.phrase, found.words
        empty += found.empty_captions
        rows += len(captions)
        if paper is not None:
            paper.add(captions.to_pylist())
        if keep is not None:
            offsets.append(found.rows.astype(np.int64) + where if isinstance(where, int) else where[found.rows])
            named.append(found.concepts)
        progress.advance(len(captions))
    mentions = None
    if keep is not None:
        nothing = np.zeros(0, dtype=np.int64)
        mentions = Mentions(
            np.concatenate(offsets) if offsets else nothing,
            np.concatenate(named) if named else nothing.astype(np.int32),
        )
    return CaptionCounts(
        corpus=corpus.name,
        corpus_version=corpus.version,
        rows=rows,
        empty_captions=empty,
        concepts=concepts.names,
        phrase=counts[0],
        words=counts[1],
        paper=paper.counts() if paper is not None else None,
        mentions=mentions,
        keep=keep,
        control=control.name if control is not None else "",
        seconds=time.perf_counter() - start,
    )


def _batches(corpus: Corpus, control: Control | None) -> Iterator[tuple[np.ndarray | int, Any]]:
    """Yield captions in order, and where they stand: the first one's offset, or all of theirs under a control."""
    import pyarrow as pa

    mask, start = control.mask(corpus) if control is not None else None, 0
    for captions in corpus.text_pieces("caption", BATCH_ROWS):
        stop = start + len(captions)
        if mask is None:
            yield start, captions
        else:
            wanted = mask.between(start, stop)
            yield start + np.flatnonzero(wanted), captions.filter(pa.array(wanted))
        start = stop


def _in_order(work: Any, pieces: Iterator[Any]) -> Iterator[Any]:
    """Do the work on all pieces in threads, a few ahead of what has been taken, and yield what comes out in order."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(cores) as threads:
        try:
            for piece in pieces:
                waiting.append(threads.submit(work, piece))
                if len(waiting) > cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
