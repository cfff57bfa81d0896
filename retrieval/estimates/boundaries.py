"""Finding where an interval of whole numbers ends: a search over many intervals at once.

Not here: what an interval holds (`intervals.py`, `sequences.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Every third guess halves the bracket, however badly the others go.
_HALVED_EVERY = 3
# A first guess is taken to be right to about this part of its way from the end that is known to be inside.
_GUESS_ERROR = 0.02


def last_inside(
    margin: Callable[[np.ndarray, np.ndarray], np.ndarray],
    inside: np.ndarray,
    outside: np.ndarray,
    guess: np.ndarray,
) -> np.ndarray:
    """Which whole number is the last inside, on the way to one that is outside?

    Regula falsi after Dowell and Jarratt's Illinois (1971) on whole numbers, with halving in between.

    Parameters
    ----------
    margin
        Takes positions and whole numbers for them, both (j,), and gives (j,) float64: at least 0 for those inside, −inf
        allowed. Along the way from inside to outside its sign changes once.
    inside, outside
        (m,) int64, known to be so.
    guess
        (m,) float64, where the last one may be; a good guess saves time.

    Returns
    -------
    numpy.ndarray
        (m,) int64.
    """
    everyone = np.arange(len(inside))
    bracket = _Bracket(inside.astype(np.int64), outside.astype(np.int64), margin(everyone, inside))
    first = bracket.between(everyone, guess)
    good = bracket.narrow(everyone, first, margin(everyone, first))
    reach = np.abs(guess - inside) * _GUESS_ERROR + 1
    toward = np.where(good, np.sign(outside - inside), -np.sign(outside - inside))
    second = bracket.between(everyone, first + toward * reach)
    bracket.narrow(everyone, second, margin(everyone, second))
    turn = 0
    while len(left := bracket.open_ones()):
        turn += 1
        middle = bracket.between(left, bracket.halved(left) if turn % _HALVED_EVERY == 0 else bracket.crossing(left))
        bracket.narrow(left, middle, margin(left, middle))
    return bracket.inside


class _Bracket:
    """For each of m searches one whole number inside and one outside, and by how much."""

    def __init__(self, inside: np.ndarray, outside: np.ndarray, inside_margin: np.ndarray) -> None:
        self.inside, self._outside = inside, outside
        self._inside_margin, self._outside_margin = inside_margin, np.full(len(inside), -np.inf)
        self._stayed_inside, self._stayed_outside = np.zeros((2, len(inside)), bool)

    def open_ones(self) -> np.ndarray:
        """Give the searches that are not done."""
        return np.flatnonzero(np.abs(self._outside - self.inside) > 1)

    def between(self, which: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Give the whole numbers nearest to those wanted that lie strictly between, or else those inside."""
        low = np.minimum(self.inside[which], self._outside[which])
        high = np.maximum(self.inside[which], self._outside[which])
        middle = np.clip(np.rint(wanted).astype(np.int64), low + 1, high - 1)
        return np.where(high - low > 1, middle, self.inside[which])

    def halved(self, which: np.ndarray) -> np.ndarray:
        """Give the middles."""
        return (self.inside[which] + self._outside[which]) / 2

    def crossing(self, which: np.ndarray) -> np.ndarray:
        """Give where straight lines cross zero; the middle where one end is infinitely far outside."""
        inside, outside = self._inside_margin[which], self._outside_margin[which]
        share = np.where(np.isfinite(outside), inside / (inside - outside), 0.5)
        return self.inside[which] + share * (self._outside[which] - self.inside[which])

    def narrow(self, which: np.ndarray, tried: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Move the end that each number tried belongs to; says which were inside."""
        good = found >= 0
        better, worse = which[good], which[~good]
        self.inside[better], self._inside_margin[better] = tried[good], found[good]
        self._outside[worse], self._outside_margin[worse] = tried[~good], found[~good]
        # An end that stays twice in a row is drawn nearer, so that the next number tried falls on its side.
        self._outside_margin[better[self._stayed_outside[better]]] /= 2
        self._inside_margin[worse[self._stayed_inside[worse]]] /= 2
        self._stayed_outside[better], self._stayed_outside[worse] = True, False
        self._stayed_inside[better], self._stayed_inside[worse] = False, True
        return good
