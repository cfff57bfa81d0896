"""The folder that `tailwag fit --out` leaves: the page, the figures, every number as CSV, the configuration.

It is written beside its place and renamed when whole. Not here: what stands in it.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailwag.errors import BadInput

from .all_cells import AllCells
from .drawing import paper_style, save_for_print
from .page import render_page
from .parts import report_of, report_of_all
from .request import CONFIGURATION, FitRequest
from .study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, FIGURES = "report.html", "figures"
_EXCLUSION_HEADINGS = ["reason", "source", "name", "detail"]
_OWN = {PAGE, FIGURES, CONFIGURATION, "numbers.csv", "points.csv", "bins.csv", "exclusions.csv", "cells.csv"}


def check_place(path: str | Path) -> None:
    """Refuse a place where something else stands, before anything is computed.

    Raises
    ------
    BadInput
        Naming what stands there.
    """
    path = Path(path)
    if path.is_dir():
        other = sorted(each.name for each in path.iterdir() if each.name not in _OWN)
        if other:
            raise BadInput(f"{path} holds other things ({', '.join(other[:3])}): pass a folder that is not there yet")
    elif path.exists():
        raise BadInput(f"{path} is a file: pass a folder that is not there yet")
    elif not path.absolute().parent.is_dir():
        raise BadInput(f"{path} cannot be made: there is no folder {path.absolute().parent}")


def write_study(study: Study, path: str | Path, figures: Iterable[tuple[str, Callable[[], Figure]]]) -> None:
    """Write the report of a study.

    Parameters
    ----------
    study
        What was run.
    path
        The folder; an earlier report in it is replaced.
    figures
        Names and what draws each, for print.

    Raises
    ------
    BadInput
        When the place holds something else, or cannot be written.
    """
    with replaced_folder(path) as unfinished:
        (unfinished / PAGE).write_text(render_page(report_of(study)), encoding="utf-8")
        write_figures(unfinished / FIGURES, figures)
        _write_table(unfinished / "numbers.csv", *_numbers(study))
        table = study.points.table
        _write_table(unfinished / "points.csv", list(table.columns), table.itertuples(index=False, name=None))
        _write_table(unfinished / "bins.csv", *_bins(study))
        _write_table(unfinished / "exclusions.csv", _EXCLUSION_HEADINGS, _exclusions(study))
        _write_configuration(unfinished, study.request)


def write_all_cells(found: AllCells, path: str | Path, figures: Iterable[tuple[str, Callable[[], Figure]]]) -> None:
    """Write the report of all cells of a release; raises as `write_study`."""
    with replaced_folder(path) as unfinished:
        (unfinished / PAGE).write_text(render_page(report_of_all(found)), encoding="utf-8")
        write_figures(unfinished / FIGURES, figures)
        records = found.records()
        _write_table(unfinished / "cells.csv", list(records[0]), [list(record.values()) for record in records])
        numbers = [_numbers(study) for study in found.studies]
        _write_table(unfinished / "numbers.csv", numbers[0][0], [row for _, rows in numbers for row in rows])
        bins = [_bins(study) for study in found.studies]
        _write_table(unfinished / "bins.csv", bins[0][0], [row for _, rows in bins for row in rows])
        exclusions = [row for study in found.studies for row in _exclusions(study)]
        _write_table(unfinished / "exclusions.csv", _EXCLUSION_HEADINGS, exclusions)
        _write_configuration(unfinished, found.request)


def write_figures(folder: Path, figures: Iterable[tuple[str, Callable[[], Figure]]]) -> None:
    """Write each figure as PNG for print and as SVG; drawn once, laid out once."""
    folder.mkdir()
    with paper_style():
        for name, make in figures:
            save_for_print(make(), folder, name)


@contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Give a folder to write into that takes the place of `path` when the block ends well.

    Raises
    ------
    BadInput
        When the place holds something else, or cannot be written.
    """
    path = Path(path).absolute()
    check_place(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    former = path.with_name(f".{path.name}.{os.getpid()}.former")
    try:
        unfinished.mkdir()
        yield unfinished
        if path.exists():
            path.rename(former)
        unfinished.rename(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror or error}): pass another folder") from error
    finally:
        if former.exists() and not path.exists():
            former.rename(path)
        for each in (unfinished, former):
            shutil.rmtree(each, ignore_errors=True)


def _numbers(study: Study) -> tuple[list[str], list[list[Any]]]:
    from ..fits.numbers import Number

    names = [field.name for field in fields(Number)]
    return names, [[getattr(number, name) for name in names] for number in study.fits.numbers]


def _bins(study: Study) -> tuple[list[str], list[list[Any]]]:
    headings = ["model", "pretraining", "side", "bin", "upper_edge", "concepts", "mean", "drawn"]
    return headings, [
        [cell.model, cell.pretraining, cell.side, index, float(edge), int(size), float(mean), bool(drawn)]
        for cell in study.cells
        for index, (edge, size, mean, drawn) in enumerate(
            zip(cell.published.edges, cell.published.sizes, cell.published.means, cell.published.drawn, strict=True)
        )
    ]


def _exclusions(study: Study) -> list[list[str]]:
    return [[each.reason, each.source, each.name, each.detail] for each in study.points.exclusions]


def _write_configuration(folder: Path, request: FitRequest) -> None:
    written = json.dumps(request.configuration(), indent=2, ensure_ascii=False)
    (folder / CONFIGURATION).write_text(written + "\n", encoding="utf-8")


def _write_table(path: Path, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(headings)
        # An empty cell, where a number is not defined: what reads CSV takes it for missing.
        writer.writerows(["" if value != value else value for value in row] for row in rows)
