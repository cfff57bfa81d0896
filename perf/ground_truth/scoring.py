"""How far estimates are off, by decade of prevalence; how often their intervals hold the truth; what grades are worth.

Pure functions on a table of answers, one row a concept, case, estimator and number of labels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailwag.analysis.agreement import log10_errors

from .protocol import Case, Estimator, Oracle

SOUND, FRAGILE, UNSUPPORTED = "sound", "fragile", "unsupported"


@dataclass(frozen=True)
class Answered:
    """One estimate beside the truth."""

    corpus: str
    kind: str
    case: int
    estimator: str
    labels: int
    concept: str
    rows: int
    truth: int
    estimate: float
    lower: float
    upper: float
    grade: str
    seconds: float

    @property
    def decade(self) -> int:
        """The nearest power of ten of the prevalence."""
        return decade_of(self.truth, self.rows)


def decade_of(truth: int, rows: int) -> int:
    """Which power of ten is nearest to a prevalence?

    Examples
    --------
    >>> decade_of(40, 1000), decade_of(20, 1000), decade_of(0, 1000)
    (-1, -2, -3)
    """
    return round(math.log10(max(truth, 1) / rows))


def ask(cases: Iterable[Case], estimators: Sequence[Estimator]) -> list[Answered]:
    """Try every estimator on every case that it suits.

    Raises
    ------
    AssertionError
        When an estimator was given more labels than it says.
    """
    answered = []
    for number, case in enumerate(cases):
        truth = case.known.truth
        for estimator in estimators:
            if not estimator.suits(case.observed):
                continue
            oracle = Oracle(case.known, np.random.default_rng([case.seed, number]))
            started = time.perf_counter()
            answers = estimator(case.observed, oracle)
            seconds = (time.perf_counter() - started) / len(truth)
            if answers and oracle.given.max(initial=0) > max(answers):
                raise AssertionError(f"{estimator.name} took {oracle.given.max()} labels and owns up to {max(answers)}")
            for labels, said in answers.items():
                for place, name in enumerate(case.observed.names):
                    answered.append(
                        Answered(
                            case.corpus,
                            case.kind,
                            number,
                            estimator.name,
                            labels,
                            name,
                            case.rows,
                            int(truth[place]),
                            float(said.estimate[place]),
                            float(said.lower[place]),
                            float(said.upper[place]),
                            said.grades[place],
                            seconds,
                        )
                    )
    return answered


@dataclass(frozen=True)
class Score:
    """What some answers are worth; nan where it cannot be told.

    Attributes
    ----------
    answers
        How many have an estimate.
    silent
        How many have none.
    median, percentile_90
        Of |log10((estimate + ½) / (truth + ½))|.
    bias
        The median of the same without the bars: positive where estimates are too great.
    spearman
        Spearman's ρ with the truth, the mean over cases.
    coverage, width
        The share of 95 % intervals that hold the truth, and the median of log10((upper + ½) / (lower + ½)).
    sound, fragile, unsupported
        Shares of the grades.
    seconds
        A concept's share of the time, the median.
    """

    answers: int
    silent: int
    median: float
    percentile_90: float
    bias: float
    spearman: float
    coverage: float
    width: float
    sound: float
    fragile: float
    unsupported: float
    seconds: float


def score(answered: Sequence[Answered]) -> Score:
    """Score some answers together."""
    known = [one for one in answered if not math.isnan(one.estimate)]
    estimate, lower, upper = (
        np.array([getattr(one, name) for one in known]) for name in ("estimate", "lower", "upper")
    )
    truth = np.array([one.truth for one in known])
    nan = float("nan")
    graded = [one.grade for one in answered if one.grade]
    shares = [graded.count(level) / len(graded) if graded else nan for level in (SOUND, FRAGILE, UNSUPPORTED)]
    seconds = float(np.median([one.seconds for one in answered])) if answered else nan
    if not known:
        return Score(0, len(answered), nan, nan, nan, nan, nan, nan, *shares, seconds)
    errors = log10_errors(estimate, truth)
    bounded = ~np.isnan(lower)
    held = (lower[bounded] <= truth[bounded]) & (truth[bounded] <= upper[bounded])
    widths = np.log10((upper[bounded] + 0.5) / (lower[bounded] + 0.5))
    return Score(
        len(known),
        len(answered) - len(known),
        float(np.median(errors)),
        float(np.percentile(errors, 90)),
        float(np.median(np.log10((estimate + 0.5) / (truth + 0.5)))),
        _mean_spearman(known),
        float(held.mean()) if bounded.any() else nan,
        float(np.median(widths)) if bounded.any() else nan,
        *shares,
        seconds,
    )


def _mean_spearman(known: Sequence[Answered]) -> float:
    from scipy import stats

    by_case: dict[tuple[str, int], list[Answered]] = {}
    for one in known:
        by_case.setdefault((one.corpus, one.case), []).append(one)
    found = []
    for group in by_case.values():
        estimate, truth = [one.estimate for one in group], [one.truth for one in group]
        if len(set(estimate)) > 1 and len(set(truth)) > 1:
            found.append(float(stats.spearmanr(estimate, truth).statistic))
    return float(np.mean(found)) if found else float("nan")


def chosen(
    answered: Iterable[Answered],
    *,
    corpora: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    estimator: str | None = None,
    labels: int | None = None,
    decades: Sequence[int] | None = None,
    grade: str | None = None,
) -> list[Answered]:
    """Choose answers; None asks for all."""
    return [
        one
        for one in answered
        if (corpora is None or one.corpus in corpora)
        and (kinds is None or one.kind in kinds)
        and (estimator is None or one.estimator == estimator)
        and (labels is None or one.labels == labels)
        and (decades is None or one.decade in decades)
        and (grade is None or one.grade == grade)
    ]


def save_answers(answered: Sequence[Answered], path: Path) -> None:
    """Write answers as parquet, by a temporary name."""
    columns = {each.name: [getattr(one, each.name) for one in answered] for each in fields(Answered)}
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.table(columns), temporary)
    temporary.replace(path)


def read_answers(path: Path) -> list[Answered]:
    """Read what `save_answers` wrote."""
    rows: Sequence[Mapping[str, object]] = pq.read_table(path).to_pylist()
    return [Answered(**row) for row in rows]  # type: ignore[arg-type]
