"""What surfaces look like: the colours, the textures as masks, the backgrounds as pictures.

Cheap banks made once a seed; `drawing.py` crops and transforms them.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw

from .pen import MASK_SIZE
from .vocabulary import BACKGROUNDS

BACKGROUND_SIZE = 112
_VARIANTS = 8

COLOUR_VALUES = {
    "red": (214, 38, 42),
    "orange": (243, 138, 28),
    "yellow": (246, 224, 54),
    "green": (46, 150, 58),
    "turquoise": (64, 208, 200),
    "blue": (42, 78, 214),
    "purple": (132, 46, 176),
    "pink": (246, 150, 196),
    "brown": (122, 76, 40),
    "black": (26, 26, 30),
    "white": (244, 244, 244),
    "grey": (134, 134, 138),
}


def _texture_mask(texture: str, rng: random.Random) -> Image.Image:
    # Coarse on purpose: marks finer than a quarter of a thing vanish where it is 21 pixels wide.
    size = MASK_SIZE
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)
    if texture == "striped":
        period = rng.uniform(18, 22)
        x = -rng.uniform(0, period)
        while x < size:
            draw.rectangle((x, 0, x + period / 2, size), fill=255)
            x += period
    elif texture == "dotted":
        pitch, radius = rng.uniform(27, 31), rng.uniform(8.5, 10)
        x0, y0 = rng.uniform(0, pitch), rng.uniform(0, pitch)
        for row in range(-1, 5):
            for column in range(-1, 5):
                x = x0 + (column + 0.5 * (row % 2)) * pitch
                y = y0 + row * pitch * 0.87
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    elif texture == "halved":
        cut = size / 2 + rng.uniform(-4, 4)
        draw.rectangle(rng.choice([(0, 0, cut, size), (0, 0, size, cut), (0, cut, size, size)]), fill=255)
    elif texture == "ringed":
        x, y = size / 2 + rng.uniform(-4, 4), size / 2 + rng.uniform(-4, 4)
        period = rng.uniform(20, 23)
        phase = rng.uniform(0.3, 0.8)
        for ring in range(4, -1, -1):
            outer = (ring + phase) * period
            draw.ellipse((x - outer, y - outer, x + outer, y + outer), fill=255)
            inner = max(0.0, outer - period / 2)
            draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    elif texture == "speckled":
        for _ in range(rng.randint(85, 110)):
            x, y, radius = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(2.2, 3.8)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return mask


def texture_bank(seed: int | str) -> dict[str, list[tuple[Image.Image, Image.Image]]]:
    """Where each texture puts its second tone, as masks at full and half size."""
    bank: dict[str, list[tuple[Image.Image, Image.Image]]] = {}
    for texture in ("striped", "dotted", "halved", "ringed", "speckled"):
        rng = random.Random(f"textures/{seed}/{texture}")
        masks = [_texture_mask(texture, rng) for _ in range(_VARIANTS)]
        bank[texture] = [(mask, mask.reduce(2)) for mask in masks]
    return bank


def _noise(noise: np.random.Generator, grain: int, spread: float) -> np.ndarray:
    """Soft noise of about the given grain in pixels, as float32 (size, size, 1)."""
    coarse = noise.random((BACKGROUND_SIZE // grain + 2,) * 2, dtype=np.float32)
    picture = Image.fromarray((coarse * 255).astype(np.uint8)).resize(
        (BACKGROUND_SIZE, BACKGROUND_SIZE), Image.Resampling.BICUBIC
    )
    return ((np.asarray(picture, np.float32) / 255 - 0.5) * 2 * spread)[:, :, None]


def _ground(colour: tuple[int, int, int], *layers: np.ndarray) -> Image.Image:
    pixels = np.full((BACKGROUND_SIZE, BACKGROUND_SIZE, 3), colour, np.float32)
    for layer in layers:
        pixels = pixels + layer
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _background(name: str, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32))
    size = BACKGROUND_SIZE
    if name == "grass":
        picture = _ground((104, 158, 72), _noise(noise, 8, 14), _noise(noise, 2, 14))
        draw = ImageDraw.Draw(picture)
        for _ in range(260):
            x, y = rng.uniform(0, size), rng.uniform(0, size)
            tone = rng.randint(-26, 26)
            draw.line((x, y, x + rng.uniform(-2, 2), y - rng.uniform(4, 8)), fill=(92 + tone, 146 + tone, 60 + tone))
        return picture
    if name == "sand":
        return _ground((222, 196, 146), _noise(noise, 14, 12), _noise(noise, 1, 14))
    if name == "snow":
        return _ground((226, 234, 246), _noise(noise, 20, 12), _noise(noise, 6, 5))
    if name == "water":
        rows = np.arange(size, dtype=np.float32)[:, None, None]
        columns = np.arange(size, dtype=np.float32)[None, :, None]
        wave = np.sin(rows * rng.uniform(0.5, 0.7) + 2 * np.sin(columns * rng.uniform(0.1, 0.16) + rng.uniform(0, 6)))
        return _ground((84, 150, 196), 17 * wave, _noise(noise, 16, 10))
    if name == "brick":
        picture = _ground((176, 106, 86), _noise(noise, 10, 10), _noise(noise, 2, 10))
        draw = ImageDraw.Draw(picture)
        for row, y in enumerate(range(rng.randint(0, 9), size, 10)):
            draw.line((0, y, size, y), fill=(206, 196, 186), width=1)
            for x in range((row % 2) * 10 + rng.randint(0, 2), size, 20):
                draw.line((x, y, x, y + 10), fill=(206, 196, 186), width=1)
        return picture
    if name == "night":
        picture = _ground((24, 26, 64), _noise(noise, 24, 12))
        draw = ImageDraw.Draw(picture)
        for _ in range(70):
            x, y = rng.randint(0, size), rng.randint(0, size)
            draw.point((x, y), fill=(rng.randint(170, 255),) * 3)
        return picture
    if name == "wood":
        streaks = np.repeat(noise.random((1, size, 1), dtype=np.float32) * 34 - 17, size, axis=0)
        picture = _ground((158, 112, 66), streaks, _noise(noise, 9, 10))
        draw = ImageDraw.Draw(picture)
        for x in range(rng.randint(0, 21), size, 22):
            draw.line((x, 0, x, size), fill=(92, 60, 34), width=2)
        return picture
    if name == "paper":
        picture = _ground((248, 246, 234), _noise(noise, 30, 4))
        draw = ImageDraw.Draw(picture)
        for at in range(rng.randint(0, 7), size, 8):
            draw.line((at, 0, at, size), fill=(160, 196, 222))
            draw.line((0, at, size, at), fill=(160, 196, 222))
        return picture
    if name == "dusk":
        # A short gradient repeated by no crop: 64 of 112 rows always show the turn from violet to orange.
        height = np.linspace(0, 1, size, dtype=np.float32)[:, None, None] + rng.uniform(-0.08, 0.08)
        low, high = np.array([250, 170, 104], np.float32), np.array([112, 70, 130], np.float32)
        return _ground((0, 0, 0), high + (low - high) * height.clip(0, 1), _noise(noise, 24, 6))
    veins = np.abs(_noise(noise, 14, 1) + _noise(noise, 6, 0.4))
    return _ground((206, 202, 198), -70 * np.exp(-veins * 12), _noise(noise, 18, 8))


def background_bank(seed: int | str) -> dict[str, list[Image.Image]]:
    """Pictures larger than an image for every background; drawing crops a window."""
    bank: dict[str, list[Image.Image]] = {}
    for name in BACKGROUNDS:
        rng = random.Random(f"backgrounds/{seed}/{name}")
        bank[name] = [_background(name, rng) for _ in range(_VARIANTS)]
    return bank
