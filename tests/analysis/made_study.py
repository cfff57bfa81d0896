"""A small made study: files of counts and accuracies with a known slope, as `tailwag fit` reads them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SLOPE = 8.0  # points per decade inside every test set
SETS = {"birds": 0.1, "objects": 0.45, "scenes": 0.3}
MODELS = ("RN50", "ViT-B-32")


def write_study(
    folder: Path, *, concepts: int = 40, models: tuple[str, ...] = MODELS, names: dict[int, str] | None = None
) -> tuple[Path, Path]:
    """Write counts.csv and accuracies.csv; `names` replaces the names of some concepts of the first test set."""
    generator = np.random.default_rng(7)
    counts = [["pretraining", "side", "task", "concept", "count", "rows"]]
    accuracies = [["model", "pretraining", "task", "concept", "metric", "value", "n"]]
    for order, (task, level) in enumerate(SETS.items()):
        decades = generator.uniform(0, 4, concepts)
        frequency = np.where(generator.random(concepts) < 0.2, 0, np.round(10**decades)).astype(int)
        for number in range(concepts):
            concept = f"{task} {number}"
            if order == 0 and names and number in names:
                concept = names[number]
            counts.append(["made", "image", task, concept, str(frequency[number]), "1000000"])
            for model in models:
                value = level + SLOPE / 100 * np.log10(1 + frequency[number]) + generator.normal(0, 0.08)
                accuracies.append([model, "made", task, concept, "accuracy", f"{np.clip(value, 0, 1):.4f}", "50"])
    return _write(folder / "counts.csv", counts), _write(folder / "accuracies.csv", accuracies)


def _write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path
