"""The demo's page: one self-contained HTML file with the plot, the table and the pictures.

Not here: the demo itself (`demo.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tailwag.version import __version__

from ..analysis.figures import counted_against_true, to_svg
from .demo import ConceptCount, Demo


def write_report(demo: Demo, path: Path) -> None:
    """Write the page, and beside it the plot as a picture where there is a truth to plot against.

    Captions and names are escaped; pictures are decoded and encoded anew, since image bytes are from anyone.
    """
    known = [each for each in demo.counts if each.truth is not None]
    figure = _figure(demo, known) if known else None
    if figure is not None:
        figure.savefig(path.with_name("counted-against-true.png"), dpi=160)
    environment = Environment(loader=PackageLoader("tailwag.benchmarks", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("demo_report.html").render(
        demo=demo,
        version=__version__,
        rows=f"{demo.embedding_rows:,}",
        agreements=_facts(demo),
        figure=to_svg(figure) if figure is not None else "",
        figure_text=_figure_text(demo, known),
        estimates=all(each.estimate is not None for each in demo.counts),
        families=any(each.family for each in demo.counts),
        ordered=sorted(demo.counts, key=lambda each: (-(each.truth or 0), -each.count, each.concept)),
        query=demo.found.queries[0] if demo.found else None,
        cards=cards(demo.corpus, demo.found.queries[0].hits) if demo.found else [],
        database=demo.corpus.database.uri,
    )
    path.write_text(page, encoding="utf-8")
