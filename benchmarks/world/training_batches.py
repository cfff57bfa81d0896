"""Batches for training: every picture drawn once, from a balanced world, by processes beside the training.

A batch depends on the seed and its number alone, so a continued run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import io
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
from PIL import Image

from .captions import training_caption
from .drawing import IMAGE_SIZE, draw_scene, jpeg_bytes, sprite_bank
from .packaged_model import MODEL_CONFIG
from .scenes import Scene, SceneSampler
from .vocabulary import FAMILIES, family_names

CONTEXT_LENGTH: int = MODEL_CONFIG["text_cfg"]["context_length"]
# Fresh silhouettes every so many batches: about 4 % of the drawing time, and no outline is learnt by heart.
_BATCHES_A_BANK = 400
_SHIFT = 3


@dataclass(frozen=True)
class TrainingBatch:
    """Pixels (n, 64, 64, 3) as uint8, tokens (n, context), and for each family a soft target (n, members)."""

    pixels: np.ndarray
    tokens: np.ndarray
    targets: dict[str, np.ndarray]


def family_targets(scenes: list[Scene]) -> dict[str, np.ndarray]:
    """How much of each scene belongs to which member of each family; rows sum to 1."""
    targets: dict[str, np.ndarray] = {}
    for family in FAMILIES:
        index = {name: i for i, name in enumerate(family_names(family))}
        target = np.zeros((len(scenes), len(index)), np.float32)
        for row, scene in enumerate(scenes):
            if family == "number":
                target[row, index[scene.number]] = 1
            elif family == "background":
                target[row, index[scene.background]] = 1
            else:
                for thing in scene.things:
                    target[row, index[getattr(thing, family)]] += 1 / len(scene.things)
        targets[family] = target
    return targets


def decoded(picture: Image.Image, quality: int) -> np.ndarray:
    """The pixels as a reader of the JPEG file will see them."""
    return np.asarray(Image.open(io.BytesIO(jpeg_bytes(picture, quality))))


@cache
def _tokenizer() -> Any:
    from ...embed.open_clip_loading import import_open_clip

    return import_open_clip().tokenizer.SimpleTokenizer(context_length=CONTEXT_LENGTH)


@cache
def _balanced() -> SceneSampler:
    return SceneSampler(exponent=0.0)


def draw_batch(seed: int, step: int, size: int, opening: bool) -> TrainingBatch:
    """Draw one batch.

    Parameters
    ----------
    seed, step
        Decide everything in the batch.
    size
        Images in the batch.
    opening
        Single things and mostly captions that name a kind only: the start of training, where kinds are learnt.
    """
    bank = sprite_bank(f"train/{seed}/{step // _BATCHES_A_BANK}")
    rng = random.Random(f"train/{seed}/{step}")
    single = opening or rng.random() < 0.2
    scenes: list[Scene] = []
    captions: list[str] = []
    pixels = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for i in range(size):
        scene = _balanced().sample(rng, 1 if single else None)
        picture = decoded(draw_scene(scene, bank, rng), rng.randint(82, 95))
        shift = (rng.randint(-_SHIFT, _SHIFT), rng.randint(-_SHIFT, _SHIFT))
        brightness = rng.uniform(0.9, 1.1)
        pixels[i] = np.minimum(np.roll(picture, shift, (0, 1)) * np.float32(brightness), 255)
        scenes.append(scene)
        captions.append(training_caption(scene, rng, kind_share=0.7 if opening else 0.4))
    tokens = _tokenizer()(captions).numpy()
    return TrainingBatch(pixels, tokens, family_targets(scenes))


def batches(
    seed: int, first: int, last: int, size: int, opening_steps: int, n_processes: int = 1
) -> Iterator[TrainingBatch]:
    """The batches first, ..., last - 1 in order, drawn ahead of time by other processes."""
    steps = iter(range(first, last))
    waiting: deque[Any] = deque()
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        try:
            while True:
                while len(waiting) < 12 and (step := next(steps, None)) is not None:
                    waiting.append(pool.submit(draw_batch, seed, step, size, step < opening_steps))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
