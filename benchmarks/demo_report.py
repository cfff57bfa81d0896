"""The demo's page: one self-contained HTML file with the plot, the table and the pictures.

Not here: the demo itself (`demo.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tailwag.version import __version__

from ..analysis.figures import counted_against_true, to_svg
from ..retrieval.search_page import picture_cards
from .demo import ConceptCount, Demo

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(demo: Demo, path: Path) -> None:
    """Write the page, and beside it the plot as a picture where there is a truth to plot against.

    Captions and names are escaped; pictures are decoded and encoded anew, since image bytes are from anyone.
    """
    known = [each for each in demo.counts if each.truth is not None]
    figure = _figure(demo, known) if known else None
    if figure is not None:
        figure.savefig(path.with_name("counted-against-true.png"), dpi=160)
    environment = Environment(
        loader=PackageLoader("tailwag.benchmarks", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("demo_report.html").render(
        demo=demo,
        version=__version__,
        rows=f"{len(demo.corpus):,}",
        agreements=_facts(demo),
        figure=to_svg(figure) if figure is not None else "",
        sides=_sides(known) if demo.frequency_agreement else [],
        figure_text=_figure_text(demo, known),
        estimates=all(each.estimate is not None for each in demo.counts),
        families=any(each.family for each in demo.counts),
        ordered=sorted(demo.counts, key=lambda each: (-(each.truth or 0), -each.count, each.concept)),
        query=demo.found.queries[0] if demo.found else None,
        cards=picture_cards(demo.corpus, demo.found.queries[0].hits) if demo.found else [],
        database=demo.corpus.database.uri,
    )
    path.write_text(page, encoding="utf-8")


def _figure_text(demo: Demo, known: list[ConceptCount]) -> str:
    agreement = demo.estimate_agreement or demo.count_agreement
    if agreement is None:
        return ""
    farthest = max(known, key=lambda each: abs(np.log((_shown(each) + 0.5) / ((each.truth or 0) + 0.5))))
    what = "Counts over the thresholds' recall" if demo.estimate_agreement else "Counts"
    return (
        f"{what} against the true number of images, {agreement}. The farthest off is “{farthest.concept}”: "
        f"{_shown(farthest):,.0f} for {farthest.truth:,}. A zero is drawn at one half."
    )


def _figure(demo: Demo, known: list[ConceptCount]) -> Figure:
    return counted_against_true(
        np.array([_shown(each) for each in known]),
        np.array([each.truth for each in known]),
        [each.concept for each in known],
        [each.family for each in known],
        counted_label="count over the threshold's recall" if demo.estimate_agreement else "count",
    )


def _sides(known: list[ConceptCount]) -> list[dict[str, str]]:
    """Draw raw counts and corrected frequencies against the truth, to stand side by side."""
    drawn = []
    for title, values in (
        ("raw count", [each.count for each in known]),
        ("corrected frequency", [each.frequency or 0.0 for each in known]),
    ):
        figure = counted_against_true(
            np.array(values),
            np.array([each.truth for each in known]),
            [each.concept for each in known],
            [each.family for each in known],
            counted_label=title,
        )
        drawn.append({"title": title, "svg": to_svg(figure)})
    return drawn


def _shown(each: ConceptCount) -> float:
    return each.count if each.estimate is None else each.estimate


def _facts(demo: Demo) -> list[dict[str, str]]:
    facts = []
    for name, agreement in (
        ("raw counts", demo.count_agreement),
        ("estimates", demo.estimate_agreement),
        ("corrected frequencies", demo.frequency_agreement),
    ):
        if agreement is not None:
            facts += [
                {"value": f"{agreement.spearman:.3f}", "what": f"Spearman's ρ of {name} with the truth"},
                {"value": f"×{10**agreement.median_error:.2f}", "what": f"median factor that {name} are off"},
            ]
    return facts
