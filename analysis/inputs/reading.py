"""The one door to files of accuracies and frequencies: which layout a file has is told by its name and its keys.

Never by its values: a unit is declared. Each layout is read by a module of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tailwag.errors import BadInput, NotFound

from .clip_benchmark import read_clip_benchmark
from .count_tables import Choice, frequencies_of_json, frequencies_of_table
from .json_files import read_json
from .points import Accuracies, Exclusion, Frequencies
from .raw_tables import read_raw_table
from .release_files import CountFile, EvaluationFile, accuracies_of_file, frequencies_of_file
from .tidy import Values, read_tidy

AccuracyLayout = Literal["auto", "tidy", "release", "clip-benchmark"]
FrequencyLayout = Literal["auto", "table", "json", "release"]
ACCURACY_LAYOUTS = ("auto", "tidy", "release", "clip-benchmark")
FREQUENCY_LAYOUTS = ("auto", "table", "json", "release")
_TABLES = (".csv", ".tsv", ".parquet")


def read_accuracies(
    path: str | Path | Sequence[str | Path], layout: AccuracyLayout = "auto", values: Values | None = None
) -> Accuracies:
    """Read accuracies from one file or several.

    Parameters
    ----------
    path
        Files. Those of several are put together; one value that two of them give differently is for `join` to list.
    layout
        ``tidy`` (a CSV or parquet table), ``release`` (a JSON of the paper's evaluations) or ``clip-benchmark`` (its
        JSON or CSV); ``auto`` tells by the file's name and keys.
    values
        The unit of a tidy table, ``fraction`` (also for None) or ``percent``. The other layouts have units of their
        own; declaring another is refused.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When a file has not the layout, or holds what its layout forbids.
    """
    _check_layout(layout, ACCURACY_LAYOUTS)
    return _together(Accuracies, [_read_accuracies(Path(one), layout, values) for one in _paths(path)])


def read_frequencies(
    path: str | Path | Sequence[str | Path], layout: FrequencyLayout = "auto", *, choice: Choice | None = None
) -> Frequencies:
    """Read frequencies from one file or several.

    Parameters
    ----------
    path
        Files; those of several are put together.
    layout
        ``table`` (a CSV or parquet of `tailwag count` or `tailwag captions`, or one like it), ``json`` (what `tailwag
        count --json` printed, or a flat ``{concept: count}``) or ``release`` (a JSON whose name tells the test set,
        pretraining set and search); ``auto`` tells by the file's name.
    choice
        Which counts are meant, where a file holds several.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When a file has not the layout, or holds several counts of one concept and `choice` does not tell which.
    """
    _check_layout(layout, FREQUENCY_LAYOUTS)
    return _together(Frequencies, [_read_frequencies(Path(one), layout, choice or Choice()) for one in _paths(path)])


def _read_accuracies(path: Path, layout: str, values: Values | None) -> Accuracies:
    _require_file(path)
    found = _accuracy_layout(path) if layout == "auto" else layout
    if found == "tidy":
        return read_tidy(path, values or "fraction")
    if found == "release":
        return accuracies_of_file(path, values)
    if values == "percent":
        raise BadInput(f"{path}: CLIP_benchmark writes fractions: leave --values percent out")
    return read_clip_benchmark(path)


def _read_frequencies(path: Path, layout: str, choice: Choice) -> Frequencies:
    _require_file(path)
    found = layout
    if layout == "auto":
        found = "table" if path.suffix.casefold() in _TABLES else "release" if CountFile.named(path) else "json"
    if found == "table":
        return frequencies_of_table(read_raw_table(path), choice)
    if found == "json":
        return frequencies_of_json(path, choice)
    return frequencies_of_file(path)


def _accuracy_layout(path: Path) -> str:
    if path.suffix.casefold() in _TABLES:
        columns = read_raw_table(path).columns
        return "clip-benchmark" if "dataset" in columns and "concept" not in columns else "tidy"
    if path.suffix.casefold() != ".json":
        raise BadInput(f"{path} is neither {', '.join(_TABLES)} nor .json: rename it, or say its layout")
    content: Any = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("metrics"), dict):
        return "clip-benchmark"
    if EvaluationFile.named(path):
        return "release"
    raise BadInput(f"{path} is neither an evaluation of the paper's release nor a result of CLIP_benchmark")


def _together(kind: Any, parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]

    import pandas as pd

    exclusions: list[Exclusion] = [exclusion for part in parts for exclusion in part.exclusions]
    return kind(pd.concat([part.table for part in parts], ignore_index=True), tuple(exclusions))


def _paths(path: str | Path | Sequence[str | Path]) -> list[str | Path]:
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise BadInput("there is no file to read: name one or more")
    return paths


def _check_layout(layout: str, known: tuple[str, ...]) -> None:
    if layout not in known:
        raise BadInput(f"there is no layout {layout!r}; there are {', '.join(known)}")


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise BadInput(f"{path} is a folder: name a file, or pass the paper's release with --paper")
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
