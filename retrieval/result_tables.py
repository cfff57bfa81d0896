"""Counts as tables that people read and files that they take away: aligned text, JSON, CSV, parquet.

Not here: the counts themselves and their arrow form (`counting/result.py`).
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from tailwag.errors import BadInput

from .counting.result import CountResult, format_share, format_threshold

STANDARD_OUTPUT = "-"
_PARTS = {"mention_count": "named", "both_count": "both sides", "margin_count": "within margin"}


class Tabular(Protocol):
    """A result that becomes an arrow table."""

    def to_arrow(self) -> Any:
        """Give it as a `pyarrow.Table`."""
        ...


def headline(result: CountResult) -> str:
    """Say once what all the counts of a table hold for."""
    noun = {"image": "image", "text": "caption"}[result.side] + ("" if result.rows == 1 else "s")
    failed = f"; {result.failures:,} more samples could not be embedded" if result.failures else ""
    return (
        f"corpus '{result.corpus}' (version {result.corpus_version}, {result.space.title}): {result.rows:,} {noun}"
        f"{f' with {result.control}' if result.control else ''}, counted exactly in {result.seconds:.2f} s{failed}"
    )


def count_cells(result: CountResult) -> tuple[list[str], list[list[str]]]:
    """Lay counts out for people.

    Returns
    -------
    tuple[list[str], list[list[str]]]
        Headings and rows. Where several concepts share several thresholds, a row a concept and a column a threshold;
        else a row a count.
    """
    shared, parts = result.shared_thresholds, result.parts_of_counts()
    if not parts and shared is not None and len(shared) > 1 and len(result.concepts) > 1:
        headings = ["concept", *(f"≥ {format_threshold(threshold)}" for threshold in shared)]
        counts = result.counts.tolist()
        return headings, [
            [concept, *(f"{count:,}" for count in own)] for concept, own in zip(result.concepts, counts, strict=True)
        ]
    return ["concept", "threshold", "count", "share", *(_PARTS[name] for name in parts)], [
        [one.concept, format_threshold(one.threshold), f"{one.count:,}", format_share(one.share)]
        + [f"{getattr(one, name):,}" for name in parts]
        for one in result
    ]


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = (0,)) -> None:
    """Print a table: drawn on a terminal, aligned with spaces in a pipe.

    Parameters
    ----------
    headings, rows
        What stands in it.
    words
        The columns that hold words; the others hold numbers and are flush right.
    """
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD)
        for position, heading in enumerate(headings):
            table.add_column(Text(heading), justify="left" if position in words else "right")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))  # Text, since a name in [brackets] is no markup
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if position in words else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def result_as_dict(result: CountResult) -> dict[str, Any]:
    """Give a result as what JSON can hold: what was counted once, then one entry a concept and threshold."""
    return {
        "corpus": result.corpus,
        "corpus_version": result.corpus_version,
        "space": {"title": result.space.title, "fingerprint": result.space.fingerprint},
        "side": result.side,
        "control": result.control,
        "rows": result.rows,
        "failures": result.failures,
        "exact": True,
        "backend": result.backend,
        "seconds": round(result.seconds, 6),
        "counts": [
            {
                "concept": one.concept,
                "recipe": one.recipe,
                "threshold": one.threshold,
                "threshold_source": one.threshold_source,
                "count": one.count,
                "share": one.share,
                **{name: getattr(one, name) for name in result.parts_of_counts()},
            }
            for one in result
        ],
    }


def without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Give None for every number that is not known, as JSON can hold it."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def print_json(value: Any) -> None:
    """Print JSON, names in any script readable."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_csv(result: Tabular, path: str) -> None:
    """Write a result's table as CSV, every number with all its digits; ``-`` is standard output.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    table = result.to_arrow()

    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))

    if path == STANDARD_OUTPUT:
        write(sys.stdout)
        return
    with replaced_when_done(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        write(file)


def write_parquet(result: Tabular, path: str) -> None:
    """Write a result's table as parquet, with the space in its metadata.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    import pyarrow.parquet as pq

    with replaced_when_done(path) as unfinished:
        pq.write_table(result.to_arrow(), unfinished)


def check_folder(path: str | None) -> None:
    """Refuse a path whose folder does not exist.

    Raises
    ------
    BadInput
        Naming the folder.
    """
    if path is not None and path != STANDARD_OUTPUT and not Path(path).parent.is_dir():
        raise BadInput(f"{path} cannot be written: there is no folder {Path(path).parent}")


@contextmanager
def replaced_when_done(path: str | Path) -> Iterator[Path]:
    """Give a name to write to that becomes `path` when the block ends well: no reader sees half a file.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror or error}): pass another path") from error
    finally:
        unfinished.unlink(missing_ok=True)
