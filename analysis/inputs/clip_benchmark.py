"""CLIP_benchmark's results: whole test sets, one JSON a run, or the CSV that its `build` makes of many.

They hold no accuracy of single classes, so they enter with the concept ``""`` and no plot of concepts takes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tailwag.errors import BadInput

from .json_files import read_json
from .points import ACCURACY_COLUMNS, Accuracies, Exclusion
from .raw_tables import RawTable, number, read_raw_table, text

_REQUIRED = ("dataset", "model", "pretrained", "task")
# What a row says beside its metrics.
_DESCRIBING = (*_REQUIRED, "language", "model_fullname", "classnames", "templates")
NO_SHARE = "a metric that is no number from 0 to 1"


def read_clip_benchmark(path: str | Path) -> Accuracies:
    """Read the metrics of one run (``.json``) or of many (``.csv``); each is a fraction, as CLIP_benchmark writes it.

    Returns
    -------
    Accuracies
        ``task`` is the data set, ``metric`` CLIP_benchmark's name (``acc1``), ``concept`` is empty. Metrics that are no
        number from 0 to 1 are exclusions.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it has not this layout.
    """
    path = Path(path)
    runs = [_run_of_json(path)] if path.suffix.casefold() == ".json" else _runs_of_csv(read_raw_table(path))
    rows, exclusions = [], []
    for where, run, metrics in runs:
        for metric, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                exclusions.append(Exclusion(where, metric, NO_SHARE, f"{run['dataset']}: {str(value)[:60]}"))
                continue
            rows.append((run["model"], run["pretrained"], run["dataset"], "", metric, float(value), float("nan")))

    import pandas as pd

    table = pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS)).astype({"value": "float64", "n": "float64"})
    return Accuracies(table, tuple(exclusions))


def _run_of_json(path: Path) -> tuple[str, dict[str, str], dict[str, Any]]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise BadInput(f"{path} is no result of CLIP_benchmark: it has no object 'metrics'")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise BadInput(f"{path} is no result of CLIP_benchmark: it says no {', '.join(missing)}")
    return str(path), {name: str(content[name]) for name in _REQUIRED}, content["metrics"]


def _runs_of_csv(raw: RawTable) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    raw.require(_REQUIRED, "CLIP_benchmark's CSV")
    metrics = [name for name in raw.columns if name and name not in _DESCRIBING]
    runs = []
    for row, cells in raw.records((*_REQUIRED, *metrics)):
        where = f"{raw.path}, row {row}"
        own = {name: number(cell, f"{where}, {name}") for name, cell in zip(metrics, cells[4:], strict=True)}
        # A table of several tasks has every task's columns: a metric of another task is an empty cell.
        present = {name: value for name, value in own.items() if value == value}
        runs.append((where, dict(zip(_REQUIRED, map(text, cells), strict=False)), present))
    return runs
