"""Write the tables of docs/comparing.md from the released counts, whose folder is the argument; then run `make docs`.

And the picture: docs/images/rank-frequency.svg.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from tailwag.analysis.comparisons.figures import rank_frequency_figure
from tailwag.analysis.comparisons.long_tail import long_tail
from tailwag.analysis.comparisons.study import Study, run_study
from tailwag.analysis.inputs import Frequencies, KnownNames, Release
from tailwag.analysis.report.drawing import paper_style

RESULTS = Path(__file__).parent.parent / "perf" / "results"
IMAGES = Path(__file__).parent / "images"
SETS = ("cc3m", "cc12m", "yfcc15m", "laion400m")
SIDES = ("caption", "image", "joint")
REPLICATES = 100


def studied(release: Release, side: str, **settings: Any) -> Study:
    """Compare the four sets on one side."""
    found = [release.frequencies(name, side) for name in SETS]
    together = Frequencies(pd.concat([each.table for each in found], ignore_index=True))
    return run_study(together, side, **settings)


def pair_table(release: Release) -> dict[str, Any]:
    """How the sets correlate: joined by spelling, as published, and by name."""
    spelt = {side: studied(release, side, as_spelt=True).compared for side in SIDES}
    named = {side: studied(release, side).compared for side in SIDES}
    rows = []
    for position, pair in enumerate(named["joint"].pairs):
        cells = [f"{pair.first} – {pair.second}"]
        for side in ("caption", "joint"):
            cells.append(f"{spelt[side].pairs[position].spearman.value:.3f}")
            cells.append(str(named[side].pairs[position].spearman))
        cells += [f"{pair.pearson.value:.3f}", str(pair.pearson_log)]
        overlap = named["image"].pairs[position].overlap
        cells.append(f"{overlap.jaccard:.2f} ({overlap.expected:.2f})")
        rows.append(cells)
    headings = ["", "ρ captions, by spelling", "ρ captions, by name", "ρ joint, by spelling", "ρ joint, by name"]
    return {"headings": [*headings, "r joint", "r joint, logs", "rarest by image in common (by chance)"], "rows": rows}


def tail_table(release: Release) -> dict[str, Any]:
    """The tail of each set and side, with a power law's p."""
    rows = []
    for side in SIDES:
        for tail in studied(release, side, replicates=REPLICATES).tails:
            shape, law = tail.shape, tail.law
            cells = [tail.pretraining, side, f"{shape.zeros:,}", f"{100 * shape.rare_share:.1f} %"]
            cells += [f"{100 * rare_classes(release, tail.pretraining, side):.1f} %"]
            cells += [f"{100 * shape.top_share:.1f} %", f"{shape.gini:.3f}"]
            if law is not None:
                cells += [f"{law.exponent:.2f} ± {law.standard_error:.2f}", f"{law.tail:,}", f"{law.p:.2f}"]
                cells += [f"{law.likelihood_ratio:+.2f} ({law.likelihood_p:.2f})"]
            rows.append(cells)
    headings = ["set", "side", "at zero", "under 1e-4", "of classes", "held by the top 5 %", "Gini", "exponent"]
    return {"headings": [*headings, "in the tail", "p", "against a log-normal (p)"], "rows": rows}


def rare_classes(release: Release, pretraining: str, side: str) -> float:
    """Which share of the classes of the 17 classification sets is rare, each as often as it stands in one?"""
    names = KnownNames.load()
    every = release.test_sets("classification")
    sets = [name for name in every if name not in names.repeated(every)]
    table = release.frequencies(pretraining, side, sets=sets).table
    return long_tail(table["count"].to_numpy(), table["rows"].iloc[0]).rare_share


def main() -> None:
    """Write both tables and the picture."""
    release = Release(sys.argv[1])
    for name, table in (("released_pairs", pair_table(release)), ("released_tails", tail_table(release))):
        text = json.dumps({"table": table}, indent=1, ensure_ascii=False)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    with paper_style():
        figure = rank_frequency_figure(studied(release, "joint"))
        figure.savefig(IMAGES / "rank-frequency.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
