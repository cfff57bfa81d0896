"""JSON files of accuracies and counts: read whole, nothing overwritten by a second value, every number in its range.

Not here: which file holds what (`released.py`, `clip_benchmark.py`, `count_tables.py`).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound


def read_json(path: str | Path) -> Any:
    """Read a JSON file and refuse a key that stands twice, which JSON readers let the last value win.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is no JSON in UTF-8, or a key stands twice in one object.
    """
    path = Path(path)
    stamp = _stamp(path)
    return _read_json(path, stamp)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    return told.st_mtime_ns, told.st_size


@lru_cache(maxsize=64)  # a file of evaluations holds every model: asked for again by each
def _read_json(path: Path, stamp: tuple[int, int]) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise BadInput(f"{path}: the key {twice!r} stands twice in one object: leave one of them")
        return content

    try:
        return json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no JSON: {error}") from error


def shares_of(values: dict[str, Any], unit: str, path: Path) -> dict[str, float]:
    """Turn values of a declared unit, ``percent`` or ``fraction``, into shares from 0 to 1.

    Raises
    ------
    BadInput
        For a value that is no number or outside the unit's range.
    """
    scale = 100.0 if unit == "percent" else 1.0
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= scale:
            raise BadInput(f"{path}: {name!r} has the value {value!r}; these are numbers from 0 to {scale:g}")
    return {name: value / scale for name, value in values.items()}


def read_counts(path: Path) -> dict[str, int]:
    """Read an object of counts, ``{concept: rows}``.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is no such object, or a count is not a whole number from 0.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no object of counts")
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise BadInput(f"{path}: {name!r} has the count {value!r}; a count is a whole number, 0 or more")
    return content
