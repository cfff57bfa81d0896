"""Draw docs/images/estimates.svg from perf/results/estimate_width.json, which perf/estimate_width.py writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tailwag.analysis.figures import to_svg

DOCS = Path(__file__).parent
# Okabe and Ito's colours, as in the other figures.
STYLES = {"one look": ("#d55e00", ":"), "planned looks": ("#0072b2", "-"), "looks at any time": ("#009e73", "--")}


def draw(found: dict) -> Figure:
    """One run's intervals as the sample grows, and how many of 2,000 runs have missed by then."""
    percent = 100 * np.array(found["looks"])
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    narrowing, missing = figure.subplots(1, 2)
    truth = round(1e-4 * found["rows"])
    for name, (colour, line) in STYLES.items():
        ends = found["one_run_at_1e-4"][name]
        for end in ("lower", "upper"):
            label = name if end == "lower" else None
            narrowing.plot(percent, np.array(ends[end]) / truth, line, color=colour, label=label, linewidth=1.6)
        missing.plot(percent, 100 * np.array(found["missed_by_each_look"]["0.01"][name]), line, color=colour)
    narrowing.axhline(1, color="#666", linewidth=1)
    narrowing.set(xscale="log", ylim=(0, 3), xlabel="rows sampled, %", ylabel="interval, as a multiple of the truth")
    narrowing.set_title("One run: a concept in 1 of 10,000 rows", fontsize=10)
    narrowing.legend(frameon=False, fontsize=8)
    missing.axhline(5, color="#666", linewidth=1)
    missing.annotate("what 95 % allows", (1, 5), xytext=(0, 3), textcoords="offset points", fontsize=8)
    missing.set(xscale="log", ylim=(0, 40), xlabel="rows sampled, %", ylabel="runs that have missed by then, %")
    missing.set_title("2,000 runs: a concept in 1 of 100 rows", fontsize=10)
    for axes in (narrowing, missing):
        axes.grid(color="#8883", linewidth=0.6)
    return figure


if __name__ == "__main__":
    figure = draw(json.loads((DOCS.parent / "perf" / "results" / "estimate_width.json").read_text()))
    (DOCS / "images" / "estimates.svg").write_text(to_svg(figure) + "\n", encoding="utf-8")
