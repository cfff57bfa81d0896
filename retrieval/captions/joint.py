"""Joint frequency: on how many pairs is the image a hit for a concept that the caption names?

Not here: which captions name a concept (`counting.py` and what it calls), the pass over the vectors (`counting/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import Progress

from ..counting import CountQuery, CountResult, Mentions, count
from ..counting.result import format_share, format_threshold
from .misalignment import Misalignment, misalignments

if TYPE_CHECKING:
    from ...embed.corpus import Corpus
    from .result import CaptionCounts


@dataclass(frozen=True)
class JointCount:
    """How many pairs show a concept, name it, and do both. Prints as a sentence.

    Attributes
    ----------
    concept
        The concept.
    threshold
        The similarity of a hit.
    image, caption, joint
        Pairs whose image is a hit, whose caption names the concept, and with both.
    rows
        All pairs that were looked at.
    rule
        How captions name a concept: ``words``, ``phrase``; empty where mentions came from elsewhere.
    """

    concept: str
    threshold: float
    image: int
    caption: int
    joint: int
    rows: int
    rule: str

    @property
    def expected(self) -> float:
        """Pairs with both if the two had nothing to do with each other: image x caption / rows."""
        return self.image * self.caption / self.rows if self.rows else 0.0

    @property
    def lift(self) -> float:
        """How many times as many pairs have both as were expected; nan where none was."""
        return self.joint / self.expected if self.expected else float("nan")

    @property
    def unseen_share(self) -> float:
        """Of the pairs whose caption names the concept, the share whose image is no hit; nan where there are none."""
        return 1 - self.joint / self.caption if self.caption else float("nan")

    @property
    def unnamed_share(self) -> float:
        """Of the pairs whose image is a hit, the share whose caption does not name it; nan where there are none."""
        return 1 - self.joint / self.image if self.image else float("nan")

    def __str__(self) -> str:
        lift = f", {self.lift:.3g} times as many as by chance" if self.lift == self.lift else ""
        named = f" by {self.rule}" if self.rule else ""
        share = format_share(self.joint / self.rows if self.rows else 0.0)
        return (
            f"{self.joint:,} of {self.rows:,} {'pair' if self.rows == 1 else 'pairs'} ({share}) have an "
            f'image with a similarity of at least {format_threshold(self.threshold)} to "{self.concept}" and a caption '
            f"that names it{named}{lift}; {self.image:,} have such an image, {self.caption:,} such a caption."
        )


@dataclass(frozen=True, eq=False)
class JointCounts:
    """Image, caption and joint counts of C concepts at T thresholds.

    Attributes
    ----------
    images
        The counts of images, with those of the pairs whose caption names the concept, and everything they hold for.
    caption_counts
        (C,) int64: rows that name each concept, of those that were compared.
    rule
        How captions name a concept; empty where mentions came from elsewhere.
    """

    images: CountResult
    caption_counts: np.ndarray
    rule: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> JointCount:
        """Give the counts of one concept at one threshold, concept by concept."""
        concept, column = divmod(range(len(self))[position], self.image_counts.shape[1])
        return JointCount(
            concept=self.images.concepts[concept],
            threshold=float(self.images.thresholds[concept, column]),
            image=int(self.image_counts[concept, column]),
            caption=int(self.caption_counts[concept]),
            joint=int(self.joint_counts[concept, column]),
            rows=self.images.rows,
            rule=self.rule,
        )

    def __iter__(self) -> Iterator[JointCount]:
        return (self[position] for position in range(len(self)))

    @property
    def image_counts(self) -> np.ndarray:
        """(C, T) int64: rows whose image is a hit."""
        return self.images.counts

    @property
    def joint_counts(self) -> np.ndarray:
        """(C, T) int64: rows whose image is a hit and whose caption names the concept."""
        assert self.images.mention_counts is not None
        return self.images.mention_counts

    @property
    def misalignment(self) -> tuple[Misalignment, ...]:
        """One a threshold; empty unless it was asked for."""
        images = self.images
        return () if images.overlap is None else misalignments(images.overlap, images.thresholds, images.rows)

    def to_arrow(self) -> Any:
        """Give a `pyarrow.Table` with one row a concept and threshold.

        Returns
        -------
        pyarrow.Table
            What `CountResult.to_arrow` gives, with `mention_count` called ``joint``; and rule, caption, expected, lift,
            unseen_share, unnamed_share, null where they are not defined (see `JointCount`).
        """
        import pyarrow as pa

        table = self.images.to_arrow()
        metadata = table.schema.metadata
        names = ["joint" if name == "mention_count" else name for name in table.column_names]
        table = table.rename_columns(names)
        table = table.append_column("rule", pa.array([self.rule] * len(self), pa.string()))
        table = table.append_column("caption", pa.array([one.caption for one in self], pa.int64()))
        for name in ("expected", "lift", "unseen_share", "unnamed_share"):
            values = np.array([getattr(one, name) for one in self], dtype=np.float64)
            table = table.append_column(name, pa.array(values, mask=np.isnan(values)))
        return table.replace_schema_metadata(metadata)


def joint_frequency(
    corpus: Corpus,
    query: CountQuery,
    captions: CaptionCounts | Mentions,
    *,
    misalignment: bool = False,
    backend: str = "auto",
    progress: Progress | None = None,
) -> JointCounts:
    """On how many pairs is the image a hit for a concept that the caption names?

    One pass over the image vectors gives the counts of images and of pairs at all thresholds, exactly.

    Parameters
    ----------
    corpus
        The corpus at one version.
    query
        What is to be counted on the image side; its mentions are replaced.
    captions
        What `count_captions` found for the same concepts with their rows kept, or the rows that name them by some
        other search, in the order of the prototypes.
    misalignment
        Whether to find the misalignment degree too. With thresholds that differ between concepts every single hit is
        looked at, which takes longer.
    backend, progress
        As for `count`.

    Returns
    -------
    JointCounts
        In the order of the prototypes.

    Raises
    ------
    BadInput
        When the captions are of another corpus, version or control, name other concepts or kept no rows; when the query
        compares captions' vectors.

    Examples
    --------
    >>> captions = count_captions(corpus, concepts, keep="words")                 # doctest: +SKIP
    >>> print(joint_frequency(corpus, CountQuery(prototypes, 0.27), captions)[0])    # doctest: +SKIP
    """
    if query.side != "image":
        raise BadInput(f"joint frequency compares images with the words of captions, not the {query.side} vectors")
    mentions, rule = (captions, "") if isinstance(captions, Mentions) else _mentions_of(captions, corpus, query)
    asked = replace(query, mentions=_once(mentions), overlap=misalignment)
    result = count(corpus, asked, backend, progress)
    assert result.mention_histogram is not None
    return JointCounts(result, result.mention_histogram.sum(axis=1), rule)


def _mentions_of(captions: CaptionCounts, corpus: Corpus, query: CountQuery) -> tuple[Mentions, str]:
    """Give the mentions of a count of captions, if it is one of this corpus and these concepts."""
    if captions.mentions is None or captions.keep is None:
        raise BadInput('the captions were counted without their rows: count them with keep="words" or keep="phrase"')
    control = query.control.name if query.control is not None else ""
    counted = (captions.corpus, captions.corpus_version, captions.control)
    if counted != (corpus.name, corpus.version, control):
        raise BadInput(
            f"the captions are of corpus {captions.corpus!r} (version {captions.corpus_version}, control "
            f"{captions.control!r}), the images of {corpus.name!r} (version {corpus.version}, control {control!r}): "
            "count both alike"
        )
    if captions.concepts != query.prototypes.names:
        raise BadInput("the captions were counted for other concepts than the prototypes, or in another order")
    return captions.mentions, captions.keep


def _once(mentions: Mentions) -> Mentions:
    """Leave each pair of a row and a concept once."""
    ascending = (np.diff(mentions.offsets) > 0) | (np.diff(mentions.concepts) > 0)
    if ascending.all():
        return mentions
    order = np.lexsort((mentions.concepts, mentions.offsets))
    offsets, concepts = mentions.offsets[order], mentions.concepts[order]
    first = np.ones(len(offsets), dtype=bool)
    first[1:] = (np.diff(offsets) != 0) | (np.diff(concepts) != 0)
    return Mentions(offsets[first], concepts[first])
