"""The tables of docs/calibration.md: what was asked for and reached, and the scores of each corpus by decade.

Pure functions on answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .estimators import ANCHORED, AUDIT, AUDITS, IN_HINDSIGHT, IN_HINDSIGHT_BY_DECADE
from .scoring import FRAGILE, SOUND, UNSUPPORTED, Answered, Score, chosen, score

# Captions that do name what there is; seldom-named concepts are judged by their grade.
_COMMON = (-1, -2, -3, -4)
_RARER = (-5, -6)
# Fewer true rows than this and the least mistake is a factor: a decade of these says nothing of a method.
_FEWEST_ANSWERS = 5


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
    rows = []
    here = [one for one in answered if one.corpus in reported]
    sound = chosen(here, estimator=ANCHORED, decades=_COMMON, grade=SOUND)
    found = score(sound)
    rows.append(
        [
            "no labels, captions, ≥ 1e-4, graded sound",
            ".10 (p90 .25)",
            ".07",
            f"{number(found.median)} (p90 {number(found.percentile_90)}), {found.answers:,} concepts",
            _each(sound, reported, lambda one: f"{number(one.median)} ({number(one.percentile_90)})"),
        ]
    )
    for labels, least, aim in zip(AUDITS, (".06", ".05", ".04"), (".04", ".03", ".02"), strict=True):
        audited = chosen(here, estimator=AUDIT, labels=labels, decades=_COMMON)
        rows.append(
            [
                f"{labels} two-way labels, ≥ 1e-4",
                least,
                aim,
                number(score(audited).median, 3),
                _each(audited, reported, lambda one: number(one.median, 3)),
            ]
        )
    ratio = _times(chosen(here, corpora=both, decades=_COMMON), IN_HINDSIGHT)
    other = _times(chosen(here, corpora=both, decades=_COMMON), IN_HINDSIGHT_BY_DECADE)
    rows.append(
        [
            "best threshold in hindsight, its error over the default's, ≥ 1e-4",
            "≥ 2.5×",
            "≥ 4×",
            f"{ratio:.1f}×; {other:.1f}× with another threshold for each decade",
            "; ".join(
                f"{corpus} {_times(chosen(here, corpora=[corpus], decades=_COMMON), IN_HINDSIGHT):.1f}×"
                for corpus in both
            ),
        ]
    )
    graded = [one for one in here if one.grade == SOUND]
    for title, group in (
        ("graded sound, no labels", chosen(graded, estimator=ANCHORED)),
        *((f"{labels} two-way labels, any grade", chosen(here, estimator=AUDIT, labels=labels)) for labels in AUDITS),
    ):
        rows.append(
            [
                f"coverage of 95 % intervals, {title}",
                "90–98 %",
                "93–97 %",
                f"{100 * score(group).coverage:.0f} %",
                _each(group, reported, lambda one: f"{100 * one.coverage:.0f} %"),
            ]
        )
    blind = chosen(here, estimator=ANCHORED)
    blind = [one for one in blind if one.truth < UNSEEABLE]
    rows.append(
        [
            f"where no estimator can see (fewer than {UNSEEABLE} true rows), graded unsupported",
            "95 %",
            "99 %",
            f"{100 * score(blind).unsupported:.1f} %, {len(blind):,} concepts",
            _each(blind, reported, lambda one: f"{100 * one.unsupported:.0f} %"),
        ]
    )
    return Table(["what", "at least", "aim", "reached", "by corpus"], rows)


# So few that not even the usual .65 of captions make the ten mentions below which the study saw nothing.
UNSEEABLE = 8


def _times(answered: Sequence[Answered], oracle: str) -> float:
    default = score(chosen(answered, estimator=ANCHORED)).median
    return score(chosen(answered, estimator=oracle)).median / default if default else float("nan")


def _each(answered: Sequence[Answered], corpora: Sequence[str], write) -> str:  # noqa: ANN001
    parts = [(corpus, chosen(answered, corpora=[corpus])) for corpus in corpora]
    return "; ".join(f"{corpus} {write(score(own))}" for corpus, own in parts if own)


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
