"""What an estimate comes to: typed records that print as sentences and turn into arrow tables. Never a bare number.

Not here: where the intervals come from (`intervals.py`, `sequences.py`), the samples (`growing.py`, `sketch.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...embed.corpus import Side
from ...embed.space import Space
from ..counting.result import Count, format_share, format_threshold

# How a number was found; stands with each.
WHOLE = "whole corpus"
ONE_LOOK = "one look"
ANY_TIME = "looks at any time"
HISTOGRAM = "histogram"
HISTOGRAM_AND_SAMPLE = "histogram and sample"


def planned_looks(looks: int) -> str:
    """Name the method of one of so many planned looks."""
    return ONE_LOOK if looks == 1 else f"{looks} planned looks"


@dataclass(frozen=True)
class Estimate:
    """About how many rows reach one threshold for one concept, going by a sample. Prints as a sentence.

    Attributes
    ----------
    concept, recipe, threshold, threshold_source
        As in `Count`.
    estimate
        Hits in the whole corpus, as the sample has it.
    lower, upper
        The interval, both ends inside.
    confidence
        With which the interval holds the count, for this concept and threshold alone.
    approximate
        Whether it is an estimate; False for a number that was counted exactly.
    method
        How it was found: ``"one look"``, ``"14 planned looks"``, ``"looks at any time"``, ``"whole corpus"``,
        ``"histogram"``, ``"histogram and sample"``.
    hits, sampled
        Hits among the rows that were compared, and how many those were.
    rows
        Rows of the corpus that the estimate speaks of.
    failures, side, corpus, corpus_version, space, control
        As in `Count`.
    """

    concept: str
    recipe: str
    threshold: float
    threshold_source: str
    estimate: int
    lower: int
    upper: int
    confidence: float
    approximate: bool
    method: str
    hits: int
    sampled: int
    rows: int
    failures: int | None
    side: Side
    corpus: str
    corpus_version: int
    space: Space
    control: str = ""

    def __str__(self) -> str:
        if not self.approximate:
            return str(
                Count(
                    concept=self.concept,
                    recipe=self.recipe,
                    threshold=self.threshold,
                    threshold_source=self.threshold_source,
                    count=self.estimate,
                    rows=self.rows,
                    failures=self.failures,
                    side=self.side,
                    corpus=self.corpus,
                    corpus_version=self.corpus_version,
                    space=self.space,
                    control=self.control,
                )
            )
        about, lower, upper = (f"{value:,}" for value in rounded(self.estimate, self.lower, self.upper, self.rows))
        noun = {"image": "image", "text": "caption"}[self.side] + ("" if self.rows == 1 else "s")
        histogram = "the histogram and " if self.method == HISTOGRAM_AND_SAMPLE else ""
        rows = "row" if self.sampled == 1 else "rows"
        sentence = (
            f"about {about} ({format_confidence(self.confidence)} interval {lower} to {upper}) of {self.rows:,} {noun} "
            f'have a similarity of at least {format_threshold(self.threshold)} to "{self.concept}" in corpus '
            f"'{self.corpus}' (version {self.corpus_version}, {self.space.title}), estimated from {histogram}a sample "
            f"of {format_share(self.sampled / self.rows)} ({self.sampled:,} {rows})"
        )
        if self.control:
            sentence += f" of the rows with {self.control}"
        if self.failures:
            sentence += f"; {self.failures:,} more sample{'' if self.failures == 1 else 's'} could not be embedded"
        return sentence + "."


@dataclass(frozen=True, eq=False)
class EstimateResult:
    """Estimates for C concepts at T thresholds, and everything they hold for.

    Each interval is for its own concept and threshold: the chance that *all* of them hold together is smaller.

    Attributes
    ----------
    corpus, corpus_version, space, side, control
        What was sampled.
    rows, sampled, rate
        Rows of the corpus that the estimates speak of; how many of them were compared: those with u < rate.
    failures
        Samples that could not be embedded; None where that is not known.
    concepts, recipes, thresholds, threshold_sources
        As in `CountResult`.
    hits
        (C, T) int64, among the rows that were compared.
    estimates, lower, upper
        (C, T) int64, in the whole corpus.
    approximate
        (C, T) bool.
    methods
        (C, T) texts; see `Estimate`.
    confidence
        Of each interval.
    backend, seconds
        What counted, and how long it took.
    """

    corpus: str
    corpus_version: int
    space: Space
    side: Side
    rows: int
    sampled: int
    rate: float
    failures: int | None
    concepts: tuple[str, ...]
    recipes: tuple[str, ...]
    thresholds: np.ndarray
    threshold_sources: tuple[str, ...]
    hits: np.ndarray
    estimates: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    approximate: np.ndarray
    methods: np.ndarray
    confidence: float
    backend: str
    seconds: float
    control: str = ""

    def __len__(self) -> int:
        return self.estimates.size

    def __getitem__(self, position: int) -> Estimate:
        """Give one estimate, concept by concept and in the order of its thresholds."""
        place = divmod(range(len(self))[position], self.estimates.shape[1])
        return Estimate(
            concept=self.concepts[place[0]],
            recipe=self.recipes[place[0]],
            threshold=float(self.thresholds[place]),
            threshold_source=self.threshold_sources[place[0]],
            estimate=int(self.estimates[place]),
            lower=int(self.lower[place]),
            upper=int(self.upper[place]),
            confidence=self.confidence,
            approximate=bool(self.approximate[place]),
            method=str(self.methods[place]),
            hits=int(self.hits[place]),
            sampled=self.sampled,
            rows=self.rows,
            failures=self.failures,
            side=self.side,
            corpus=self.corpus,
            corpus_version=self.corpus_version,
            space=self.space,
            control=self.control,
        )

    def __iter__(self) -> Iterator[Estimate]:
        return (self[position] for position in range(len(self)))

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table` with one row a concept and threshold.

        Returns
        -------
        pyarrow.Table
            Columns corpus, corpus_version, concept, side, control, recipe, threshold, threshold_source, estimate,
            lower, upper, confidence, approximate, method, hits, sampled, rows; the space, the rate, the failures and
            the backend in the schema's metadata.
        """
        import pyarrow as pa

        concepts, thresholds = self.estimates.shape
        size = self.estimates.size
        repeated = pa.array(np.repeat(np.arange(concepts), thresholds))
        table = pa.table(
            {
                "corpus": pa.array([self.corpus] * size, pa.string()),
                "corpus_version": pa.array(np.full(size, self.corpus_version, np.int64)),
                "concept": pa.array(self.concepts, pa.string()).take(repeated),
                "side": pa.array([self.side] * size, pa.string()),
                "control": pa.array([self.control] * size, pa.string()),
                "recipe": pa.array(self.recipes, pa.string()).take(repeated),
                "threshold": pa.array(self.thresholds.reshape(-1)),
                "threshold_source": pa.array(self.threshold_sources, pa.string()).take(repeated),
                "estimate": pa.array(self.estimates.reshape(-1)),
                "lower": pa.array(self.lower.reshape(-1)),
                "upper": pa.array(self.upper.reshape(-1)),
                "confidence": pa.array(np.full(size, self.confidence)),
                "approximate": pa.array(self.approximate.reshape(-1)),
                "method": pa.array([str(method) for method in self.methods.reshape(-1)], pa.string()),
                "hits": pa.array(self.hits.reshape(-1)),
                "sampled": pa.array(np.full(size, self.sampled, np.int64)),
                "rows": pa.array(np.full(size, self.rows, np.int64)),
            }
        )
        return table.replace_schema_metadata(
            {
                "tailwag:space": self.space.to_json(),
                "tailwag:rate": repr(self.rate),
                "tailwag:failures": "" if self.failures is None else str(self.failures),
                "tailwag:backend": self.backend,
            }
        )


def rounded(estimate: int, lower: int, upper: int, rows: int) -> tuple[int, int, int]:
    """Write an estimate and its interval with as many digits as the interval's width lets stand, the ends outward.

    Examples
    --------
    >>> rounded(1234567, 1181234, 1288765, 400_000_000)
    (1230000, 1180000, 1290000)
    >>> rounded(2, 0, 7, 1000)
    (2, 0, 7)
    """
    unit = 10 ** max(0, math.floor(math.log10(max(upper - lower, 1))) - 1)
    return round(estimate / unit) * unit, lower // unit * unit, min(-(-upper // unit) * unit, rows)


def format_confidence(confidence: float) -> str:
    """Write a confidence as a percentage.

    Examples
    --------
    >>> format_confidence(0.95), format_confidence(0.999)
    ('95 %', '99.9 %')
    """
    return f"{100 * confidence:.10g} %"
