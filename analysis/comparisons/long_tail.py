"""The shape of one long tail: how much of it is rare, how much the commonest hold, and ranks beside frequencies.

Pure functions on arrays. Not here: which law the tail follows (`power_law.py`), several corpora (`corpora.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

RARE_SHARE = 1e-4
TOP_SHARE = 0.05


@dataclass(frozen=True)
class LongTail:
    """How unevenly C concepts are shown. Prints as a sentence.

    Attributes
    ----------
    concepts
        C.
    rows
        Pairs of the pretraining set; nan where nobody says.
    zeros
        Concepts with the frequency 0.
    median, largest
        Of the C frequencies.
    rare, rare_limit
        Concepts with a frequency below `rare_limit`, which is a share of the rows; nan where rows are not known.
    top, top_share
        How many concepts the commonest 5 % are (rounded up), and their share of all frequencies; nan when all are 0.
    gini
        Gini's coefficient: 0 when all concepts are as common, near 1 when one holds all; nan when all are 0.
    """

    concepts: int
    rows: float
    zeros: int
    median: float
    largest: float
    rare: float
    rare_limit: float
    top: int
    top_share: float
    gini: float

    @property
    def rare_share(self) -> float:
        """Rare concepts as a share of all, 0 to 1."""
        return self.rare / self.concepts

    def __str__(self) -> str:
        told = f"of {self.concepts:,} concepts {self.zeros:,} have none"
        if not math.isnan(self.rare):
            told += f" and {100 * self.rare_share:.1f} % lie under {self.rare_limit:,.0f} of {self.rows:,.0f} pairs"
        return (
            f"{told}; the commonest {self.top:,} hold {100 * self.top_share:.1f} % of all hits (Gini {self.gini:.3f})."
        )


def long_tail(
    frequencies: np.ndarray, rows: float = math.nan, *, rare_share: float = RARE_SHARE, top_share: float = TOP_SHARE
) -> LongTail:
    """Describe the frequencies of C concepts.

    Parameters
    ----------
    frequencies
        (C,) numbers of pairs, not negative.
    rows
        Pairs of the pretraining set; nan when not known.
    rare_share
        Below this share of the rows a concept is rare: 1e-4, the paper's negligible frequency.
    top_share
        The share of the concepts that are its commonest.

    Raises
    ------
    BadInput
        When there is none, or one is negative or not finite.

    Examples
    --------
    >>> found = long_tail(np.array([0, 1, 9, 90]), rows=20_000)
    >>> found.zeros, found.rare_share, found.top_share
    (1, 0.5, 0.9)
    """
    checked = checked_frequencies(frequencies)
    ordered = np.sort(checked)
    top = math.ceil(top_share * len(checked))
    total = ordered.sum()
    limit = rare_share * rows
    return LongTail(
        concepts=len(checked),
        rows=float(rows),
        zeros=int((checked == 0).sum()),
        median=float(np.median(checked)),
        largest=float(ordered[-1]),
        rare=math.nan if math.isnan(rows) else float((checked < limit).sum()),
        rare_limit=float(limit),
        top=top,
        top_share=float(ordered[len(ordered) - top :].sum() / total) if total else math.nan,
        gini=gini(checked),
    )


def gini(frequencies: np.ndarray) -> float:
    """How unevenly is a sum divided? Σᵢ Σⱼ |xᵢ − xⱼ| / (2 C² x̄), by ranks; nan when the sum is 0.

    Gini (Variabilità e mutabilità, 1912), without the correction C / (C - 1).

    Examples
    --------
    >>> gini(np.array([1, 1, 1])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    ordered = np.sort(checked_frequencies(frequencies))
    total, size = ordered.sum(), len(ordered)
    if not total:
        return math.nan
    ranks = np.arange(1, size + 1)
    return float((2 * (ranks * ordered).sum() / total - (size + 1)) / size)


def rank_frequency(frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give ranks and frequencies, the commonest first; concepts of equal frequency have ranks of their own.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        (C,) int64 from 1, and (C,) float64 falling.

    Examples
    --------
    >>> rank_frequency(np.array([3, 10, 0]))
    (array([1, 2, 3]), array([10.,  3.,  0.]))
    """
    ordered = np.sort(checked_frequencies(frequencies))[::-1]
    return np.arange(1, len(ordered) + 1), ordered


def checked_frequencies(frequencies: np.ndarray) -> np.ndarray:
    """Give frequencies as (C,) float64.

    Raises
    ------
    BadInput
        When there is none, or one is negative or not finite.
    """
    checked = np.asarray(frequencies, dtype=np.float64)
    if checked.ndim != 1 or not len(checked):
        raise BadInput(f"a long tail needs the frequencies of one or more concepts, not an array of {checked.shape}")
    if not np.isfinite(checked).all() or (checked < 0).any():
        raise BadInput("a frequency is negative or not a finite number")
    return checked
