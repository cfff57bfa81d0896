"""A sample of a corpus that can be widened: the hits among the rows with u < q, for a q that is raised.

Not here: when to stop widening (`looks.py`), the intervals' mathematics (`intervals.py`, `sequences.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ..counting import CountQuery, count, sample
from ..counting.engine import known_failures
from .intervals import point_estimate
from .result import ANY_TIME, WHOLE, EstimateResult, planned_looks
from .sequences import scheduled_interval, sequence_interval


class GrowingSample:
    """The hits among the rows with u < q. Widening it reads only the rows that it does not hold yet.

    u is a hash of the row's key and is treated as drawn at random: the sample is then as good as one drawn from the N
    rows without replacement, whatever stands in them and however the table is ordered.

    Parameters
    ----------
    corpus
        The corpus at one version.
    query
        Prototypes, thresholds, side, and a control if only some rows are meant.
    backend
        What counts.

    Attributes
    ----------
    rows
        N: the corpus's rows, or those that the query's control leaves.
    rate
        q; 0 before the first widening.
    sampled
        Rows with u < q.
    hits
        (C, T) int64: how many of them are hits.

    Examples
    --------
    >>> growing = GrowingSample(corpus, CountQuery(prototypes, 0.27))       # doctest: +SKIP
    >>> growing.widen(0.001)                                                # doctest: +SKIP
    >>> print(growing.estimate(looks=None)[0])                              # doctest: +SKIP
    >>> growing.widen(0.01)                                                 # doctest: +SKIP
    """

    def __init__(self, corpus: Corpus, query: CountQuery, backend: str = "auto") -> None:
        require_counts_alone(query)
        self.corpus = corpus
        self.query = query
        self.rows = len(corpus) if query.control is None else query.control.mask(corpus).count
        self.rate = 0.0
        self.sampled = 0
        self.hits = np.zeros(query.thresholds.shape, dtype=np.int64)
        self._asked_backend = backend
        self._backend = ""
        self._seconds = 0.0

    def widen(self, rate: float, progress: Progress | None = None) -> None:
        """Take in the rows with `self.rate` ≤ u < `rate`. If that fails or is broken off, the sample is as before.

        Raises
        ------
        BadInput
            Unless the rate is above the sample's and at most 1.
        TailwagError
            As `count` raises.
        """
        added = sample(rate, self.rate)
        control = added if self.query.control is None else self.query.control & added
        found = count(self.corpus, replace(self.query, control=control), self._asked_backend, progress)
        # The rows of a part that was broken off are the table's first and no random ones: all of them or none.
        self.rate, self.sampled, self.hits = rate, self.sampled + found.rows, self.hits + found.counts
        self._backend, self._seconds = found.backend, self._seconds + found.seconds

    def estimate(self, confidence: float = 0.95, looks: int | None = 1) -> EstimateResult:
        """About how many rows of the corpus are hits?

        Parameters
        ----------
        confidence
            Of each interval.
        looks
            1 when no other sample of this corpus decided, or will decide, whether to stop here; the number of looks
            that were planned before the first, to stop at any of them; None to look and stop at any time.

        Raises
        ------
        BadInput
            For a confidence that is not between 0 and 1, or when the sample holds no row of a corpus that has some.
        """
        if not self.sampled and self.rows:
            raise BadInput(
                f"no row of corpus {self.corpus.name!r} ({self.rows:,} rows) is in the sample u < {self.rate:g}: take "
                "a larger one"
            )
        sample_of = (self.hits, self.sampled, self.rows)
        if looks is None:
            lower, upper = sequence_interval(*sample_of, confidence)
        else:
            lower, upper = scheduled_interval(*sample_of, confidence, looks)
        whole = self.sampled == self.rows
        method = WHOLE if whole else ANY_TIME if looks is None else planned_looks(looks)
        query, shape = self.query, self.hits.shape
        return EstimateResult(
            corpus=self.corpus.name,
            corpus_version=self.corpus.version,
            space=self.corpus.space,
            side=query.side,
            rows=self.rows,
            sampled=self.sampled,
            rate=self.rate,
            failures=known_failures(self.corpus),
            concepts=query.prototypes.names,
            recipes=query.prototypes.recipes,
            thresholds=query.thresholds,
            threshold_sources=query.threshold_sources,
            hits=self.hits,
            estimates=point_estimate(*sample_of),
            lower=lower,
            upper=upper,
            approximate=np.full(shape, not whole),
            methods=np.full(shape, method, dtype=object),
            confidence=confidence,
            backend=self._backend,
            seconds=self._seconds,
            control=query.control.name if query.control is not None else "",
        )


def require_counts_alone(query: CountQuery) -> None:
    """Refuse what a sample does not answer, rather than leave it out.

    Raises
    ------
    BadInput
        Naming what was asked for beside counts.
    """
    more = {
        "histogram": query.histogram,
        "mentions": query.mentions is not None,
        "other_thresholds": query.other_thresholds is not None,
        "margin": query.margin is not None,
        "best": query.best > 0,
        "top_k": query.top_k > 0,
        "partials": query.partials,
    }
    asked = [name for name, wanted in more.items() if wanted]
    if asked:
        raise BadInput(f"an estimate answers counts at thresholds, not {', '.join(asked)}: use `count` for those")
