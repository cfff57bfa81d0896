"""Which mentions are more than chance? The background of false mentions, the similarities above which they stand out.

Pure functions on one concept's histograms. Not here: what the excess comes to in images (`anchored.py`, `audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

# The sum of mentions from the top must stand this many of its own standard deviations over the background; sums that
# the background could move by no more than a share of their excess are taken on, however low they begin.
_DEVIATIONS = 2.0
_NEGLIGIBLE_NOISE = 0.04
# The background is read further down than the less similar half as long as the rate there still rises by this many
# standard deviations: where a third of all images shows a concept, that half shows it too. Taking the window with the
# least upper bound instead chased chance: errors at one image in a million rose from .20 to .27 (seeds 0 to 4).
_RISING = 4.0
_FEWEST_ROWS_BELOW = 1 / 64
# The purest rows are judged by this many mentions at least, or a quarter of all where there are fewer.
_FEWEST_MENTIONS = 50
_LOWER_BOUND = 0.05


@dataclass(frozen=True)
class Excess:
    """The mentions of one concept that are more than its background.

    Attributes
    ----------
    background
        The share of rows that name the concept without showing it: the mention rate of the less similar half, or of
        fewer where that half shows it too (`find_background`).
    start
        The first bin of the zone where mentions stand out; everything from here up counts.
    rows, mentions
        Of the zone.
    excess
        Mentions of the zone beyond the background, at least 0.
    """

    background: float
    start: int
    rows: int
    mentions: int
    excess: float

    @property
    def noise(self) -> float:
        """The standard deviation of the background within the zone, in mentions."""
        return float(np.sqrt(self.background * self.rows + 1))


@dataclass(frozen=True)
class PurestRows:
    """The most similar rows, as many of them as name the concept most reliably.

    Attributes
    ----------
    start
        Their first bin.
    rows, mentions
        How many there are, and how many of them name the concept.
    share
        Of all rows of the corpus.
    """

    start: int
    rows: int
    mentions: int
    share: float

    @property
    def rate(self) -> float:
        """The share of them that names the concept."""
        return self.mentions / self.rows


def from_the_top(histogram: np.ndarray) -> np.ndarray:
    """Sum a histogram from its last bin down to each: (..., BINS)."""
    return np.cumsum(histogram[..., ::-1], axis=-1)[..., ::-1]


def find_excess(rows: np.ndarray, mentions: np.ndarray) -> Excess:
    """Find where the mentions of a concept stand out, and how many they are.

    Parameters
    ----------
    rows, mentions
        (BINS,) int64: all rows by their similarity, and those that name the concept.

    Notes
    -----
    The background m₀ is that of `find_background`.
    With N and M summed from the top, the zone begins where M - m₀ N - 2 √(m₀ N + 1) is greatest, or lower, where
    √(m₀ N + 1) is still at most 4 % of the excess M - m₀ N.
    """
    background = find_background(rows, mentions)
    all_rows, all_mentions = from_the_top(rows), from_the_top(mentions)
    noise = np.sqrt(background * all_rows + 1)
    excess = all_mentions - background * all_rows
    start = int(np.argmax(excess - _DEVIATIONS * noise))
    clear = np.flatnonzero(noise <= _NEGLIGIBLE_NOISE * excess)
    if len(clear):
        start = min(start, int(clear[0]))
    return Excess(background, start, int(all_rows[start]), int(all_mentions[start]), float(max(excess[start], 0.0)))


def find_background(rows: np.ndarray, mentions: np.ndarray) -> float:
    """Which share of rows names the concept by chance: the mention rate where hardly one row shows it.

    Parameters
    ----------
    rows, mentions
        As for `find_excess`.

    Returns
    -------
    float
        Between 0 and 1; 0 without a row.

    Notes
    -----
    The rate of the less similar half of the rows. Where the upper half of those names the concept more often than the
    lower, by more than four standard deviations of the difference, the lower alone is looked at, and so on down to one
    row in 64. Chance knows nothing of similarity, so that what rises is truth.
    """
    below, named = np.cumsum(rows), np.cumsum(mentions)
    if not below[-1]:
        return 0.0
    share = 0.5
    end = int(np.searchsorted(below, share * below[-1]))
    while share > _FEWEST_ROWS_BELOW:
        share /= 2
        lower = int(np.searchsorted(below, share * below[-1]))
        fewer, more = below[lower], below[end] - below[lower]
        if not more:
            break
        rate = named[end] / below[end]
        deviation = np.sqrt(rate * (1 - rate) * (1 / fewer + 1 / more))
        if (named[end] - named[lower]) / more - named[lower] / fewer <= _RISING * deviation:
            break
        end = lower
    return float(named[end] / below[end])


def find_purest_rows(rows: np.ndarray, mentions: np.ndarray) -> PurestRows | None:
    """Find the rows from the top whose mention rate is surely the greatest; None for a concept that nothing names.

    Parameters
    ----------
    rows, mentions
        As for `find_excess`.

    Notes
    -----
    Of all windows from the top with at least min(50, a quarter of all) mentions, the one with the greatest 5 % bound of
    a Beta(M + ½, N - M + ½).
    """
    all_rows, all_mentions = from_the_top(rows), from_the_top(mentions)
    needed = max(min(_FEWEST_MENTIONS, all_mentions[0] / 4), 1)
    windows = np.flatnonzero((all_mentions >= needed) & (rows > 0))
    if not len(windows):
        return None
    named, unnamed = all_mentions[windows] + 0.5, (all_rows - all_mentions)[windows] + 0.5
    best = windows[int(np.argmax(stats.beta.ppf(_LOWER_BOUND, named, unnamed)))]
    return PurestRows(int(best), int(all_rows[best]), int(all_mentions[best]), float(all_rows[best] / all_rows[0]))
