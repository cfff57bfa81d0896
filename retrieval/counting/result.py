"""What a count comes to: typed records that print as sentences and turn into arrow tables.

Not here: printing tables and writing files (`retrieval/result_tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...embed.corpus import Side
from ...embed.space import Space
from .overlap import Overlap
from .tally import RowBest, TopRows

# What may be counted of the hits: the fields of a `Count`, in words.
PARTS_OF_A_COUNT = {
    "mention_count": "name the concept",
    "both_count": "reach the other side's threshold too",
    "margin_count": "lie within the margin of their best concept",
}
_NOUNS = {"image": ("image", "images"), "text": ("caption", "captions")}


@dataclass(frozen=True)
class Count:
    """How many rows reach one threshold for one concept. Prints as a sentence.

    Attributes
    ----------
    concept, recipe
        The concept, and how its prototype was made.
    threshold, threshold_source
        A row is a hit when its similarity is at least this; where the threshold came from.
    count
        Hits, exactly.
    rows
        Rows that were compared: all of the corpus at its version.
    failures
        Samples that could not be embedded and so were not compared; None where that is not known.
    side
        Which vector was compared.
    corpus, corpus_version, space
        What was counted.
    control
        The name of the control under which rows were counted; empty when all were.
    mention_count, both_count, margin_count
        Of the hits, those that name the concept, whose other side reaches its threshold too, and that lie within the
        margin of their row's best concept; None where that was not asked for.
    """

    concept: str
    recipe: str
    threshold: float
    threshold_source: str
    count: int
    rows: int
    failures: int | None
    side: Side
    corpus: str
    corpus_version: int
    space: Space
    control: str = ""
    mention_count: int | None = None
    both_count: int | None = None
    margin_count: int | None = None

    @property
    def share(self) -> float:
        """Hits as a share of the rows; 0 in an empty corpus."""
        return self.count / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        one, many = _NOUNS[self.side]
        sentence = (
            f"{self.count:,} of {self.rows:,} {one if self.rows == 1 else many} ({format_share(self.share)}) "
            f"{'has' if self.count == 1 else 'have'} a similarity of at least {format_threshold(self.threshold)} to "
            f"\"{self.concept}\" in corpus '{self.corpus}' (version {self.corpus_version}, {self.space.title}), "
            "counted exactly"
        )
        if self.control:
            sentence += f" among the rows with {self.control}"
        for name, meaning in PARTS_OF_A_COUNT.items():
            part = getattr(self, name)
            if part is not None:
                sentence += f"; {part:,} of them {meaning}"
        if self.failures:
            samples = "sample" if self.failures == 1 else "samples"
            sentence += f"; {self.failures:,} more {samples} could not be embedded"
        return sentence + "."


@dataclass(frozen=True, eq=False)
class Partial:
    """What one part of the table adds to the counts.

    Attributes
    ----------
    states
        The state of each of its fragments; see `Fragment`.
    rows
        Rows that were compared.
    digest
        sha256 of their float16 vectors, in order.
    counts
        (C, T) int64.
    """

    states: tuple[str, ...]
    rows: int
    digest: str
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class CountResult:
    """The counts of C concepts at T thresholds, and everything they hold for.

    Attributes
    ----------
    corpus, corpus_version, space, side
        What was counted.
    control
        The name of the control under which rows were counted; empty when all were.
    rows
        Rows that were compared: all of the corpus at its version, or those that the control left.
    failures
        Samples that could not be embedded; None where that is not known.
    concepts, recipes
        C names, and how each prototype was made.
    thresholds
        (C, T) float64.
    threshold_sources
        C texts.
    counts
        (C, T) int64.
    backend
        What counted; it does not change the counts.
    seconds
        How long the pass took.
    histogram
        (C, BINS) int64: the similarities of all rows, by the bins of `bins.py`.
    mention_counts, mention_histogram
        (C, T) and (C, BINS) int64: the same of the rows that name the concept.
    both_counts
        (C, T) int64: hits whose other side reaches its threshold too.
    margin_counts
        (C, T) int64: hits that lie within the margin of their row's best concept.
    overlap
        The rows where hits and mentions meet.
    best
        The best concepts of every row.
    top
        The most similar rows of every concept.
    partials
        What each part of the table adds to `counts`; empty unless asked for.
    """

    corpus: str
    corpus_version: int
    space: Space
    side: Side
    rows: int
    failures: int | None
    concepts: tuple[str, ...]
    recipes: tuple[str, ...]
    thresholds: np.ndarray
    threshold_sources: tuple[str, ...]
    counts: np.ndarray
    backend: str
    seconds: float
    control: str = ""
    histogram: np.ndarray | None = None
    mention_counts: np.ndarray | None = None
    mention_histogram: np.ndarray | None = None
    both_counts: np.ndarray | None = None
    margin_counts: np.ndarray | None = None
    overlap: Overlap | None = None
    best: RowBest | None = None
    top: TopRows | None = None
    partials: tuple[Partial, ...] = ()

    def __len__(self) -> int:
        return self.counts.size

    def __getitem__(self, position: int) -> Count:
        """Give one count, concept by concept and in the order of its thresholds."""
        concept, column = divmod(range(len(self))[position], self.counts.shape[1])
        return Count(
            concept=self.concepts[concept],
            recipe=self.recipes[concept],
            threshold=float(self.thresholds[concept, column]),
            threshold_source=self.threshold_sources[concept],
            count=int(self.counts[concept, column]),
            rows=self.rows,
            failures=self.failures,
            side=self.side,
            corpus=self.corpus,
            corpus_version=self.corpus_version,
            space=self.space,
            control=self.control,
            **{name: int(parts[concept, column]) for name, parts in self.parts_of_counts().items()},
        )

    def __iter__(self) -> Iterator[Count]:
        return (self[position] for position in range(len(self)))

    def parts_of_counts(self) -> dict[str, np.ndarray]:
        """Give what was counted of the hits beside their number: (C, T) int64 by the names of `Count`'s fields."""
        parts = (self.mention_counts, self.both_counts, self.margin_counts)
        return {name: part for name, part in zip(PARTS_OF_A_COUNT, parts, strict=True) if part is not None}

    @property
    def shared_thresholds(self) -> tuple[float, ...] | None:
        """The thresholds, when all concepts have the same ones; else None."""
        first = self.thresholds[:1]
        return tuple(first[0].tolist()) if (self.thresholds == first).all() else None

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table` with one row a concept and threshold.

        Returns
        -------
        pyarrow.Table
            Columns corpus, corpus_version, concept, side, control, recipe, threshold, threshold_source, count, rows,
            share, and mention_count, both_count, margin_count where they were asked for; the space, the failures and
            the backend in the schema's metadata.
        """
        import pyarrow as pa

        concepts, thresholds = self.counts.shape
        size = self.counts.size
        repeated = np.repeat(np.arange(concepts), thresholds)
        counts = self.counts.reshape(-1)
        shares = counts / self.rows if self.rows else np.zeros(size)
        table = pa.table(
            {
                "corpus": pa.array([self.corpus] * size, pa.string()),
                "corpus_version": pa.array(np.full(size, self.corpus_version, np.int64)),
                "concept": pa.array(self.concepts, pa.string()).take(pa.array(repeated)),
                "side": pa.array([self.side] * size, pa.string()),
                "control": pa.array([self.control] * size, pa.string()),
                "recipe": pa.array(self.recipes, pa.string()).take(pa.array(repeated)),
                "threshold": pa.array(self.thresholds.reshape(-1)),
                "threshold_source": pa.array(self.threshold_sources, pa.string()).take(pa.array(repeated)),
                "count": pa.array(counts),
                "rows": pa.array(np.full(size, self.rows, np.int64)),
                "share": pa.array(shares),
                **{name: pa.array(part.reshape(-1)) for name, part in self.parts_of_counts().items()},
            }
        )
        return table.replace_schema_metadata(
            {
                "tailwag:space": self.space.to_json(),
                "tailwag:failures": "" if self.failures is None else str(self.failures),
                "tailwag:backend": self.backend,
            }
        )


def format_threshold(threshold: float) -> str:
    """Write a threshold with all the digits that it has: the shortest text that reads back as the same float64."""
    return repr(float(threshold)).removesuffix(".0")


def format_share(share: float) -> str:
    """Write a share as a percentage with three significant digits, never as zero or all when it is not.

    Examples
    --------
    >>> format_share(137 / 2426), format_share(0), format_share(3 / 400_000_000), format_share(0.99999)
    ('5.65 %', '0 %', '0.000000750 %', '> 99.9 %')
    """
    percent = 100 * share
    if percent > 99.9 and share < 1:
        return "> 99.9 %"
    if percent == 0 or percent >= 100:
        return f"{percent:.0f} %"
    return f"{_plain(percent)} %"


def _plain(value: float) -> str:
    """Three significant digits without an exponent."""
    from decimal import Decimal

    return f"{Decimal(f'{value:#.3g}'):f}"
