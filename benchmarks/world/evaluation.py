"""Zero-shot accuracy of a model on fresh images of the balanced world, family by family.

The same path as for any model: sentences to prototypes, images to unit vectors, the nearest prototype of a family.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .drawing import IMAGE_SIZE, JPEG_QUALITY, draw_scene, sprite_bank
from .prompts import prompts
from .scenes import Scene, SceneSampler
from .training_batches import CONTEXT_LENGTH, decoded
from .vocabulary import FAMILIES, concepts, family_names


@dataclass(frozen=True)
class LabelledImages:
    """Images as a reader of their JPEG files sees them (n, 64, 64, 3), and what is in each."""

    pixels: np.ndarray
    scenes: list[Scene]

    def holds(self) -> np.ndarray:
        """Which image truly shows which concept: bool (n, concepts), in the vocabulary's order."""
        names = [concept.name for concept in concepts()]
        shown = np.zeros((len(self.scenes), len(names)), bool)
        index = {name: i for i, name in enumerate(names)}
        for row, scene in enumerate(self.scenes):
            shown[row, [index[name] for name in scene.concepts()]] = True
        return shown


def fresh_images(
    purpose: str, n: int, n_things: int | None = None, exponent: float = 0.0, ranks_seed: int = 0
) -> LabelledImages:
    """Draw images for a purpose, from silhouettes, textures and backgrounds drawn for that purpose alone.

    Parameters
    ----------
    purpose
        Seeds everything, such as ``"reported/0"``.
    n
        How many images.
    n_things
        Things in each image; None draws one to three.
    exponent
        Of the Zipf law; 0 is balanced.
    ranks_seed
        Decides which concept has which rank where the exponent is not 0.
    """
    bank = sprite_bank(purpose)
    sampler = SceneSampler(exponent, ranks_seed)
    pixels = np.empty((n, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    scenes: list[Scene] = []
    for i in range(n):
        rng = random.Random(f"{purpose}/{n_things}/{i}")
        scene = sampler.sample(rng, n_things)
        pixels[i] = decoded(draw_scene(scene, bank, rng), JPEG_QUALITY)
        scenes.append(scene)
    return LabelledImages(pixels, scenes)


def image_vectors(model: Any, pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Unit image vectors, rounded to float16 as a corpus stores them."""
    import torch

    vectors = []
    shift, scale = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)
    with torch.inference_mode():
        for start in range(0, len(pixels), 256):
            batch = torch.from_numpy(pixels[start : start + 256]).permute(0, 3, 1, 2).float() / 255
            vectors.append(model.encode_image((batch - shift) / scale, normalize=True).to(torch.float16).numpy())
    return np.concatenate(vectors)


def prototypes(model: Any, tokenizer: Any) -> np.ndarray:
    """For every concept the mean of its sentences' unit vectors, made unit again and rounded to float16."""
    import torch

    rows = []
    with torch.inference_mode():
        for concept in concepts():
            sentences = model.encode_text(tokenizer(prompts(concept), context_length=CONTEXT_LENGTH), normalize=True)
            mean = sentences.double().mean(0)
            rows.append((mean / mean.norm()).to(torch.float16).numpy())
    return np.stack(rows)


def similarities(images: np.ndarray, concept_prototypes: np.ndarray) -> np.ndarray:
    """Float64 dot products (images, concepts), exact for float16 vectors of length 1."""
    return images.astype(np.float64) @ concept_prototypes.astype(np.float64).T


def family_columns(family: str) -> slice:
    """Where a family's concepts stand in the vocabulary's order."""
    start = 0
    for name in FAMILIES[: FAMILIES.index(family)]:
        start += len(family_names(name))
    return slice(start, start + len(family_names(family)))


def top1(scores: np.ndarray, holds: np.ndarray, family: str) -> np.ndarray:
    """For every image: is the family's best-scoring concept one that the image shows?"""
    columns = family_columns(family)
    best = scores[:, columns].argmax(1)
    return holds[:, columns][np.arange(len(best)), best]
