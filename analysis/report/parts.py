"""What the report of a study says: title, comparison, drawings, every number, what was left out.

Not here: the HTML (`page.py`), the figures' own data (one module a question).
"""

from __future__ import annotations

import json

from . import drawing as draw
from .all_cells import HEADINGS, AllCells, text_alternative
from .cell import Cell
from .comparison import ladder, sentences
from .contents import Drawing, ModelPart, Report, Table
from .models import by_model
from .relation import relation
from .sets import between_and_within, slopes_by_set
from .shape import ranks, sensitivity, shape
from .study import Study
from .zeros import zeros

SHOWN_EXCLUSIONS = 200  # of each reason, on the page; all of them stand in the file
_NUMBER_HEADINGS = ("quantity", "value", "interval", "p", "unit", "concepts", "test sets", "method", "note")


def report_of(study: Study) -> Report:
    """Say what a study found, as the contents of a page."""
    fits = study.fits
    cells = study.cells
    names = ", ".join(cell.model for cell in cells)
    return Report(
        title=f"{names} on {fits.pretraining}" if len(cells) < 4 else f"{len(cells)} models on {fits.pretraining}",
        subtitle=(
            f"{fits.metric} of {len(set(zip(fits.points['task'], fits.points['concept'], strict=True))):,} concepts in "
            f"{fits.points['task'].nunique()} test sets against {fits.side} counts"
        ),
        models=[_part(cell, number) for number, cell in enumerate(cells)],
        drawings=[by_model(cells)] if len(cells) > 1 else [],
        numbers=_numbers(study),
        numbers_note=(
            "Slopes are in points of accuracy (0 to 100) for ten times the frequency. How each is made, and what it "
            "takes for granted, stands beside it; p values are of the hypothesis that the value is nothing."
        ),
        exclusions=_exclusions(study),
        exclusions_note=_exclusions_note(study),
        command=study.request.command(),
        configuration=json.dumps(study.request.configuration(), indent=2, ensure_ascii=False),
    )


def report_of_all(found: AllCells) -> Report:
    """Say what all cells of a release show, as the contents of a page."""
    studies = found.studies
    exclusions = [(study, each) for study in studies for each in study.points.exclusions]
    cells = Table("All cells", HEADINGS, found.rows())
    flags = [[study.fits.pretraining, flag.severity, flag.text] for study in studies for flag in study.fits.flags]
    left_out = [[name, reason] for name, reason in found.left_out]
    return Report(
        title=f"{len(found.cells)} models and pretraining sets",
        subtitle=text_alternative(found),
        models=[],
        drawings=[by_model(found.cells)],
        numbers=[
            cells,
            Table("Flags", ("pretraining set", "severity", "what to know"), flags, (0, 1, 2)),
            Table("Pretraining sets that could not be fitted", ("pretraining set", "why"), left_out, (0, 1)),
        ],
        numbers_note=(
            "Slopes are in points of accuracy (0 to 100) for ten times the frequency. p is that of the slope inside "
            f"test sets, corrected for the {len(found.cells)} tests of this table by Holm and by Benjamini and "
            "Hochberg. All numbers of every cell are in numbers.csv."
        ),
        exclusions=Table(
            "What was left out",
            ("pretraining set", "reason", "name", "where", "detail"),
            [
                [study.fits.pretraining, each.reason, each.name, each.source, each.detail]
                for study, each in exclusions[: 5 * SHOWN_EXCLUSIONS]
            ],
            (0, 1, 2, 3, 4),
        ),
        exclusions_note=f"{len(exclusions):,} names; all are in exclusions.csv.",
        command=found.request.command(),
        configuration=json.dumps(found.request.configuration(), indent=2, ensure_ascii=False),
    )


def _part(cell: Cell, number: int) -> ModelPart:
    flags = sorted(cell.flags, key=lambda flag: flag.severity != "warning")
    return ModelPart(number, cell.model, ladder(cell), sentences(cell), flags, drawings(cell, number))


def drawings(cell: Cell, number: int) -> list[Drawing]:
    """Give every figure of one model for the page."""
    found = (relation, slopes_by_set, between_and_within, zeros, shape, sensitivity, ranks)
    return [drawing for draw_it in found if (drawing := draw_it(cell, number)) is not None]


def _numbers(study: Study) -> list[Table]:
    several = len(study.cells) > 1
    sections: dict[str, list[list[str]]] = {}
    for number in study.fits.numbers:
        row = [
            number.quantity,
            draw.number_text(number.value, 3),
            draw.interval_text(number.lower, number.upper, 3),
            draw.p_text(number.p),
            number.unit,
            f"{number.points:,}" if number.points else "–",
            f"{number.clusters}" if number.clusters else "–",
            number.method,
            number.note,
        ]
        sections.setdefault(number.section, []).append([number.model or "all", *row] if several else row)
    headings = ("model", *_NUMBER_HEADINGS) if several else _NUMBER_HEADINGS
    words = [headings.index(name) for name in ("model", "quantity", "unit", "method", "note") if name in headings]
    return [Table(f"{section} ({len(rows)})", headings, rows, words) for section, rows in sections.items()]


def _exclusions(study: Study) -> Table:
    shown: dict[str, int] = {}
    rows = []
    for each in study.points.exclusions:
        shown[each.reason] = shown.get(each.reason, 0) + 1
        if shown[each.reason] <= SHOWN_EXCLUSIONS:
            rows.append([each.reason, each.name, each.source, each.detail])
    return Table("What was left out", ("reason", "name", "where", "detail"), rows, (0, 1, 2, 3))


def _exclusions_note(study: Study) -> str:
    told = "; ".join(f"{reason}: {number:,}" for reason, number in study.reasons)
    cut = any(number > SHOWN_EXCLUSIONS for _, number in study.reasons)
    return told + (f". The first {SHOWN_EXCLUSIONS} of each reason; all are in exclusions.csv." if cut else ".")
