"""The files of a comparison: frequencies, pairs, tails, ratios and exclusions as CSV, the figures as PNG and SVG.

Each is written under another name and renamed when whole. Not here: what stands in them (`study.py`, `figures.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from tailwag.errors import BadInput

from ...retrieval.result_tables import replaced_when_done
from ..report.drawing import paper_style, save_for_print
from .figures import figures_of
from .study import Study


def check_folder(path: str | Path) -> None:
    """Refuse a place where no folder can stand, before anything is computed.

    Raises
    ------
    BadInput
        When a file stands there, or there is no folder to make it in.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is a file: pass a folder")
    if not path.absolute().parent.is_dir():
        raise BadInput(f"{path} cannot be made: there is no folder {path.absolute().parent}")


def write_files(study: Study, folder: str | Path) -> list[Path]:
    """Write everything into a folder, which is made where it is not there; files of the same names are replaced.

    Returns
    -------
    list[Path]
        What was written.

    Raises
    ------
    BadInput
        When a file cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(exist_ok=True)
    tables = {
        "frequencies.csv": _frequencies(study),
        "pairs.csv": pair_rows(study),
        "tails.csv": tail_rows(study),
        "ratios.csv": _ratios(study),
        "exclusions.csv": [asdict(exclusion) for exclusion in study.exclusions],
    }
    written = [write_table(folder / name, rows, _HEADINGS[name]) for name, rows in tables.items()]
    with paper_style():
        for name, draw in figures_of(study):
            written += save_for_print(draw(), folder, name)
    return written


def write_table(path: Path, rows: Iterable[dict[str, Any]], headings: Sequence[str]) -> Path:
    """Write rows as CSV; a number that is not defined is an empty cell.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    with replaced_when_done(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        write_rows(file, rows, headings)
    return path


def write_rows(file: TextIO, rows: Iterable[dict[str, Any]], headings: Sequence[str]) -> None:
    """Write rows as CSV to what is open."""
    writer = csv.DictWriter(file, headings, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value != value else value for name, value in row.items()} for row in rows)


def pair_rows(study: Study) -> list[dict[str, Any]]:
    """Give a row a pair of sets."""
    rows = []
    for pair in study.compared.pairs:
        row: dict[str, Any] = {"side": study.compared.side, "first": pair.first, "second": pair.second}
        row["concepts"] = pair.concepts
        for name in ("spearman", "pearson", "pearson_log"):
            correlation = getattr(pair, name)
            row |= {name: correlation.value, f"{name}_lower": correlation.lower, f"{name}_upper": correlation.upper}
        row["concepts_of_both"] = pair.pearson_log.concepts
        overlap = pair.overlap
        row |= {"tail_of_first": overlap.first, "tail_of_second": overlap.second, "tail_common": overlap.common}
        row |= {"tail_jaccard": overlap.jaccard, "tail_jaccard_expected": overlap.expected}
        rows.append(row)
    return rows


def tail_rows(study: Study) -> list[dict[str, Any]]:
    """Give a row a pretraining set."""
    rows = []
    for tail in study.tails:
        law = {f"power_law_{name}": value for name, value in (asdict(tail.law) if tail.law else {}).items()}
        shape = {**asdict(tail.shape), "rare_share": tail.shape.rare_share}
        rows.append({"side": study.compared.side, "pretraining": tail.pretraining, **shape, **law})
    return rows


def _frequencies(study: Study) -> list[dict[str, Any]]:
    compared = study.compared
    return [
        {
            "concept": concept,
            "pretraining": name,
            "side": compared.side,
            "frequency": float(compared.frequencies[position, column]),
            "rows": float(compared.rows[position]),
            "lower": float(compared.lower[position, column]),
            "upper": float(compared.upper[position, column]),
        }
        for position, name in enumerate(compared.pretrainings)
        for column, concept in enumerate(compared.concepts)
    ]


def _ratios(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "concept": concept,
            "first": ratios.first,
            "second": ratios.second,
            "ratio": float(ratios.ratio[column]),
            "lower": float(ratios.lower[column]),
            "upper": float(ratios.upper[column]),
            "level": ratios.level,
            "method": ratios.methods[column],
        }
        for ratios in study.ratios
        for column, concept in enumerate(ratios.concepts)
    ]


_SHAPE = ("concepts", "rows", "zeros", "median", "largest", "rare", "rare_limit", "top", "top_share", "gini")
_LAW = ("exponent", "standard_error", "beginning", "tail", "concepts", "distance", "p", "replicates")
_CORRELATIONS = tuple(
    f"{name}{end}" for name in ("spearman", "pearson", "pearson_log") for end in ("", "_lower", "_upper")
)
_OVERLAP = ("tail_of_first", "tail_of_second", "tail_common", "tail_jaccard", "tail_jaccard_expected")
_HEADINGS = {
    "frequencies.csv": ("concept", "pretraining", "side", "frequency", "rows", "lower", "upper"),
    "pairs.csv": ("side", "first", "second", "concepts", *_CORRELATIONS, "concepts_of_both", *_OVERLAP),
    "tails.csv": (
        *("side", "pretraining", *_SHAPE, "rare_share"),
        *(f"power_law_{name}" for name in (*_LAW, "likelihood_ratio", "likelihood_p")),
    ),
    "ratios.csv": ("concept", "first", "second", "ratio", "lower", "upper", "level", "method"),
    "exclusions.csv": ("source", "name", "reason", "detail"),
}
PAIR_HEADINGS = _HEADINGS["pairs.csv"]
