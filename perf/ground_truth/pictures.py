"""The pictures of docs/calibration.md: error and coverage by decade of prevalence, raw counts beside corrected ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailwag.analysis.figures import to_svg

from .estimators import ANCHORED, AUDIT, ELSEWHERE, IN_HINDSIGHT, PLAIN_CAPTIONS
from .scoring import Answered, Score, chosen, score

# Okabe and Ito's colours, as in the other figures.
_LINES = (
    (ELSEWHERE, 0, "threshold from elsewhere", "#e69f00", ":"),
    (IN_HINDSIGHT, 0, "best threshold in hindsight", "#d55e00", "-."),
    (PLAIN_CAPTIONS, 0, "mentions beyond chance / .65", "#cc79a7", "--"),
    (ANCHORED, 0, "anchored by captions, no labels", "#0072b2", "-"),
    (AUDIT, 30, "30 two-way labels", "#56b4e9", "-"),
    (AUDIT, 200, "200 two-way labels", "#009e73", "-"),
)
_FEWEST = 5


def draw_errors(answered: Sequence[Answered], corpora: Sequence[str]) -> Figure:
    """Draw the median error of each estimator by decade, a panel a corpus."""
    figure = Figure(figsize=(4.6 * len(corpora), 4.2), layout="constrained")
    for axes, corpus in zip(np.atleast_1d(figure.subplots(1, len(corpora), sharey=True)), corpora, strict=True):
        for name, labels, title, colour, line in _LINES:
            decades, scores = _by_decade(chosen(answered, corpora=[corpus], estimator=name, labels=labels))
            axes.plot(
                decades, [max(one.median, 0.005) for one in scores], line, color=colour, marker="o", ms=4, label=title
            )
        axes.set(yscale="log", title=corpus)
        _prevalence_axis(axes)
    first = figure.axes[0]
    first.set_ylabel("median |log10 error|")
    first.set_yticks([0.01, 0.03, 0.1, 0.3, 1], [".01", ".03", ".1 (×1.26)", ".3 (×2)", "1 (×10)"])
    first.minorticks_off()
    figure.legend(*first.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    return figure


def draw_coverage(answered: Sequence[Answered], corpora: Sequence[str]) -> Figure:
    """Draw how often 95 % intervals hold the truth by decade, a panel a corpus."""
    figure = Figure(figsize=(4.6 * len(corpora), 3.6), layout="constrained")
    for axes, corpus in zip(np.atleast_1d(figure.subplots(1, len(corpora), sharey=True)), corpora, strict=True):
        axes.axhspan(90, 98, color="#8883", linewidth=0)
        axes.axhline(95, color="#666", linewidth=1)
        for name, labels, grade, title, colour, line in (
            (ANCHORED, 0, "sound", "no labels, graded sound", "#0072b2", "-"),
            (ANCHORED, 0, None, "no labels, any grade", "#0072b2", ":"),
            (AUDIT, 30, None, "30 labels", "#56b4e9", "-"),
            (AUDIT, 60, None, "60 labels", "#e69f00", "-"),
            (AUDIT, 200, None, "200 labels", "#009e73", "-"),
        ):
            own = chosen(answered, corpora=[corpus], estimator=name, labels=labels, grade=grade)
            decades, scores = _by_decade(own)
            axes.plot(
                decades, [100 * one.coverage for one in scores], line, color=colour, marker="o", ms=4, label=title
            )
        axes.set(ylim=(50, 101), title=corpus)
        _prevalence_axis(axes)
    figure.axes[0].set_ylabel("intervals that hold the truth, %")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=8, loc="outside lower center", ncols=5)
    return figure


def draw_raw_and_corrected(answered: Sequence[Answered], corpus: str, kind: str) -> Figure:
    """Draw one corpus's raw counts at the best threshold in hindsight, and its corrected frequencies, against truth."""
    own = chosen(answered, corpora=[corpus], kinds=[kind])
    figure = Figure(figsize=(9.2, 4.6), layout="constrained")
    for axes, (name, labels, title) in zip(
        figure.subplots(1, 2, sharey=True),
        (
            (IN_HINDSIGHT, 0, "raw counts, at the best threshold in hindsight"),
            (ANCHORED, 0, "frequencies anchored by captions, no labels"),
        ),
        strict=True,
    ):
        points = chosen(own, estimator=name, labels=labels)
        low, high = 0.4, 2.0 * max(max(one.truth, one.estimate) for one in points)
        axes.fill_between([low, high], [low / 2, high / 2], [low * 2, high * 2], color="#8883", linewidth=0)
        axes.plot([low, high], [low, high], color="#666", linewidth=1)
        for grade, colour in (("", "#d55e00"), ("sound", "#0072b2"), ("fragile", "#e69f00"), ("unsupported", "#999")):
            of_it = [one for one in points if one.grade == grade]
            if not of_it:
                continue
            true = np.maximum([one.truth for one in of_it], 0.5)
            said = np.maximum([one.estimate for one in of_it], 0.5)
            if grade:
                ends = np.maximum([[one.lower for one in of_it], [one.upper for one in of_it]], 0.45)
                axes.vlines(true, *ends, color=colour, linewidth=0.8, alpha=0.5)
            axes.scatter(true, said, s=14, color=colour, linewidth=0, label=grade or None)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=title)
        axes.set_xlabel("images that show the concept")
        axes.title.set_fontsize(10)
        axes.grid(color="#8883", linewidth=0.6)
    figure.axes[0].set_ylabel("counted, estimated")
    figure.axes[1].legend(frameon=False, fontsize=8, loc="upper left", title="graded", title_fontsize=8)
    return figure


def write_pictures(answered: Sequence[Answered], folder: Path) -> None:
    """Write what there are answers for."""
    corpora = [one for one in ("simulation", "world") if any(each.corpus == one for each in answered)]
    if corpora:
        _write(draw_errors(answered, corpora), folder / "calibration-errors.svg")
        _write(draw_coverage(answered, corpora), folder / "calibration-coverage.svg")
    for kind in ("steepest, prominence",):
        if any(one.corpus == "world" and one.kind == kind for one in answered):
            _write(draw_raw_and_corrected(answered, "world", kind), folder / "raw-and-corrected.svg")


def _by_decade(answered: Sequence[Answered]) -> tuple[list[int], list[Score]]:
    decades = sorted({one.decade for one in answered})
    groups = [(decade, chosen(answered, decades=[decade])) for decade in decades]
    groups = [(decade, group) for decade, group in groups if len(group) >= _FEWEST]
    return [decade for decade, _ in groups], [score(group) for _, group in groups]


def _prevalence_axis(axes: Axes) -> None:
    axes.set_xlabel("share of images that show it")
    low = min((min(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) > 2), default=-6)
    axes.set_xticks(range(int(low), 1), [f"1e{decade}" if decade else "1" for decade in range(int(low), 1)])
    axes.grid(color="#8883", linewidth=0.6)


def _write(figure: Figure, path: Path) -> None:
    path.with_suffix(".tmp").write_text(to_svg(figure) + "\n", encoding="utf-8")
    path.with_suffix(".tmp").replace(path)
