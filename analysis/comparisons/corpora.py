"""The same concepts in several pretraining sets: how far the frequencies agree, and whether the same ones are rare.

Not here: one concept's frequencies in two sets (`ratios.py`), the shape of one tail (`long_tail.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from tailwag.errors import BadInput, NotFound

from ..inputs.joining import pool
from ..inputs.known_names import KnownNames
from ..inputs.points import Exclusion, Frequencies

NOT_IN_ALL = "no count in every pretraining set"
TAIL_SHARE = 0.1
_FEWEST = 4  # a correlation's interval needs n - 3 > 0


@dataclass(frozen=True)
class Correlation:
    """A correlation over n concepts, with its interval; nan where it is not defined.

    Attributes
    ----------
    value, lower, upper
        From -1 to 1.
    concepts
        n.
    """

    value: float
    lower: float
    upper: float
    concepts: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f} ({self.lower:.3f} to {self.upper:.3f})"


@dataclass(frozen=True)
class TailOverlap:
    """Whether the same concepts are rare in two sets.

    Attributes
    ----------
    first, second
        How many concepts are rare in either: those up to the frequency under which the rarest share lies, ties
        included, so that many zeros make a greater share.
    common
        How many are rare in both.
    jaccard
        Common over all that are rare in one or the other.
    expected
        Its mean if the sets had nothing to do with each other.
    """

    first: int
    second: int
    common: int
    jaccard: float
    expected: float


@dataclass(frozen=True)
class PairOfCorpora:
    """Two pretraining sets over their common concepts.

    Attributes
    ----------
    first, second
        Their names.
    concepts
        How many concepts have a count in every set compared.
    spearman
        Of the frequencies; zeros are ties.
    pearson
        Of the frequencies as they are: a handful of the commonest concepts rule it.
    pearson_log
        Of log10 frequency, over the concepts that both sets have.
    overlap
        Of the rarest.
    """

    first: str
    second: str
    concepts: int
    spearman: Correlation
    pearson: Correlation
    pearson_log: Correlation
    overlap: TailOverlap


@dataclass(frozen=True)
class CorporaCompared:
    """The frequencies of C concepts in several pretraining sets, by name.

    Attributes
    ----------
    side
        What was counted.
    pretrainings
        The sets, in the order given.
    concepts
        C names.
    frequencies, lower, upper
        (sets, C) float64: the estimate or count, and the ends of its interval, nan without one.
    rows
        (sets,) float64 pairs of each set; nan where unknown.
    pairs
        Each two of the sets.
    exclusions
        What was left out.
    """

    side: str
    pretrainings: tuple[str, ...]
    concepts: tuple[str, ...]
    frequencies: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    rows: np.ndarray
    pairs: tuple[PairOfCorpora, ...]
    exclusions: tuple[Exclusion, ...] = field(default=())


def compare_corpora(
    frequencies: Frequencies,
    side: str,
    *,
    pretrainings: Sequence[str] | None = None,
    tail_share: float = TAIL_SHARE,
    names: KnownNames | None = None,
    as_spelt: bool = False,
) -> CorporaCompared:
    """Compare the frequencies of the same concepts in several pretraining sets.

    Concepts are pooled over test sets (see `pool`) and joined by name; one that lacks a count in one of the sets is
    left out of all and listed.

    Parameters
    ----------
    frequencies
        Of two or more pretraining sets; more may be there than are compared.
    side
        Which side.
    pretrainings
        The sets and their order; None takes all.
    tail_share
        Which share of the concepts is the tail, rarest first.
    names
        What is known of names.
    as_spelt
        Take each spelling for a concept of its own, as the paper's correlations do.

    Raises
    ------
    NotFound
        When a set or the side is not there.
    BadInput
        When there are fewer than two sets, or not four concepts in common.
    """
    if not 0 < tail_share < 1:
        raise BadInput(f"the tail is a share between 0 and 1 of the concepts, not {tail_share:g}")
    pooled = pool(_of_side(frequencies, side), names=names, as_spelt=as_spelt)
    table: Any = pooled.table
    found = list(table["pretraining"].drop_duplicates())
    for name in pretrainings or ():
        if name not in found:
            raise NotFound(f"there are no {side} counts of {name!r}; there are those of {', '.join(found)}")
    wanted = list(pretrainings or found)
    if len(wanted) < 2:
        raise BadInput(f"comparing needs two pretraining sets or more; there is {', '.join(found) or 'none'}")
    table = table.assign(frequency=table["estimate"].fillna(table["count"]))
    wide = {
        name: table[table["pretraining"].isin(wanted)].pivot(index="concept", columns="pretraining", values=name)[
            wanted
        ]
        for name in ("frequency", "lower", "upper")
    }
    whole = wide["frequency"].notna().all(axis=1)
    left_out = [
        Exclusion("counts", str(concept), NOT_IN_ALL, ", ".join(row.index[row.notna()]))
        for concept, row in wide["frequency"][~whole].iterrows()
    ]
    values = {name: frame[whole].to_numpy(dtype=np.float64).T for name, frame in wide.items()}
    if whole.sum() < _FEWEST:
        raise BadInput(f"{', '.join(wanted)} have {int(whole.sum())} concepts in common: a comparison needs {_FEWEST}")
    counts = values["frequency"]
    pairs = tuple(
        _compare_two((wanted[one], counts[one]), (wanted[other], counts[other]), tail_share)
        for one, other in combinations(range(len(wanted)), 2)
    )
    rows = np.array([table.loc[table["pretraining"] == name, "rows"].max() for name in wanted], dtype=np.float64)
    concepts = tuple(map(str, wide["frequency"].index[whole]))
    exclusions = (*pooled.exclusions, *left_out)
    return CorporaCompared(
        side, tuple(wanted), concepts, counts, values["lower"], values["upper"], rows, pairs, exclusions
    )


def spearman(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Correlation:
    """Give Spearman's ρ of two (n,) arrays, with Bonett and Wright's interval.

    tanh(artanh ρ ± z √((1 + ρ²/2) / (n - 3))): Sample Size Requirements for Estimating Pearson, Kendall and Spearman
    Correlations, Psychometrika 65, 2000.

    Examples
    --------
    >>> print(spearman(np.arange(20), np.arange(20) % 7))
    0.239 (-0.234 to 0.621)
    """
    if len(first) < _FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(math.nan, math.nan, math.nan, len(first))
    value = float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])
    return _with_interval(value, len(first), 1 + value**2 / 2, level)


def pearson(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Correlation:
    """Give Pearson's r of two (n,) arrays, with Fisher's interval, which holds for normal values."""
    if len(first) < _FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(math.nan, math.nan, math.nan, len(first))
    return _with_interval(float(np.corrcoef(first, second)[0, 1]), len(first), 1.0, level)


def tail_overlap(first: np.ndarray, second: np.ndarray, tail_share: float = TAIL_SHARE) -> TailOverlap:
    """Are the rarest of C concepts the same in two sets?

    Parameters
    ----------
    first, second
        (C,) frequencies.
    tail_share
        Which share is the tail.

    Returns
    -------
    TailOverlap
        Its expectation is over the hypergeometric distribution of the common ones.

    Examples
    --------
    >>> tail_overlap(np.array([0, 1, 2, 3]), np.array([0, 1, 3, 2]), 0.5)
    TailOverlap(first=2, second=2, common=2, jaccard=1.0, expected=0.38888888888888884)
    """
    size = len(first)
    wanted = max(1, math.floor(tail_share * size))
    rare_first, rare_second = (values <= np.sort(values)[wanted - 1] for values in (first, second))
    one, other = int(rare_first.sum()), int(rare_second.sum())
    common = int((rare_first & rare_second).sum())
    possible = np.arange(max(0, one + other - size), min(one, other) + 1)
    weights = stats.hypergeom.pmf(possible, size, one, other)
    expected = float((weights * possible / (one + other - possible)).sum())
    return TailOverlap(one, other, common, common / (one + other - common), expected)


def _compare_two(first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], tail_share: float) -> PairOfCorpora:
    (name, one), (other_name, other) = first, second
    present = (one > 0) & (other > 0)
    return PairOfCorpora(
        first=name,
        second=other_name,
        concepts=len(one),
        spearman=spearman(one, other),
        pearson=pearson(one, other),
        pearson_log=pearson(np.log10(one[present]), np.log10(other[present])),
        overlap=tail_overlap(one, other, tail_share),
    )


def _with_interval(value: float, size: int, variance: float, level: float) -> Correlation:
    if abs(value) >= 1:
        return Correlation(value, value, value, size)
    reach = stats.norm.ppf((1 + level) / 2) * math.sqrt(variance / (size - 3))
    centre = math.atanh(value)
    return Correlation(value, math.tanh(centre - reach), math.tanh(centre + reach), size)


def _of_side(frequencies: Frequencies, side: str) -> Frequencies:
    table: Any = frequencies.table
    own = table["side"] == side
    if not own.any():
        have = ", ".join(dict.fromkeys(table["side"])) or "none"
        raise NotFound(f"there are no counts of side {side!r}; there are those of {have}")
    return Frequencies(table[own], frequencies.exclusions)
