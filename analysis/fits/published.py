"""The published figure, remade to the last step: means of bins of log frequency, drawn at upper edges, and their r.

Not here: what that figure leaves out (the other modules of this package), its picture (`report`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from tailwag.errors import BadInput

from .numbers import NAN, Flag


@dataclass(frozen=True)
class Procedure:
    """How many bin edges a published figure has, and which of its bins are drawn.

    Attributes
    ----------
    name
        The key in `PROCEDURES`.
    edges
        Equally spaced edges of ln(count) from the least to the greatest.
    drawn
        The slice of bins that are drawn and enter r.
    about
        What it was used for.
    """

    name: str
    edges: int
    drawn: slice
    about: str


PROCEDURES = {
    each.name: each
    for each in (
        Procedure("classification", 12, slice(1, 11), "zero-shot accuracy of classes: both ends left out"),
        Procedure("laion400m", 12, slice(2, 11), "zero-shot accuracy, LAION-400M: one more left out below"),
        Procedure(
            "similarity-control", 12, slice(1, 11), "LAION-400M pruned to ImageNet's similarity: as classification"
        ),
        Procedure("synthetic", 12, slice(0, 8), "SynthCI-30M: zeros drawn, the four most frequent bins left out"),
        Procedure("retrieval", 7, slice(3, 7), "text-to-image recall@10: four points"),
    )
}


@dataclass(frozen=True)
class PublishedFit:
    """What the published figure shows, and what it was made from.

    Attributes
    ----------
    edges
        (E,) float64 counts at the upper edges, where the means are drawn; ``edges[0]`` is the least count.
    means
        (E,) float64 shares, the unweighted mean of each bin; nan for an empty one.
    sizes
        (E,) int64 concepts in each bin; bin i holds those in (edge i−1, edge i], bin 0 those at the least count.
    drawn
        (E,) bool, which bins are drawn: those of the slice that are not empty.
    r, p
        Pearson's correlation of the drawn means with ln(edge), and its two-sided p; nan for fewer than three bins.
    slope, intercept
        Of the least-squares line through the drawn means: points (0 to 100) per decade, and points at count 1.
    concepts, zeros, never_drawn
        How many concepts there are, how many of them have count 0, and how many lie in bins that are not drawn.
    flags
        What a reader must be told.
    """

    edges: np.ndarray
    means: np.ndarray
    sizes: np.ndarray
    drawn: np.ndarray
    r: float
    p: float
    slope: float
    intercept: float
    concepts: int
    zeros: int
    never_drawn: int
    flags: tuple[Flag, ...]


def bins_of_log_count(counts: np.ndarray, edges: int) -> tuple[np.ndarray, np.ndarray]:
    """In which bin of ln(count) does each concept lie?

    Count 0 becomes 1; edges are equally spaced from the least to the greatest logarithm; a value at an edge belongs to
    the bin below it, so that bin 0 holds the minimum alone.

    Parameters
    ----------
    counts
        (C,) not negative.
    edges
        E, at least 2.

    Returns
    -------
    tuple of numpy.ndarray
        (E,) float64 edges of ln(count), and (C,) int64 bins from 0 to E − 1.

    Examples
    --------
    >>> bins_of_log_count(np.array([0, 1, 9, 11, 100]), 3)[1]
    array([0, 0, 1, 2, 2])
    """
    logarithms = np.log(np.maximum(counts, 1))
    ends = np.linspace(logarithms.min(), logarithms.max(), edges)
    # The middle of linspace may round to either side of a count that lies at it; the paper's code does the same.
    return ends, np.digitize(logarithms, ends, right=True)


def published_fit(
    counts: np.ndarray,
    values: np.ndarray,
    *,
    edges: int = 12,
    drawn: slice = PROCEDURES["classification"].drawn,
    remarks: bool = True,
) -> PublishedFit:
    """What does the published figure show for these concepts?

    The procedure of “No ‘Zero-Shot’ Without Exponential Data” (Udandarao et al. 2024), as its released notebooks have
    it: see `bins_of_log_count`; each bin weighs the same however many concepts it holds.

    Parameters
    ----------
    counts
        (C,) rows of the pretraining set, not negative.
    values
        (C,) shares from 0 to 1.
    edges, drawn
        Of a `Procedure`.
    remarks
        False leaves out the flags, which take longer than the rest.

    Returns
    -------
    PublishedFit

    Raises
    ------
    BadInput
        When the arrays do not fit together, hold what is not finite or negative, or there is no concept or bin.

    Examples
    --------
    >>> counts, values = np.array([0, 1, 9, 99, 1000]), np.array([0, 0.1, 0.3, 0.4, 0.6])
    >>> fit = published_fit(counts, values, edges=4, drawn=slice(1, 4))
    >>> round(fit.slope, 2), fit.sizes
    (15.0, array([2, 1, 1, 1]))
    """
    counts, values = np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if counts.ndim != 1 or counts.shape != values.shape:
        raise BadInput(f"{counts.shape} counts cannot be fitted to {values.shape} accuracies")
    if not len(counts):
        raise BadInput("there is no concept to fit")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and np.isfinite(values).all()):
        raise BadInput("a count is negative or not a finite number, or an accuracy is not a finite number")
    if edges < 2:
        raise BadInput(f"{edges} bin edges make no bin; give at least 2")
    logarithms, bins = bins_of_log_count(counts, edges)
    sizes = np.bincount(bins, minlength=edges)
    with np.errstate(invalid="ignore"):
        means = np.bincount(bins, weights=values, minlength=edges) / np.where(sizes, sizes, np.nan)
    wanted = np.zeros(edges, dtype=bool)
    wanted[drawn] = True
    shown = wanted & (sizes > 0)
    r, p, slope, intercept = line_through(logarithms[shown], means[shown])
    never_drawn = int(sizes[~shown].sum())
    return PublishedFit(
        edges=np.exp(logarithms),
        means=means,
        sizes=sizes,
        drawn=shown,
        r=r,
        p=p,
        slope=slope,
        intercept=intercept,
        concepts=len(counts),
        zeros=int((counts == 0).sum()),
        never_drawn=never_drawn,
        flags=_flags(logarithms, means, sizes, wanted, r, never_drawn) if remarks else (),
    )


def line_through(logarithms: np.ndarray, means: np.ndarray) -> tuple[float, float, float, float]:
    """Give r of bin means, its two-sided p, and slope and intercept of their line.

    Parameters
    ----------
    logarithms, means
        (B,) ln(count) and shares of the bins that are drawn.

    Returns
    -------
    tuple of float
        r and p, nan for fewer than three bins or equal means; points per decade and points at count 1, nan for fewer
        than two.
    """
    x, y = logarithms / np.log(10), 100 * means
    if len(x) < 2 or np.ptp(x) == 0:
        return NAN, NAN, NAN, NAN
    away_x, away_y = x - x.mean(), y - y.mean()
    slope = away_x @ away_y / (away_x @ away_x)
    intercept = float(y.mean() - slope * x.mean())
    if len(x) < 3 or np.ptp(y) == 0:
        return NAN, NAN, float(slope), intercept
    r = float(np.clip(away_x @ away_y / np.sqrt((away_x @ away_x) * (away_y @ away_y)), -1, 1))
    freedom = len(x) - 2
    p = 0.0 if abs(r) == 1 else float(2 * special.stdtr(freedom, -abs(r) * np.sqrt(freedom / (1 - r * r))))
    return r, p, float(slope), intercept


def r_of_every_slice(logarithms: np.ndarray, means: np.ndarray, fewest: int) -> list[tuple[int, int, float]]:
    """What is r for each run of neighbouring bins?

    Parameters
    ----------
    logarithms, means
        (E,) edges of ln(count) and bin means, nan for an empty bin.
    fewest
        The least number of bins in a run, empty ones included.

    Returns
    -------
    list of tuple
        (first bin, last bin, r), both ends included; runs whose r is undefined are left out.
    """
    found = []
    for first in range(len(means)):
        for last in range(first + fewest - 1, len(means)):
            run = slice(first, last + 1)
            full = np.isfinite(means[run])
            r = line_through(logarithms[run][full], means[run][full])[0]
            if np.isfinite(r):
                found.append((first, last, r))
    return found


def _flags(
    logarithms: np.ndarray, means: np.ndarray, sizes: np.ndarray, wanted: np.ndarray, r: float, never_drawn: int
) -> tuple[Flag, ...]:
    flags = []
    bins = np.flatnonzero(wanted)
    if not np.isfinite(r):
        flags.append(Flag("warning", "the published r is undefined: fewer than three bins are drawn, or all are alike"))
    else:
        # Slices that leave out no more bins than the drawn one does are what somebody else might as well have drawn.
        others = r_of_every_slice(logarithms, means, max(3, len(bins)))
        against = [each for each in others if each[2] * r < 0]
        if against:
            first, last, other = min(against, key=lambda each: each[2] * np.sign(r))
            flags.append(
                Flag(
                    "warning",
                    f"which bins are drawn decides the sign: r = {r:.3f} for bins {bins[0]} to {bins[-1]}, as drawn, "
                    f"and {other:.3f} for bins {first} to {last}; {len(against)} of {len(others)} slices that leave "
                    f"out no more bins disagree",
                )
            )
    empty = int((sizes[wanted] == 0).sum())
    if empty:
        flags.append(Flag("warning", f"{empty} of the {len(bins)} bins to draw are empty and are left out"))
    if never_drawn:
        share = 100 * never_drawn / sizes.sum()
        text = f"{never_drawn:,} of {sizes.sum():,} concepts ({share:.0f} %) lie in bins that are never drawn"
        flags.append(Flag("note", text))
    shown = sizes[wanted & (sizes > 0)]
    if len(shown) and shown.max() >= 10 * shown.min():
        text = f"bins of {shown.min():,} to {shown.max():,} concepts weigh the same in the published r"
        flags.append(Flag("note", text))
    return tuple(flags)
