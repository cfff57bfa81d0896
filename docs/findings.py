"""What the paper's released data show under both procedures: docs/findings.json, the pictures, then docs/findings.md.

python docs/findings.py PAPER      PAPER is the folder of the release; `make docs` alone renders the page anew
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

DOCS = Path(__file__).parent
NUMBERS = DOCS / "findings.json"
IMAGES = DOCS / "images"
DOTS_PER_INCH = 130  # on a screen; `tailwag fit --out` writes the same figures at 300


def gather(paper: str) -> dict[str, Any]:
    """Run every part of the release through both procedures."""
    from tailwag.analysis.report.all_cells import run_all
    from tailwag.analysis.report.request import FitRequest

    request = FitRequest(paper=paper, every=True)
    joint = run_all(request, print)
    image = run_all(replace(request, side="image"), print)
    retrieval = run_all(replace(request, task="retrieval"), print)
    draw_figures(joint)
    return {
        "joint": joint.records(),
        "image": image.records(),
        "retrieval": [
            {**record, "all_bins_r": all_bins_r(cell)}
            for record, cell in zip(retrieval.records(), retrieval.cells, strict=True)
        ],
        "usual": {side: usual_of_synthetic(found) for side, found in (("joint", joint), ("image", image))},
        "sets": sets_of(joint, "laion400m", "ViT-L-14"),
    }


def all_bins_r(cell: Any) -> float:
    """Give r over all bins, where the figure draws four of seven."""
    from tailwag.analysis.fits.published import published_fit

    edges = len(cell.published.edges)
    return published_fit(cell.published_counts, cell.published_values / 100, edges=edges, drawn=slice(0, edges)).r


def usual_of_synthetic(found: Any) -> dict[str, float]:
    """Give r and slope of the synthetic set's figure with the bins that every other figure draws."""
    (cell,) = (cell for cell in found.cells if cell.pretraining == "synthci30m")
    usual = cell.fit.published_usual
    return {"r": usual.r, "slope": usual.slope}


def sets_of(found: Any, pretraining: str, model: str) -> list[dict[str, Any]]:
    """Give each test set of one cell."""
    (cell,) = (cell for cell in found.cells if (cell.pretraining, cell.model) == (pretraining, model))
    return [
        {"task": each.task, "mean_x": each.line.mean_x, "mean_y": each.line.mean_y, "slope": each.line.slope}
        for each in cell.sets
    ]


def draw_figures(found: Any) -> None:
    """Draw the pictures of the page and of the README."""
    from tailwag.analysis.report.drawing import paper_style
    from tailwag.analysis.report.models import by_model_figure
    from tailwag.analysis.report.relation import relation_figure
    from tailwag.analysis.report.sets import between_figure, by_set_figure
    from tailwag.analysis.report.zeros import zeros_figure

    cells = {(cell.pretraining, cell.model): cell for cell in found.cells}
    laion, conceptual = cells["laion400m", "ViT-B-32"], cells["cc3m", "RN50"]
    with paper_style():
        for name, figure in (
            ("published-and-within", relation_figure([laion])),
            ("published-and-within-cc3m", relation_figure([conceptual])),
            ("slopes-by-cell", by_model_figure(found.cells)),
            ("between-and-within", between_figure([conceptual, laion])),
            ("slopes-by-set", by_set_figure([conceptual, laion])),
            ("zeros", zeros_figure([conceptual])),
        ):
            figure.savefig(IMAGES / f"{name}.png", dpi=DOTS_PER_INCH)


def render(name: str) -> str:
    """Fill a template of docs/ with what was found last; NAME.jinja beside NUMBERS."""
    from tailwag.analysis.report.drawing import interval_text, number_text, r_text

    found = json.loads(NUMBERS.read_text("utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DOCS), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(r=_of_none(r_text), number=_of_none(number_text), interval=interval_text)
    cells = {f"{cell['pretraining']} {cell['model']}": cell for cell in found["joint"]}
    of_images = {f"{cell['pretraining']} {cell['model']}": cell for cell in found["image"]}
    real = [cell for cell in found["joint"] if cell["pretraining"] != "synthci30m"]
    others = [cell for cell in real if cell["pretraining"] != "laion400m"]
    return environment.get_template(f"{name}.jinja").render(
        **found, cells=cells, of_images=of_images, real=real, others=others
    )


def _of_none(written: Any) -> Any:
    return lambda value, *more: written(float("nan") if value is None else value, *more)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/findings.py PAPER")
    written = json.dumps(_rounded(gather(sys.argv[1])), indent=1, ensure_ascii=False)
    with tempfile.NamedTemporaryFile("w", dir=DOCS, delete=False, encoding="utf-8") as unfinished:
        unfinished.write(written + "\n")
    Path(unfinished.name).chmod(0o644)
    Path(unfinished.name).replace(NUMBERS)
    (DOCS / "findings.md").write_text(render("findings.md") + "\n", encoding="utf-8")
