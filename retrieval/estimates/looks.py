"""Estimating a count to the precision that is asked for: which samples are looked at, and when to stop.

Not here: reading the sample (`growing.py`), the intervals (`intervals.py`, `sequences.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ..counting import CountQuery, sample
from ..counting.result import format_share
from .growing import GrowingSample
from .intervals import check_confidence
from .result import EstimateResult

# The first look is at no fewer rows than this: reading fewer saves hardly any time.
FIRST_ROWS = 20_000
# Above this share of the most that may be read, the rest is read at once: a row that is picked costs several times as
# much as one that is read in a block.
_ALMOST = 1 / 8

Bar = Callable[[str, int], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Within:
    """How far an interval's ends may lie from the estimate: by a part of it, or by a share of all rows.

    Examples
    --------
    >>> Within.parse("10%"), Within.parse("0.001")
    (Within(value=0.1, relative=True), Within(value=0.001, relative=False))
    """

    value: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Within:
        """Read ``10%`` (of the estimate) or ``0.001`` (of all rows).

        Raises
        ------
        BadInput
            For anything else.
        """
        text = text.strip()
        relative = text.endswith("%")
        try:
            value = float(text.removesuffix("%")) / (100 if relative else 1)
        except ValueError:
            value = -1.0
        if not 0 < value < 1:
            raise BadInput(
                f"{text!r} does not say how narrow an interval is wanted: write 10% for a tenth of the estimate to "
                "either side, or 0.001 for a thousandth of all rows"
            )
        return cls(value, relative)

    def __str__(self) -> str:
        return f"{100 * self.value:g} %" if self.relative else f"{self.value:g} of the rows"

    def allowed(self, estimates: np.ndarray, rows: int) -> np.ndarray:
        """Give how many rows the ends may lie from these estimates, float64."""
        return self.value * (estimates.astype(np.float64) if self.relative else np.full(estimates.shape, float(rows)))

    def reached(self, result: EstimateResult) -> np.ndarray:
        """Say which intervals are as narrow as wanted, (C, T) bool; one that is a point always is."""
        return _reach(result) <= self.allowed(result.estimates, result.rows)


def estimate(
    corpus: Corpus,
    query: CountQuery,
    *,
    within: Within | str | None = None,
    rate: float | None = None,
    confidence: float = 0.95,
    backend: str = "auto",
) -> EstimateResult:
    """About how many rows of the corpus lie at or above each threshold? An estimate and an exact interval for each.

    Parameters
    ----------
    corpus
        The corpus at one version.
    query
        Prototypes, thresholds, side, control. Nothing else may be asked for.
    within
        How far the ends of every interval may lie from the estimate, ``"10%"`` of it or ``"0.001"`` of all rows: the
        sample is widened until none lies farther, or until it is all that may be read. None looks once, at `rate`.
    rate
        The sample's rate, or with `within` the most that may be read; None there reads the whole corpus if need be, and
        the result is then exact.
    confidence
        With which each interval, for itself, holds the count.
    backend
        What counts.

    Raises
    ------
    BadInput
        When neither `within` nor `rate` is given, one cannot be used, or the sample holds no row.
    SpaceMismatch, TailwagError
        As `count` raises.

    Examples
    --------
    >>> print(estimate(corpus, CountQuery(prototypes, 0.27), within="10%")[0])      # doctest: +SKIP
    about 1,234,000 (95 % interval 1,214,000 to 1,254,000) of 400,123,456 images have a similarity of at least 0.27 …
    """
    *_, last = estimates(corpus, query, within=within, rate=rate, confidence=confidence, backend=backend)
    return last


def estimates(
    corpus: Corpus,
    query: CountQuery,
    *,
    within: Within | str | None = None,
    rate: float | None = None,
    confidence: float = 0.95,
    backend: str = "auto",
    bar: Bar | None = None,
) -> Iterator[EstimateResult]:
    """Like `estimate`, and yields the result of every look on the way: one may stop at any of them.

    Parameters
    ----------
    bar
        Shows progress while rows are read, given what is being done and how many rows there are: `tailwag.progress`'s.
    """
    bar = bar or _no_bar
    check_confidence(confidence)
    within = Within.parse(within) if isinstance(within, str) else within
    if within is None and rate is None:
        raise BadInput("say how narrow an interval is wanted (within), or what share of the rows to read (rate)")
    most = 1.0 if rate is None else rate
    sample(most)  # refuses what is no rate, before anything is read
    growing = GrowingSample(corpus, query, backend)
    rates = plan_looks(growing.rows, most) if within is not None else (most,)
    looks = max(1, sum(one < 1 for one in rates))
    needed = 0.0
    for planned in rates:
        if planned < most and planned * growing.rows < needed:
            continue
        expected = round((planned - growing.rate) * growing.rows)
        with bar(f"sampling {format_share(planned)}", expected) as progress:
            growing.widen(planned, progress)
        if not growing.sampled and planned < most:
            continue
        result = growing.estimate(confidence, looks)
        yield result
        if within is None or within.reached(result).all():
            return
        needed = _rows_needed(result, within)


def plan_looks(rows: int, rate: float = 1.0) -> tuple[float, ...]:
    """At which rates is a growing sample looked at?

    Powers of ½, so that the samples of all corpora are alike, from the first that holds about `FIRST_ROWS` rows to an
    eighth of the most that may be read, then all of that. Known before the first row is read, as `scheduled_interval`
    needs it.

    Examples
    --------
    >>> plan_looks(1_000_000)
    (0.03125, 0.0625, 0.125, 1.0)
    >>> plan_looks(20_000), plan_looks(1_000_000, 0.1)
    ((1.0,), (0.1,))
    """
    looks, one = [rate], 0.5
    while one * rows >= FIRST_ROWS:
        if one <= rate * _ALMOST:
            looks.append(one)
        one /= 2
    return tuple(reversed(looks))


def _rows_needed(result: EstimateResult, within: Within) -> float:
    """How many rows must be sampled at least, for intervals as narrow as wanted? A width falls as 1/√n.

    Going by the upper ends: where no hit has been seen yet, the estimate says nothing of how many rows it takes.
    """
    excess = _reach(result) / np.maximum(within.allowed(result.upper, result.rows), 1e-300)
    return result.sampled * float(excess.max()) ** 2


def _reach(result: EstimateResult) -> np.ndarray:
    """How far the farther end of each interval lies from its estimate."""
    return np.maximum(result.upper - result.estimates, result.estimates - result.lower)


@contextmanager
def _no_bar(description: str, total: int) -> Iterator[Progress]:
    yield NoProgress()
