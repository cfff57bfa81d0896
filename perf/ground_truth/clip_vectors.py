"""True CLIP vectors: 24 names labelled by eye on 541 photographs, and long-tailed draws of CIFAR-10's ten classes.

There are no true captions to them, and none are made up: what is tried here does without.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .protocol import Case, LabelledImages, Observed, histograms_of

_DRAWS = 200
_MOST, _FEWEST = 25, 2


def clip_cases(data: Path, quick: bool) -> Iterator[Case]:
    """Yield both, with plain prototypes and with centred ones."""
    folder = data / "data" / "clip-vectors"
    vocabulary = np.load(folder / "text_vectors_lvis.npy").astype(np.float64)
    for kind, centre in (("cosine", np.zeros(vocabulary.shape[1])), ("centred", vocabulary.mean(axis=0))):
        yield by_eye_case(folder, kind, centre)
        yield from cifar_cases(folder, kind, centre, 5 if quick else _DRAWS)


def by_eye_case(folder: Path, kind: str, centre: np.ndarray) -> Case:
    """Take the 24 names; photographs that nobody could tell are left out."""
    images = np.load(folder / "image_vectors.npy").astype(np.float64)
    texts = np.load(folder / "text_vectors_lvis.npy").astype(np.float64)
    every = json.loads((folder / "text_names_lvis.json").read_text("utf-8"))
    with (folder / "labels_by_eye.csv").open(encoding="utf-8", newline="") as file:
        labels = list(csv.DictReader(file))
    names = sorted({row["lvis_name"] for row in labels})
    shown = np.zeros((len(images), len(names)), dtype=bool)
    unsure = np.zeros_like(shown)
    for row in labels:
        (shown if row["shows_it"] == "yes" else unsure)[int(row["row"]), names.index(row["lvis_name"])] = True
    prototypes = texts[[every.index(name) for name in names]] - centre
    known = histograms_of(images @ prototypes.T, shown, np.zeros_like(shown), unsure)
    observed = Observed(tuple(names), known.rows, known.mentions, False, others_labelled=True)
    return Case("CLIP, 24 names", kind, observed, known)


def cifar_cases(folder: Path, kind: str, centre: np.ndarray, draws: int) -> Iterator[Case]:
    """Draw half of the images with 25 to 2 of a class, the other half being the labelled part."""
    images = np.load(folder / "cifar10" / "image_vectors.npy").astype(np.float64)
    labels = np.load(folder / "cifar10" / "labels.npy").astype(np.int64)
    names = tuple(json.loads((folder / "cifar10" / "classes.json").read_text("utf-8"))["classes"])
    texts = np.load(folder / "cifar10" / "text_vectors.npy").astype(np.float64)
    similarities = images @ (texts - centre).T
    sizes = np.round(np.geomspace(_MOST, _FEWEST, len(names))).astype(int)
    for draw in range(draws):
        generator = np.random.default_rng([11, draw])
        order = generator.permutation(len(names))
        taken = np.zeros(len(labels), dtype=bool)
        kept_apart = np.zeros(len(labels), dtype=bool)
        for concept, size in zip(order, sizes, strict=True):
            own = generator.permutation(np.flatnonzero(labels == concept))
            taken[own[: min(size, len(own) // 2)]] = True
            kept_apart[own[len(own) // 2 :]] = True
        shown = labels[:, None] == np.arange(len(names))[None, :]
        nothing = np.zeros_like(shown)
        known = histograms_of(similarities[taken], shown[taken], nothing[taken])
        observed = Observed(
            names,
            known.rows,
            known.mentions,
            False,
            histograms_of(similarities[kept_apart], shown[kept_apart], nothing[kept_apart]),
            similarities[taken],
            LabelledImages(similarities[kept_apart], labels[kept_apart]),
        )
        yield Case("CLIP, CIFAR-10", kind, observed, known, seed=draw)
