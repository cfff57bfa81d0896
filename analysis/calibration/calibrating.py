"""How many rows truly show each concept? One pass over the captions, one over the vectors, a frequency a concept.

The records that come out, and the steps from a corpus to them. Not here: the estimators (`anchored.py`, `audit.py`),
grades (`grades.py`), labels (`audit_session.py`), saving (`saved.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...embed.space import Space
from ...retrieval.captions import count_captions
from ...retrieval.concepts import ConceptSet
from ...retrieval.counting import CountQuery, CountResult, count
from ...retrieval.counting.bins import EDGES, counts_at_edges
from ...retrieval.counting.query import Mentions
from ...retrieval.counting.result import format_share, format_threshold
from ...retrieval.prototypes import PrototypeSet
from ...retrieval.records.saved_frequencies import format_rows
from .anchored import AnchoredFrequency, AnchoredSettings, anchored_frequencies
from .grades import grade_anchored, grade_count, grade_without_captions

CAPTIONS = "captions"
NOTHING = "none"
EQUAL_COUNTS = "as many hits as the frequency"
# Sensitivity is read between the edges five bins below and above the threshold: a hundredth apart.
_HALF_STEP = 5


@dataclass(frozen=True)
class CalibratedFrequency:
    """How many rows show one concept, as well as can be told. Prints as a sentence.

    Attributes
    ----------
    concept, recipe
        The concept, and how its prototype was made.
    estimate, lower, upper
        Rows that show it, with the interval; nan where nothing tells.
    method
        What it rests on: ``captions``, ``audit of 60 labels``, ``none``.
    grade
        ``sound``, ``fragile`` or ``unsupported``.
    reasons
        Why it is no better, in words; empty when sound.
    rows
        Of the corpus.
    corpus, corpus_version
        What was looked through.
    mentions, excess
        Rows whose caption names it, and how many of those are more than chance.
    recall, own_recall
        The share of images that show it whose caption names it, and whether the concept's own rows had a say in that.
    threshold, threshold_source, count
        A threshold, where it came from, and the rows at or above it, exactly.
    sensitivity
        By how much the natural logarithm of the count changes when the threshold rises by .01; at most 0.
    count_grade
        How far the raw count may be trusted by itself, and why; empty where no threshold was given.
    labels, unsure
        Rows that people labelled yes or no, and those they could not tell.
    """

    concept: str
    recipe: str
    estimate: float
    lower: float
    upper: float
    method: str
    grade: str
    reasons: tuple[str, ...]
    rows: int
    corpus: str
    corpus_version: int
    mentions: int
    excess: float
    recall: float
    own_recall: bool
    threshold: float
    threshold_source: str
    count: int
    sensitivity: float
    count_grade: str = ""
    labels: int = 0
    unsure: int = 0

    @property
    def is_known(self) -> bool:
        """Whether there is an estimate at all."""
        return not math.isnan(self.estimate)

    @property
    def has_given_threshold(self) -> bool:
        """Whether the threshold was given, and not derived from the frequency."""
        return self.threshold_source != EQUAL_COUNTS

    @property
    def basis(self) -> str:
        """What the estimate rests on, in words."""
        if self.method != CAPTIONS:
            return self.method
        return f"{self.mentions:,} captions that name it, {self.excess:,.0f} of them more than chance"

    def __str__(self) -> str:
        where = f"corpus '{self.corpus}' (version {self.corpus_version})"
        if not self.is_known:
            sentence = f'How many of {self.rows:,} rows show "{self.concept}" in {where} cannot be told'
        else:
            sentence = (
                f'About {format_rows(self.estimate)} of {self.rows:,} rows show "{self.concept}" in {where}: '
                f"{format_rows(self.lower)} to {format_rows(self.upper)} (95 %), "
                f"{format_share(self.estimate / self.rows if self.rows else 0.0)}, by {self.basis}"
            )
        sentence += f"; {self.grade}" + (f", since {'; '.join(self.reasons)}" if self.reasons else "") + "."
        if self.has_given_threshold:
            sentence += (
                f" The raw count is {self.count:,} at a similarity of at least {format_threshold(self.threshold)}"
            )
            if self.count:
                sentence += (
                    f"; a threshold .01 higher would make it {100 * (1 - math.exp(self.sensitivity)):.0f} % smaller"
                )
            sentence += f"; by itself it is {self.count_grade}." if self.count_grade else "."
        return sentence


@dataclass(frozen=True)
class CalibratedFrequencies:
    """The frequencies of C concepts in one corpus at one version, whatever they rest on.

    Attributes
    ----------
    space
        The corpus's.
    frequencies
        C of them, at least one.
    """

    space: Space
    frequencies: tuple[CalibratedFrequency, ...]

    def __len__(self) -> int:
        return len(self.frequencies)

    def __iter__(self) -> Iterator[CalibratedFrequency]:
        return iter(self.frequencies)

    def __getitem__(self, position: int) -> CalibratedFrequency:
        """Give one concept's."""
        return self.frequencies[position]

    def __str__(self) -> str:
        return "\n".join(map(str, self.frequencies))

    def to_arrow(self) -> Any:
        """Give one row a concept, as a `pyarrow.Table`, with the space in the schema's metadata.

        Returns
        -------
        pyarrow.Table
            Columns corpus, corpus_version, side, and the fields of `CalibratedFrequency`; the reasons are one text.
        """
        import pyarrow as pa

        words = ("concept", "estimate", "lower", "upper", "method", "grade", "reasons", "threshold", "threshold_source")
        numbers = (
            "count",
            "count_grade",
            "sensitivity",
            "rows",
            "mentions",
            "excess",
            "recall",
            "own_recall",
            "labels",
            "unsure",
        )
        columns: dict[str, Any] = {
            "corpus": [one.corpus for one in self],
            "corpus_version": pa.array([one.corpus_version for one in self], pa.int64()),
            "side": pa.array(["image"] * len(self), pa.string()),
        }
        for name in (*words, *numbers, "recipe"):
            values = [getattr(one, name) for one in self]
            columns[name] = ["; ".join(value) for value in values] if name == "reasons" else values
        return pa.table(columns).replace_schema_metadata({"tailwag:space": self.space.to_json()})


@dataclass(frozen=True, eq=False)
class Calibration:
    """The frequencies of C concepts in one corpus at one version.

    Attributes
    ----------
    result
        The pass that they rest on, with its histograms; one threshold a concept.
    prototypes
        What was compared.
    mentions
        The rows whose caption names a concept.
    frequencies
        C of them.
    anchored
        C of them: what captions said, before any label.
    captioned_rows
        Rows whose caption holds a word.
    seconds
        How long both passes took.
    """

    result: CountResult
    prototypes: PrototypeSet
    mentions: Mentions
    frequencies: tuple[CalibratedFrequency, ...]
    anchored: tuple[AnchoredFrequency, ...]
    captioned_rows: int
    seconds: float

    def __len__(self) -> int:
        return len(self.frequencies)

    def __iter__(self) -> Iterator[CalibratedFrequency]:
        return iter(self.frequencies)

    def __getitem__(self, position: int) -> CalibratedFrequency:
        """Give one concept's frequency."""
        return self.frequencies[position]

    def __str__(self) -> str:
        return "\n".join(map(str, self.frequencies))

    @property
    def rows_by_similarity(self) -> np.ndarray:
        """(C, BINS) int64: the similarities of all rows."""
        assert self.result.histogram is not None  # it was asked for
        return self.result.histogram

    @property
    def mentions_by_similarity(self) -> np.ndarray:
        """(C, BINS) int64: the same of the rows that name the concept."""
        assert self.result.mention_histogram is not None
        return self.result.mention_histogram

    def table(self) -> CalibratedFrequencies:
        """Give the frequencies alone."""
        return CalibratedFrequencies(self.result.space, self.frequencies)

    def to_arrow(self) -> Any:
        """Give one row a concept, as a `pyarrow.Table`; see `CalibratedFrequencies.to_arrow`."""
        return self.table().to_arrow()


def calibrate(
    corpus: Corpus,
    concepts: ConceptSet,
    prototypes: PrototypeSet,
    *,
    thresholds: np.ndarray | Sequence[float] | float | None = None,
    threshold_sources: Sequence[str] | str = "given",
    settings: AnchoredSettings | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Calibration:
    """How many rows truly show each concept, judged by captions, without a label?

    One pass over the captions finds which rows name which concepts; one over the vectors counts all rows and those rows
    by similarity; `anchored_frequencies` does the rest, for all concepts together, since what one says of recall helps
    the others.

    Parameters
    ----------
    corpus
        The corpus at one version.
    concepts
        C concepts; synonyms count as mentions, and make frequencies better than anything else does.
    prototypes
        One a concept, in their order.
    thresholds
        One number or (C,) float64: raw counts are told at these, beside. None: at the threshold at which the raw count
        is nearest to the frequency.
    threshold_sources
        Where they came from.
    settings
        What is assumed of captions.
    backend
        As for `count`.
    progress
        Advanced by the rows of both passes: twice the corpus's.

    Raises
    ------
    BadInput
        When prototypes and concepts are not the same, or a threshold is not in [-1, 1].
    SpaceMismatch
        When the prototypes live in another space than the corpus.

    Examples
    --------
    >>> print(calibrate(corpus, concepts, prototypes)[0])        # doctest: +SKIP
    About 137 of 20,000 rows show "red panda" in corpus 'demo' (version 3): 96 to 198 (95 %), 0.685 %, by 92 captions …
    """
    if prototypes.names != concepts.names:
        raise BadInput(f"{len(prototypes)} prototypes are not those of the {len(concepts)} concepts, in their order")
    given = None if thresholds is None else np.broadcast_to(np.asarray(thresholds, float).reshape(-1), len(concepts))
    asked = np.ones(len(concepts)) if given is None else given
    # Refuses what cannot be counted before the captions are read.
    CountQuery(prototypes, asked[:, None])
    captions = count_captions(corpus, concepts, keep="words", progress=progress)
    query = CountQuery(
        prototypes,
        asked[:, None],
        "image",
        EQUAL_COUNTS if given is None else threshold_sources,
        histogram=True,
        mentions=captions.mentions,
        partials=True,
    )
    assert captions.mentions is not None  # they were asked for
    result = count(corpus, query, backend, progress)
    assert result.histogram is not None and result.mention_histogram is not None
    anchored = anchored_frequencies(result.histogram, result.mention_histogram, settings)
    captioned = captions.rows - captions.empty_captions
    if given is None:
        result = _at_equal_counts(result, np.array([one.estimate if captioned else 0.0 for one in anchored]))
    frequencies = tuple(
        _frequency(result, position, one, captioned, given is not None) for position, one in enumerate(anchored)
    )
    seconds = captions.seconds + result.seconds
    return Calibration(result, prototypes, captions.mentions, frequencies, anchored, captioned, seconds)


def sensitivity(histogram: np.ndarray, threshold: float) -> float:
    """By how much does the logarithm of a count change when the threshold rises by .01?

    Parameters
    ----------
    histogram
        (BINS,) int64: the similarities of all rows.
    threshold
        Where.

    Notes
    -----
    ln(n₊ + ½) - ln(n₋ + ½), with the counts at the edges of `bins.py` .005 above and below.
    """
    counts = counts_at_edges(histogram)
    middle = int(np.clip(np.searchsorted(EDGES, threshold), _HALF_STEP, len(EDGES) - 1 - _HALF_STEP))
    below, above = counts[middle - _HALF_STEP], counts[middle + _HALF_STEP]
    return float(np.log(above + 0.5) - np.log(below + 0.5))


def _at_equal_counts(result: CountResult, estimates: np.ndarray) -> CountResult:
    """Give the result at the edge where each concept's count is nearest to its frequency; exact, from the histogram."""
    assert result.histogram is not None
    counts = counts_at_edges(result.histogram)
    nearest = np.abs(counts - estimates[:, None]).argmin(axis=1)
    chosen = EDGES[nearest].clip(-1.0, 1.0)
    edges = np.searchsorted(EDGES, chosen)
    return replace(
        result, thresholds=chosen[:, None], counts=counts[np.arange(len(edges)), edges][:, None], partials=()
    )


def _frequency(
    result: CountResult, position: int, anchored: AnchoredFrequency, captioned: int, is_given: bool
) -> CalibratedFrequency:
    assert result.histogram is not None and result.mention_histogram is not None
    known = captioned > 0
    threshold, number = float(result.thresholds[position, 0]), int(result.counts[position, 0])
    mentions, nan = int(result.mention_histogram[position].sum()), float("nan")
    grade = grade_anchored(anchored, mentions) if known else grade_without_captions(nan, result.rows)
    raw = str(grade_count(number, anchored, grade)) if known and is_given else ""
    return CalibratedFrequency(
        concept=result.concepts[position],
        recipe=result.recipes[position],
        # No more rows than there are can show it.
        estimate=min(anchored.estimate, result.rows) if known else nan,
        lower=min(anchored.lower, result.rows) if known else nan,
        upper=min(anchored.upper, result.rows) if known else nan,
        method=CAPTIONS if known else NOTHING,
        grade=grade.level,
        reasons=grade.reasons,
        rows=result.rows,
        corpus=result.corpus,
        corpus_version=result.corpus_version,
        mentions=mentions,
        excess=anchored.excess.excess,
        recall=anchored.recall.share,
        own_recall=anchored.recall.own,
        threshold=threshold,
        threshold_source=result.threshold_sources[position],
        count=number,
        sensitivity=sensitivity(result.histogram[position], threshold),
        count_grade=raw,
    )
