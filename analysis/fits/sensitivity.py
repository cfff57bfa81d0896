"""What the published figure would show with other bins, other slices, other thresholds or other test sets.

Not here: the procedure itself (`published.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput

from .concept_level import log_frequency
from .moments import cluster_index, moments, slopes
from .numbers import NAN, Flag
from .published import bins_of_log_count, line_through, published_fit
from .resampling import draw_weights

if TYPE_CHECKING:
    import pandas as pd

CUT_COLUMNS = ("edges", "first", "last", "bins", "r", "slope", "never_drawn")
THRESHOLD_COLUMNS = ("threshold", "r", "slope", "zeros", "within_slope", "within_r")


@dataclass(frozen=True)
class CutSensitivity:
    """The published r and slope for every cut.

    Attributes
    ----------
    table
        One row a cut: number of edges, first and last bin drawn, bins drawn, r, slope in points per decade, concepts
        never drawn.
    lowest_r, highest_r
        Over the table.
    share_below, share_other_sign
        The share of cuts with a smaller r than the published one, and with the other sign.
    """

    table: pd.DataFrame
    lowest_r: float
    highest_r: float
    share_below: float
    share_other_sign: float


def sensitivity_to_cut(
    counts: np.ndarray,
    values: np.ndarray,
    published_r: float,
    *,
    edges: Sequence[int] = tuple(range(7, 21)),
    most_dropped: int = 4,
) -> CutSensitivity:
    """Which r and slope do other numbers of edges and other slices give?

    Parameters
    ----------
    counts, values
        Those of `published_fit`.
    published_r
        What the figure has.
    edges
        Numbers of edges.
    most_dropped
        Every slice that drops up to so many bins at either end and keeps at least four; bin 0 counts as one.

    Returns
    -------
    CutSensitivity
    """
    import pandas as pd

    rows = []
    for number in edges:
        # Bins do not depend on what is drawn of them.
        whole = published_fit(counts, values, edges=number, drawn=slice(None), remarks=False)
        logarithms = np.log(whole.edges)
        for first in range(most_dropped + 1):
            for last in range(max(first + 3, number - 1 - most_dropped), number):
                shown = whole.drawn & (np.arange(number) >= first) & (np.arange(number) <= last)
                r, _, slope, _ = line_through(logarithms[shown], whole.means[shown])
                never_drawn = whole.concepts - int(whole.sizes[shown].sum())
                rows.append((number, first, last, int(shown.sum()), r, slope, never_drawn))
    table: Any = pd.DataFrame(rows, columns=list(CUT_COLUMNS))
    r = table["r"].dropna().to_numpy()
    if not len(r):
        return CutSensitivity(table, NAN, NAN, NAN, NAN)
    return CutSensitivity(
        table=table,
        lowest_r=float(r.min()),
        highest_r=float(r.max()),
        share_below=float((r < published_r).mean()),
        share_other_sign=float((r * published_r < 0).mean()),
    )


def sensitivity_to_threshold(
    counts: Mapping[float, np.ndarray], values: np.ndarray, sets: np.ndarray, *, edges: int, drawn: slice
) -> pd.DataFrame:
    """Which r and slopes do counts at other thresholds give?

    Parameters
    ----------
    counts
        Threshold -> (n,) counts of the same concepts.
    values, sets
        (n,) shares, and names of test sets.
    edges, drawn
        Of the published procedure.

    Returns
    -------
    pandas.DataFrame
        The columns `THRESHOLD_COLUMNS`: the published r and slope, zeros, and slope and r within test sets.

    Raises
    ------
    BadInput
        When counts at a threshold are not of the same concepts.
    """
    import pandas as pd

    rows = []
    _, index = cluster_index(sets)
    for threshold, own in sorted(counts.items()):
        if np.shape(own) != np.shape(values):
            raise BadInput(f"{np.size(own)} counts at threshold {threshold:g} for {np.size(values)} concepts")
        fit = published_fit(own, values, edges=edges, drawn=drawn, remarks=False)
        found = slopes(moments(log_frequency(own), 100 * np.asarray(values), index))
        rows.append((threshold, fit.r, fit.slope, fit.zeros, float(found.within[0]), float(found.within_r[0])))
    return pd.DataFrame(rows, columns=list(THRESHOLD_COLUMNS))


def published_with_other_sets(
    counts: np.ndarray,
    values: np.ndarray,
    sets: np.ndarray,
    *,
    edges: int,
    drawn: slice,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Which r and slope would the published procedure give, had other test sets been chosen?

    Test sets are drawn with replacement and the whole procedure is run on what was drawn: edges from its own least and
    greatest count, bins, means, line.

    Parameters
    ----------
    counts, values, edges, drawn
        Those of `published_fit`.
    sets
        (C,) names of test sets.
    replicates, seed
        Of the bootstrap.

    Returns
    -------
    tuple of numpy.ndarray
        (replicates,) r, and slopes in points per decade; nan where fewer than three bins are drawn.
    """
    names, index = cluster_index(sets)
    order = np.argsort(index, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(index))[:-1])
    counts, values = np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64)
    r, slope = np.full(replicates, np.nan), np.full(replicates, np.nan)
    for row, weights in enumerate(draw_weights(len(names), replicates, seed)):
        there = np.concatenate([parts[place] for place in np.flatnonzero(weights)])
        often = weights[index[there]]
        logarithms, bins = bins_of_log_count(counts[there], edges)
        sizes = np.bincount(bins, weights=often, minlength=edges)[drawn]
        totals = np.bincount(bins, weights=often * values[there], minlength=edges)[drawn]
        full = sizes > 0
        x, y = logarithms[drawn][full] / np.log(10), 100 * totals[full] / sizes[full]
        if len(x) < 3:
            continue
        x, y = x - x.mean(), y - y.mean()
        if x @ x > 0:
            slope[row] = x @ y / (x @ x)
        if x @ x > 0 and y @ y > 0:
            r[row] = x @ y / np.sqrt((x @ x) * (y @ y))
    return r, slope


def cut_flags(cuts: CutSensitivity, published_r: float) -> tuple[Flag, ...]:
    """Say how far the published r depends on the cut."""
    if not np.isfinite(published_r) or not np.isfinite(cuts.lowest_r):
        return ()
    text = (
        f"over {len(cuts.table)} other cuts the published r lies between {cuts.lowest_r:.2f} and {cuts.highest_r:.2f}; "
        f"{100 * cuts.share_below:.0f} % of them give less than {published_r:.3f}"
    )
    if cuts.share_other_sign:
        text += f", {100 * cuts.share_other_sign:.0f} % the other sign"
    return (Flag("warning" if cuts.share_other_sign >= 0.05 else "note", text),)
