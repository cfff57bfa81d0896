"""The tables of docs/calibration.md: what was asked for and reached, and the scores of each corpus by decade.

Pure functions on answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .estimators import ANCHORED, AUDIT, AUDITS, BY_SIMILARITY, IN_HINDSIGHT, IN_HINDSIGHT_BY_DECADE
from .scoring import FRAGILE, SOUND, UNSUPPORTED, Answered, Score, chosen, score

# Captions that do name what there is; seldom-named concepts are judged by their grade.
_COMMON = (-1, -2, -3, -4)
# Fewer true rows than this and the least mistake is a factor: a decade of these says nothing of a method.
_FEWEST_ANSWERS = 5
# A corpus with fewer concepts than this is shown, and not judged by.
_FEWEST_JUDGED = 20


@dataclass(frozen=True)
class Table:
    """Headings and rows of words, as docs/generate.py takes them."""

    headings: list[str]
    rows: list[list[str]]


def number(value: float, digits: int = 2) -> str:
    """Write a number without its leading zero; a dash for what is not known."""
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def error_and_coverage(found: Score) -> str:
    """Write median/90th percentile, and the coverage where there are intervals."""
    if not found.answers:
        return "–"
    text = f"{number(found.median)}/{number(found.percentile_90)}"
    return text if math.isnan(found.coverage) else f"{text} c {number(found.coverage)}"


def by_decade(answered: Sequence[Answered], groups: Sequence[tuple[str, Sequence[Answered]]]) -> Table:
    """Give a row for each group of answers, estimator and number of labels; a column for each decade."""
    decades = sorted({one.decade for one in answered}, reverse=True)
    decades = [
        one for one in decades if len({(a.case, a.concept) for a in answered if a.decade == one}) >= _FEWEST_ANSWERS
    ]
    rows = []
    for title, group in groups:
        for estimator in dict.fromkeys(one.estimator for one in group):
            for labels in sorted({one.labels for one in group if one.estimator == estimator}):
                own = chosen(group, estimator=estimator, labels=labels)
                whole = score(own)
                cells = [error_and_coverage(score(chosen(own, decades=[decade]))) for decade in decades]
                shares = (
                    "–"
                    if math.isnan(whole.sound)
                    else "/".join(f"{100 * share:.0f}" for share in (whole.sound, whole.fragile, whole.unsupported))
                )
                width = "–" if math.isnan(whole.width) else f"×{10**whole.width:.2g}"
                rows.append([title, estimator, str(labels), *cells, number(whole.spearman), width, shares])
    headings = ["corpus", "estimator", "labels", *(f"1e{decade}" for decade in decades)]
    return Table([*headings, "ρ", "interval", "sound/fragile/unsupported, %"], rows)


def targets(answered: Sequence[Answered], reported: Sequence[str], both: Sequence[str]) -> Table:
    """Give the table of what was to be reached, with what was.

    Parameters
    ----------
    answered
        Of all corpora.
    reported
        The corpora with captions or made captions that the targets are about.
    both
        Those by which the threshold in hindsight is judged.
    """
    here = [one for one in answered if one.corpus in reported]
    common = chosen(here, decades=_COMMON)
    rows = [
        _target(
            "no labels, captions, ≥ 1e-4, graded sound: error",
            _parts(chosen(common, estimator=ANCHORED, grade=SOUND), reported),
            lambda own: score(own).median,
            (0.10, 0.07),
            lambda own: f"{number(score(own).median, 3)} (p90 {number(score(own).percentile_90)})",
        )
    ]
    for labels, least, aim in zip(AUDITS, (0.06, 0.05, 0.04), (0.04, 0.03, 0.02), strict=True):
        own = _parts(chosen(common, estimator=AUDIT, labels=labels), reported)
        rows.append(_target(f"{labels} two-way labels, ≥ 1e-4: error", own, _median, (least, aim)))
    own = _parts(chosen(common, estimator=BY_SIMILARITY, labels=60, decades=(-1, -2, -3)), reported)
    rows.append(_target("no captions, 60 labels, ≥ 1e-3: error", own, _median, (0.10, 0.07)))
    for oracle, title in (
        (IN_HINDSIGHT, "best threshold in hindsight: its error over the default's, ≥ 1e-4"),
        (IN_HINDSIGHT_BY_DECADE, "the same with another threshold for each decade"),
    ):
        rows.append(
            _target(
                title,
                _parts(common, both),
                lambda own, oracle=oracle: _times(own, oracle),
                (2.5, 4.0),
                lambda own, oracle=oracle: f"{_times(own, oracle):.1f}×",
                greater=True,
            )
        )
    for title, group in (
        ("no labels", chosen(here, estimator=ANCHORED, grade=SOUND)),
        *((f"{labels} labels", chosen(here, estimator=AUDIT, labels=labels, grade=SOUND)) for labels in AUDITS),
    ):
        rows.append(
            _target(
                f"coverage of 95 % intervals, graded sound, {title}",
                _parts(group, reported),
                lambda own: abs(score(own).coverage - 0.95),
                (0.05, 0.02),
                lambda own: f"{100 * score(own).coverage:.1f} % of {len(own):,}",
                written=("90–98 %", "93–97 %"),
            )
        )
    blind = [one for one in chosen(here, estimator=ANCHORED) if one.truth < UNSEEABLE]
    rows.append(
        _target(
            f"graded unsupported where nothing can be seen: under {UNSEEABLE} true rows",
            _parts(blind, reported),
            lambda own: score(own).unsupported,
            (0.95, 0.99),
            lambda own: f"{100 * score(own).unsupported:.0f} % of {len(own):,}",
            greater=True,
            written=("95 %", "99 %"),
        )
    )
    return Table(["what", "at least", "aim", "reached on each corpus", "by the worst of them"], rows)


Parts = Sequence[tuple[str, Sequence[Answered]]]


def _target(
    title: str,
    parts: Parts,
    value: Callable[[Sequence[Answered]], float],
    wanted: tuple[float, float],
    write: Callable[[Sequence[Answered]], str] | None = None,
    *,
    greater: bool = False,
    written: tuple[str, str] | None = None,
) -> list[str]:
    """Give a row: what was wanted, what each corpus reached, and the verdict on the worst of them."""
    write = write or (lambda own: number(value(own), 3))
    sign = -1.0 if greater else 1.0
    least, aim = (sign * one for one in wanted)
    judged = [own for _, own in parts if len(own) >= _FEWEST_JUDGED]
    worst = max((sign * value(own) for own in judged), default=float("nan"))
    # Limits of coverage lie unevenly about 95 %, and are given by hand.
    if title.startswith("coverage"):
        shares = [score(own).coverage for own in judged]
        reached = [all(low <= one <= high for one in shares) for low, high in ((0.93, 0.97), (0.90, 0.98))]
        verdict = "–" if not shares else "aim" if reached[0] else "at least" if reached[1] else "short"
    else:
        verdict = "–" if math.isnan(worst) else "aim" if worst <= aim else "at least" if worst <= least else "short"
    asked = written or tuple(f"{'≥ ' if greater else ''}{one:g}{'×' if greater else ''}" for one in wanted)
    return [title, *asked, "; ".join(f"{corpus} {write(own)}" for corpus, own in parts) or "–", verdict]


def _parts(answered: Sequence[Answered], corpora: Sequence[str]) -> Parts:
    parts = [(corpus, chosen(answered, corpora=[corpus])) for corpus in corpora]
    return [(corpus, own) for corpus, own in parts if own]


def _median(answered: Sequence[Answered]) -> float:
    return score(answered).median


# So few that not even the usual .65 of captions make the ten mentions below which the study saw nothing.
UNSEEABLE = 8


def _times(answered: Sequence[Answered], oracle: str) -> float:
    default = score(chosen(answered, estimator=ANCHORED)).median
    return score(chosen(answered, estimator=oracle)).median / default if default else float("nan")


def grades_by_corpus(answered: Sequence[Answered], reported: Sequence[str]) -> Table:
    """Give what each grade was worth: how often it was given, the error and coverage where it was."""
    rows = []
    for corpus in reported:
        for grade in (SOUND, FRAGILE, UNSUPPORTED):
            found = score(chosen(answered, corpora=[corpus], estimator=ANCHORED, grade=grade))
            if found.answers:
                within = [
                    one
                    for one in chosen(answered, corpora=[corpus], estimator=ANCHORED, grade=grade)
                    if abs(math.log10((one.estimate + 0.5) / (one.truth + 0.5))) <= 0.3
                ]
                rows.append(
                    [
                        corpus,
                        grade,
                        f"{found.answers:,}",
                        f"{number(found.median)}/{number(found.percentile_90)}",
                        f"{100 * found.coverage:.0f} %",
                        f"{100 * len(within) / found.answers:.0f} %",
                    ]
                )
    return Table(["corpus", "grade", "concepts", "error", "interval holds the truth", "within a factor of 2"], rows)
