"""The misalignment degree: on how many pairs do image and caption have hits, but for no concept in common?

Not here: the counts it is made of (`counting/overlap.py`), joint frequency (`joint.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..counting.overlap import Overlap
from ..counting.result import format_share, format_threshold


@dataclass(frozen=True)
class Misalignment:
    """How far images and captions speak of different things, going by one list of concepts. Prints as a sentence.

    A pair is misaligned when its image is a hit for some concept of the list, its caption names some, and none is the
    same (Udandarao et al., No "Zero-Shot" Without Exponential Data, NeurIPS 2024). The paper looked through
    images and captions with different lists; here both sides have one.

    Attributes
    ----------
    threshold
        The similarity of a hit; None where concepts have thresholds of their own.
    rows
        Pairs that were looked at.
    hit_rows, named_rows
        Pairs whose image is a hit for at least one concept; whose caption names at least one.
    both_rows
        Pairs with both.
    common_rows
        Pairs whose image is a hit for a concept that the caption names.
    """

    threshold: float | None
    rows: int
    hit_rows: int
    named_rows: int
    both_rows: int
    common_rows: int

    @property
    def misaligned_rows(self) -> int:
        """Pairs where both sides have hits, and no concept in common."""
        return self.both_rows - self.common_rows

    @property
    def degree(self) -> float:
        """Misaligned pairs as a share of all; nan in an empty corpus."""
        return self.misaligned_rows / self.rows if self.rows else float("nan")

    @property
    def degree_of_both(self) -> float:
        """Misaligned pairs as a share of those where both sides have hits; nan where there are none."""
        return self.misaligned_rows / self.both_rows if self.both_rows else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Between which shares does the degree among pairs with hits on both sides lie, in what the corpus came from?

        The corpus itself has been counted whole: there is nothing to be uncertain about. The interval is for whoever
        takes its pairs as independent draws from something larger, such as a crawl. It knows nothing of wrong hits,
        which are the greater error by far, nor of duplicates, which make it too narrow.

        Returns
        -------
        tuple[float, float]
            Clopper and Pearson's, of `degree_of_both`; (0, 1) where no pair has hits on both sides.
        """
        if not self.both_rows:
            return 0.0, 1.0
        from ..estimates.intervals import clopper_pearson

        lower, upper = clopper_pearson([self.misaligned_rows], [self.both_rows], confidence)
        return float(lower[0]), float(upper[0])

    def __str__(self) -> str:
        at = "" if self.threshold is None else f" at {format_threshold(self.threshold)}"
        if not self.both_rows:
            return f"No pair of {self.rows:,} has hits on both sides{at}: there is no misalignment to speak of."
        return (
            f"{self.misaligned_rows:,} of {self.rows:,} pairs ({format_share(self.degree)}) are misaligned{at}: both "
            f"sides have hits but no concept in common; that is {format_share(self.degree_of_both)} of the "
            f"{self.both_rows:,} pairs with hits on both sides."
        )


def misalignments(overlap: Overlap, thresholds: np.ndarray, rows: int) -> tuple[Misalignment, ...]:
    """Give the misalignment at every threshold.

    Parameters
    ----------
    overlap
        Counted at T thresholds.
    thresholds
        (C, T) float64.
    rows
        The rows that were compared.
    """
    return tuple(
        Misalignment(
            threshold=float(own[0]) if (own == own[0]).all() else None,
            rows=rows,
            hit_rows=int(overlap.hit_rows[column]),
            named_rows=overlap.named_rows,
            both_rows=int(overlap.both_rows[column]),
            common_rows=int(overlap.common_rows[column]),
        )
        for column, own in enumerate(thresholds.T)
    )
