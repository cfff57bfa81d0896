"""What is counted: prototypes, thresholds, the side of the pairs they are compared with, and what else is wanted.

Not here: how it is counted (`engine.py` and the backends), what comes out (`result.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from ...embed.corpus import Side, check_side
from ..prototypes import PrototypeSet
from .controls import Control
from .tiles import Asked


@dataclass(frozen=True, eq=False)
class Mentions:
    """Which rows name which concepts: a sparse set of rows for each prototype, such as the captions that name it.

    Attributes
    ----------
    offsets
        (p,) int64 positions of rows in the corpus, ascending; a row may stand several times.
    concepts
        (p,) int32 positions of prototypes.

    Raises
    ------
    BadInput
        When offsets are not ascending, or the two are not of one length.
    """

    offsets: np.ndarray
    concepts: np.ndarray

    def __post_init__(self) -> None:
        if self.offsets.shape != self.concepts.shape or self.offsets.ndim != 1:
            raise BadInput(f"{self.offsets.shape} offsets and {self.concepts.shape} concepts are no pairs")
        if (np.diff(self.offsets) < 0).any():
            raise BadInput("the offsets of mentions must ascend: sort them, and their concepts with them")


@dataclass(frozen=True, init=False, eq=False)
class CountQuery:
    """How many rows have a similarity of at least these thresholds to these prototypes?

    Everything else that is asked for is answered in the same pass.

    Attributes
    ----------
    prototypes
        C prototypes of one space.
    thresholds
        (C, T) float64, read-only. A row is a hit when its similarity is at least the threshold.
    side
        Which vector of a pair is compared: ``"image"``, or ``"text"`` for the caption's.
    threshold_sources
        Where each concept's thresholds came from: ``"given"``, a file's name.
    control
        Which rows are counted; None counts all.
    histogram
        Whether similarity histograms are wanted, by the bins of `bins.py`.
    mentions
        Rows that name the concepts, to be counted and binned apart.
    other_thresholds
        (C, T) float64: rows are also counted that are hits *and* whose other side reaches these.
    margin
        Rows are also counted that are hits *and* lie no further than this below their best prototype.
    best
        How many of each row's best prototypes are wanted; the answer grows with the corpus.
    top_k
        How many of each prototype's most similar rows are wanted.
    partials
        Whether the counts of each part of the table are kept, with a digest of its vectors.
    overlap
        Whether rows are counted that have a hit for any concept, that name any, and that are a hit for one they name.

    Examples
    --------
    >>> CountQuery(prototypes, [0.25, 0.27]).thresholds.shape    # doctest: +SKIP
    (24, 2)
    """

    prototypes: PrototypeSet
    thresholds: np.ndarray
    side: Side
    threshold_sources: tuple[str, ...]
    control: Control | None
    histogram: bool
    mentions: Mentions | None
    other_thresholds: np.ndarray | None
    margin: float | None
    best: int
    top_k: int
    partials: bool
    overlap: bool

    def __init__(
        self,
        prototypes: PrototypeSet,
        thresholds: np.ndarray | Sequence[float] | float,
        side: Side = "image",
        threshold_sources: Sequence[str] | str = "given",
        *,
        control: Control | None = None,
        histogram: bool = False,
        mentions: Mentions | None = None,
        other_thresholds: np.ndarray | Sequence[float] | float | None = None,
        margin: float | None = None,
        best: int = 0,
        top_k: int = 0,
        partials: bool = False,
        overlap: bool = False,
    ) -> None:
        """Check and keep the question.

        Parameters
        ----------
        prototypes
            C prototypes of one space.
        thresholds
            One number, (T,) shared by all concepts, or (C, T).
        side
            ``"image"`` or ``"text"``.
        threshold_sources
            One text a concept, or one for all.
        control, histogram, mentions, margin, best, top_k, partials, overlap
            See the attributes.
        other_thresholds
            Like `thresholds`, and as many.

        Raises
        ------
        BadInput
            For a threshold that is not a number in [-1, 1], an unknown side, shapes that do not fit, or an overlap
            without mentions.
        """
        check_side(side)
        concepts = len(prototypes)
        sources = (threshold_sources,) * concepts if isinstance(threshold_sources, str) else tuple(threshold_sources)
        if len(sources) != concepts:
            raise BadInput(f"{len(sources)} threshold sources were given for {concepts} concepts: give one a concept")
        checked = check_thresholds(thresholds, concepts)
        others = None if other_thresholds is None else check_thresholds(other_thresholds, concepts)
        if others is not None and others.shape != checked.shape:
            raise BadInput(
                f"{others.shape[1]} thresholds of the other side do not fit {checked.shape[1]}: give as many"
            )
        if margin is not None and not margin >= 0:
            raise BadInput(f"a margin is a distance of at least 0 between similarities, and {margin:g} was given")
        if best < 0 or top_k < 0:
            raise BadInput(f"best and top_k say how many are wanted, and {min(best, top_k)} was given")
        if overlap and mentions is None:
            raise BadInput("an overlap is one of hits with mentions: give the mentions too")
        if mentions is not None:
            foreign = mentions.concepts[(mentions.concepts < 0) | (mentions.concepts >= concepts)]
            if len(foreign):
                raise BadInput(f"a mention names prototype {foreign[0]} of {concepts}")
        for field, value in (
            ("prototypes", prototypes),
            ("thresholds", checked),
            ("side", side),
            ("threshold_sources", sources),
            ("control", control),
            ("histogram", histogram),
            ("mentions", mentions),
            ("other_thresholds", others),
            ("margin", None if margin is None else float(margin)),
            ("best", min(best, concepts)),
            ("top_k", top_k),
            ("partials", partials),
            ("overlap", overlap),
        ):
            object.__setattr__(self, field, value)

    @property
    def overlap_by_best(self) -> bool:
        """Whether each row's best prototype tells if it has a hit: only where all concepts share their thresholds."""
        return self.overlap and bool((self.thresholds == self.thresholds[:1]).all())

    @property
    def needs_hits(self) -> bool:
        """Whether every single hit must be known, and not their number alone."""
        return self.other_thresholds is not None or (self.overlap and not self.overlap_by_best)

    def asked(self) -> Asked:
        """Say what a backend must find out of each tile to answer this."""
        margin_alone = self.margin is not None and not self.needs_hits and not self.top_k
        needs_row_best = (self.margin is not None and not margin_alone) or self.overlap_by_best
        return Asked(
            self.thresholds,
            self.histogram,
            max(self.best, 1) if needs_row_best else self.best,
            pairs=self.margin is not None or self.needs_hits or self.top_k > 0,
            within=self.margin if margin_alone else None,
        )


def check_thresholds(thresholds: np.ndarray | Sequence[float] | float, concepts: int) -> np.ndarray:
    """Give thresholds for every concept, or say why they cannot be used.

    Parameters
    ----------
    thresholds
        One number, (T,) or (C, T).
    concepts
        C.

    Returns
    -------
    numpy.ndarray
        (C, T) float64, read-only.

    Raises
    ------
    BadInput
        For a value that is not a number in [-1, 1], no value at all, or another shape.
    """
    values = np.array(thresholds, dtype=np.float64, ndmin=1)
    if values.size == 0:
        raise BadInput("no threshold was given: a count needs at least one")
    outside = values[~((values >= -1) & (values <= 1))]  # so that nan is outside too
    if outside.size:
        raise BadInput(
            f"a similarity threshold lies between -1 and 1, and {outside[0]:g} was given; CLIP's usual ones are near "
            "0.25"
        )
    if values.ndim == 1:
        values = np.tile(values, (concepts, 1))
    if values.ndim != 2 or len(values) != concepts:
        raise BadInput(
            f"thresholds of shape {values.shape} do not fit {concepts} concepts: give (T,) for all of them or (C, T)"
        )
    values.setflags(write=False)
    return values
