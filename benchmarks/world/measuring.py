"""What a model of the world is worth: accuracy, thresholds, counting. Writes `thresholds.csv` and the model card.

Every number in the card and in `measured.json` comes from here, on images that neither training nor tuning ever used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...embed.encoder import Encoder
from ...retrieval.concepts import ConceptSet, load_concepts
from ...retrieval.prototypes import PrototypeSet
from .evaluation import LabelledImages, family_columns, fresh_images, similarities, top1
from .model_card import model_card
from .packaged_model import MEAN, STD, WEIGHTS_FILE, read_record
from .thresholds import (
    ConceptThreshold,
    choose_thresholds,
    estimates,
    median_log_error,
    rank_correlation,
    write_thresholds,
)
from .vocabulary import FAMILIES, KINDS, concepts

if TYPE_CHECKING:
    import torch

# Of the images without a concept, the share that may be hits; chosen on development worlds of exponent 1 and 1.5 for
# the least error of hits / recall. A kind is in few images, so false hits soon outnumber true ones. Colours and
# textures are in many, and with fewer false hits so little is found that recall, which differs between crowded and
# simple images, decides.
FALSE_HIT_RATES = {"kind": 3e-4, "colour": 3e-3, "texture": 3e-3, "number": 1e-3, "background": 3e-4}
_THRESHOLD_IMAGES = 40_000
_SINGLE_IMAGES = 3_000
_COUNTED_IMAGES = 20_000
# Bounds memory: 10,000 decoded images are 123 MB.
_BLOCK = 10_000


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """What the model's own preprocessing makes of images of its own size, for a whole block: (n, 3, 64, 64) float32."""
    import torch

    shift, scale = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - shift) / scale


class _Scorer:
    """Similarities of images to all concepts by the path that counting takes: the encoder, the prototypes."""

    def __init__(self, folder: Path) -> None:
        self.encoder = Encoder.load(f"local-dir:{folder}", device="cpu")
        chosen: ConceptSet = load_concepts("world")
        if chosen.names != tuple(concept.name for concept in concepts()):
            raise AssertionError("configs/concepts/world.toml is not current")
        self._prototypes = PrototypeSet.of_texts(chosen, self.encoder).vectors

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        blocks = [
            self.encoder.encode_pixels(to_pixels(pixels[start : start + 256])) for start in range(0, len(pixels), 256)
        ]
        return similarities(np.concatenate(blocks), self._prototypes)


def _scored(scorer: _Scorer, images: LabelledImages) -> tuple[np.ndarray, np.ndarray]:
    return scorer.scores(images.pixels), images.holds()


def measure_accuracy(folder: Path, n: int = _SINGLE_IMAGES) -> dict[str, float]:
    """Zero-shot top-1 accuracy on n fresh balanced images a row.

    Returns
    -------
    dict
        Every family (numbers on one to three things, the others on one thing), and for two and three things the share
        of images whose best kind is there.
    """
    scorer = _Scorer(folder)
    shares: dict[str, float] = {}
    scores, holds = _scored(scorer, fresh_images("reported/0", n, n_things=1))
    for family in FAMILIES:
        if family != "number":
            shares[family] = float(top1(scores, holds, family).mean())
    scores, holds = _scored(scorer, fresh_images("reported/0", n))
    shares["number"] = float(top1(scores, holds, "number").mean())
    for n_things in (2, 3):
        scores, holds = _scored(scorer, fresh_images("reported/0", n, n_things=n_things))
        shares[f"kind, {n_things} things"] = float(top1(scores, holds, "kind").mean())
    return shares


def measure_thresholds(folder: Path, n: int = _THRESHOLD_IMAGES) -> list[ConceptThreshold]:
    """A threshold for every concept from n fresh labelled balanced images of one to three things."""
    scorer = _Scorer(folder)
    scores, holds = [], []
    for block, start in enumerate(range(0, n, _BLOCK)):
        one, shown = _scored(scorer, fresh_images(f"thresholds/{block}", min(_BLOCK, n - start)))
        scores.append(one)
        holds.append(shown)
    rates = [FALSE_HIT_RATES[concept.family] for concept in concepts()]
    return choose_thresholds(np.concatenate(scores), np.concatenate(holds), rates)


def measure_counting(
    folder: Path, chosen: list[ConceptThreshold], exponent: float, purpose: str, n: int = _COUNTED_IMAGES
) -> dict[str, float]:
    """How well hits / recall tells the number of images in a Zipf world of n images.

    Returns
    -------
    dict
        Spearman's rho and the median |log10(estimate / true)| over kinds, over kinds with at least 100 images, over all
        concepts, and over each other family.
    """
    scorer = _Scorer(folder)
    scores, holds = [], []
    for block, start in enumerate(range(0, n, _BLOCK)):
        images = fresh_images(f"{purpose}/{block}", min(_BLOCK, n - start), exponent=exponent, ranks_seed=11)
        one, shown = _scored(scorer, images)
        scores.append(one)
        holds.append(shown)
    true, estimated = np.concatenate(holds).sum(0), estimates(np.concatenate(scores), chosen)
    result = {
        "rho_kinds": rank_correlation(estimated[: len(KINDS)], true[: len(KINDS)]),
        "rho_all": rank_correlation(estimated, true),
        "error_kinds": median_log_error(estimated[: len(KINDS)], true[: len(KINDS)]),
        "error_all": median_log_error(estimated, true),
        "most_kind": float(true[: len(KINDS)].max()),
        "least_kind": float(true[: len(KINDS)].min()),
    }
    for family in FAMILIES[1:]:
        columns = family_columns(family)
        result[f"error_{family}"] = median_log_error(estimated[columns], true[columns])
    return result


def measure_model(folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure all there is to a model folder and write `thresholds.csv`, `measured.json` and `README.md` into it.

    Parameters
    ----------
    folder
        A folder that `write_model` wrote.
    report
        Is told a line of news now and then.
    """
    record = read_record(folder)
    report(f"accuracy on fresh images of {folder}")
    accuracy = measure_accuracy(folder)
    report("; ".join(f"{name} {share:.3f}" for name, share in accuracy.items()))
    report(f"thresholds from {_THRESHOLD_IMAGES:,} fresh images")
    chosen = measure_thresholds(folder)
    space = Encoder.load(f"local-dir:{folder}", device="cpu").space.fingerprint
    source = f"{_THRESHOLD_IMAGES} fresh balanced images with 1 to 3 things"
    write_thresholds(folder / "thresholds.csv", chosen, space, source)
    report(f"counting in Zipf worlds of {_COUNTED_IMAGES:,} images")
    counting = {
        str(exponent): measure_counting(folder, chosen, exponent, f"counted/{exponent}") for exponent in (1.0, 1.5)
    }
    measured = {
        "accuracy": accuracy,
        "counting": counting,
        "images": {"accuracy": _SINGLE_IMAGES, "thresholds": _THRESHOLD_IMAGES, "counting": _COUNTED_IMAGES},
        "megabytes": (folder / WEIGHTS_FILE).stat().st_size / 1e6,
    }
    (folder / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    (folder / "README.md").write_text(model_card(record, measured))
    return measured
