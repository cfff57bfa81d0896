"""Counting in plain torch, on any device: a float32 screen settled by exact float64 dots, or float64 all through.

What the fused kernels do not answer goes through this form too. Not here: the kernels (`kernels.py`), moving rows to
the device (`pipeline.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ....embed.corpus import LEAST_SQUARE, MOST_SQUARE
from ..bands import float32_band, screen_bounds
from ..bins import BINS, EDGES
from ..tiles import Asked, Best, Pairs, TileAnswer
from .pipeline import DeviceCounter

# Scores that are in hand at once, and numbers of the rows they are of, by the device: float64 ones take 8 bytes each.
_SCORES = {"cpu": 1 << 20, "cuda": 1 << 26}
# Single pairs that are settled at once: their vectors take 16 d bytes each.
_PAIRS = {"cpu": 1 << 12, "cuda": 1 << 16}
# Rows whose lengths are checked at once: 8 d bytes each.
_MOST_ROWS = 1 << 16
# More thresholds than this are answered from exact scores and their ranks: a pass over the scores for each costs more.
_MOST_SCREENED = 16
# Above this share of pairs to be settled one by one, the float64 product of all of them is cheaper.
_DENSE_SHARE = 1 / 32


class TorchForm:
    """Counts in plain torch on one device.

    Parameters
    ----------
    device
        What torch calls it: ``"cuda:0"``, ``"cpu"``.
    """

    name = "torch"

    def __init__(self, device: str = "cuda") -> None:
        self._device = torch.device(device)

    def prepare(self, prototypes: np.ndarray, asked: Asked) -> DeviceCounter:
        """Make ready for one query; see `Backend.prepare`."""
        return DeviceCounter(self.work(prototypes, asked), prototypes.shape[1])

    def work(self, prototypes: np.ndarray, asked: Asked) -> TorchWork:
        """Make ready for one query on rows that lie on the device already."""
        return TorchWork(TorchAnswers(prototypes, asked, self._device))


@dataclass(frozen=True, eq=False)
class DeviceAnswer:
    """A `TileAnswer` whose arrays lie on a device; `refused` is a mask of the rows."""

    refused: torch.Tensor
    counts: torch.Tensor
    histogram: torch.Tensor | None
    best: tuple[torch.Tensor, torch.Tensor] | None
    pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None

    def to_host(self) -> TileAnswer:
        """Give the answer without its sums."""
        return TileAnswer(
            np.flatnonzero(self.refused.cpu().numpy()),
            np.zeros(tuple(self.counts.shape), np.int64),
            None,
            None if self.best is None else Best(*(part.cpu().numpy() for part in self.best)),
            None if self.pairs is None else Pairs(*(part.cpu().numpy() for part in self.pairs)),
        )


class TorchWork:
    """Adds up the answers of `TorchAnswers`; see `DeviceWork`."""

    def __init__(self, answers: TorchAnswers) -> None:
        self._answers = answers
        self.device = answers.device
        self.start()

    @property
    def most_rows(self) -> int:
        """How many rows are best submitted at once."""
        return _MOST_ROWS

    def start(self) -> None:
        """Set the sums to zero."""
        self._counts, self._histogram = self._answers.zeros()

    def submit(self, rows: torch.Tensor, floors: np.ndarray | None, checked: bool = False) -> DeviceAnswer:
        """Count some rows."""
        answer = self._answers.answer(rows, floors, checked)
        self._counts += answer.counts
        if self._histogram is not None and answer.histogram is not None:
            self._histogram += answer.histogram
        return answer

    def collect(self, submitted: DeviceAnswer) -> TileAnswer:
        """Wait for what `submit` began."""
        return submitted.to_host()

    def sums(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the counts and the histogram of all rows since `start`."""
        return self._counts.cpu().numpy(), None if self._histogram is None else self._histogram.cpu().numpy()


class TorchAnswers:
    """Answers for rows on a device, for one query.

    Parameters
    ----------
    prototypes, asked
        See `Backend.prepare`.
    device
        Where the rows will lie.
    """

    def __init__(self, prototypes: np.ndarray, asked: Asked, device: torch.device) -> None:
        self.device = device
        self._asked = asked
        self._prototypes = torch.from_numpy(np.array(prototypes)).to(device)
        self._narrow, self._wide = self._prototypes.float(), self._prototypes.double()
        self._thresholds = torch.from_numpy(np.array(asked.thresholds, order="C")).to(device)
        self._band = float32_band(prototypes.shape[1])
        lower, upper = screen_bounds(asked.thresholds, self._band)
        self._lower, self._upper = (torch.from_numpy(bound).to(device) for bound in (lower, upper))
        self._edges = torch.from_numpy(np.array(EDGES)).to(device)
        self._concepts = torch.arange(len(prototypes), device=device)
        self._must_be_exact = (
            asked.histogram or asked.best > 0 or asked.within is not None or asked.thresholds.shape[1] > _MOST_SCREENED
        )

    def zeros(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Give counts and a histogram of nothing: (C, T) and (C, BINS) int64."""
        counts = torch.zeros(self._asked.thresholds.shape, dtype=torch.int64, device=self.device)
        if not self._asked.histogram:
            return counts, None
        return counts, torch.zeros((len(counts), BINS), dtype=torch.int64, device=self.device)

    def answer(self, rows: torch.Tensor, floors: np.ndarray | None = None, checked: bool = False) -> DeviceAnswer:
        """Answer for (n, d) float16 rows on the device; see `TileCounter.count_tile` and `DeviceWork.submit`."""
        counts, histogram = self.zeros()
        least = None
        if self._asked.pairs and floors is not None:
            least = torch.from_numpy(np.array(floors, dtype=np.float64)).to(self.device)
        refused, best, pairs = [], [], []
        step = max(1, _SCORES[self.device.type] // max(self._prototypes.shape))
        for start in range(0, max(len(rows), 1), step):
            here = rows[start : start + step]
            refused.append(torch.zeros(len(here), dtype=torch.bool, device=self.device) if checked else ~are_unit(here))
            found = None if self._must_be_exact else self._screen(here, least)
            if found is None:
                found = self._compare(here, least)
            counts += found.counts
            if histogram is not None and found.histogram is not None:
                histogram += found.histogram
            best.append(found.best)
            if found.pairs is not None:
                pairs.append((found.pairs[0] + start, *found.pairs[1:]))
        return DeviceAnswer(
            torch.cat(refused),
            counts,
            histogram,
            _joined(best) if self._asked.best else None,
            _joined(pairs) if least is not None else None,
        )

    def settle(self, rows: torch.Tensor, places: torch.Tensor, concepts: torch.Tensor) -> torch.Tensor:
        """What are the similarities of single pairs, without any rounding?

        Parameters
        ----------
        rows
            (n, d) float16.
        places, concepts
            (p,) int64 positions of rows and prototypes.

        Returns
        -------
        torch.Tensor
            (p,) float64.
        """
        exact = torch.empty(len(places), dtype=torch.float64, device=self.device)
        step = _PAIRS[self.device.type]
        for start in range(0, len(places), step):
            here = slice(start, start + step)
            exact[here] = (rows[places[here]].double() * self._wide[concepts[here]]).sum(dim=1)
        return exact

    def _screen(self, rows: torch.Tensor, least: torch.Tensor | None) -> _Found | None:
        """Answer by a float32 product and the exact dots of what it leaves open; None where that is too much."""
        thresholds = self._thresholds.shape[1]
        scores = float32_product(rows.float(), self._narrow)
        hits = torch.empty((len(self._thresholds), thresholds), dtype=torch.int64, device=self.device)
        near = torch.zeros_like(scores, dtype=torch.bool)
        for column in range(thresholds):
            sure = scores >= self._upper[:, column]
            hits[:, column] = sure.sum(dim=0)
            near |= (scores >= self._lower[:, column]) & ~sure
        places, concepts = torch.nonzero(near, as_tuple=True)
        most = scores.numel() * _DENSE_SHARE
        if len(places) > max(most, 64):
            return None
        exact, screened = self.settle(rows, places, concepts), scores[places, concepts]
        missed = (exact[:, None] >= self._thresholds[concepts]).long() - (
            screened[:, None] >= self._upper[concepts]
        ).long()
        hits.index_add_(0, concepts, missed)
        if least is None:
            return _Found(hits)
        # Compared in float64, so that no bound is rounded; infinite floors stay what they are.
        places, concepts = torch.nonzero(scores.double() >= least - self._band, as_tuple=True)
        if len(places) > max(most, 64):
            return None
        exact = self.settle(rows, places, concepts)
        reach = exact >= least[concepts]
        return _Found(hits, pairs=(places[reach], concepts[reach].int(), exact[reach]))

    def _compare(self, rows: torch.Tensor, least: torch.Tensor | None) -> _Found:
        """Answer from the float64 product of everything."""
        asked = self._asked
        exact = rows.double() @ self._wide.T
        best = pairs = None
        if asked.best:
            ordered, order = torch.sort(exact, dim=1, descending=True, stable=True)
            best = order[:, : asked.best].int(), ordered[:, : asked.best]
        if least is not None:
            wanted = exact >= least
            if asked.within is not None:
                wanted &= exact.amax(dim=1, keepdim=True) - exact <= asked.within
            places, concepts = torch.nonzero(wanted, as_tuple=True)
            pairs = places, concepts.int(), exact[places, concepts]
        return _Found(self._counts(exact), self._histogram(exact) if asked.histogram else None, best, pairs)

    def _counts(self, exact: torch.Tensor) -> torch.Tensor:
        concepts, thresholds = self._thresholds.shape
        if thresholds <= _MOST_SCREENED:
            hits = torch.zeros((concepts, thresholds), dtype=torch.int64, device=self.device)
            for column in range(thresholds):
                hits[:, column] = (exact >= self._thresholds[:, column]).sum(dim=0)
            return hits
        # How many thresholds does each score reach? Rows that reach k of them are hits at the k lowest ones.
        ascending, order = torch.sort(self._thresholds, dim=1)
        reached = torch.searchsorted(ascending, exact.T.contiguous(), right=True)
        cells = reached + self._concepts[:, None] * (thresholds + 1)
        ranks = torch.bincount(cells.reshape(-1), minlength=concepts * (thresholds + 1))
        ranks = ranks.reshape(concepts, thresholds + 1)
        at_least = ranks.flip(1).cumsum(1).flip(1)[:, 1:]
        return torch.empty_like(at_least).scatter_(1, order, at_least)

    def _histogram(self, exact: torch.Tensor) -> torch.Tensor:
        # Rows that will be refused may have any similarities, or none: they are kept inside the table.
        bins = (torch.bucketize(exact, self._edges, right=True) - 1).clamp_(0, BINS - 1)
        cells = bins + self._concepts * BINS
        return torch.bincount(cells.reshape(-1), minlength=len(self._concepts) * BINS).reshape(-1, BINS)


@dataclass(frozen=True, eq=False)
class _Found:
    """The answer for some of the rows."""

    counts: torch.Tensor
    histogram: torch.Tensor | None = None
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None


def are_unit(rows: torch.Tensor) -> torch.Tensor:
    """Say which (n, d) float16 rows are finite and about of unit length, as `embed.corpus.is_unit` does; (n,) bool.

    The sum of squares is exact in float64 for all rows that are anywhere near unit length.
    """
    squares = rows.double().square().sum(dim=1)
    return (squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE)


def float32_product(rows: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """Multiply (n, d) and (C, d) float32 to (n, C), in nothing less than float32.

    Torch may be told to take TensorFloat-32 or bfloat16 instead, by a setting of the whole process. The band rests on
    float32, so the setting is put back before each product.
    """
    torch.set_float32_matmul_precision("highest")
    return rows @ prototypes.T


def _joined(parts: list) -> tuple:
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))
