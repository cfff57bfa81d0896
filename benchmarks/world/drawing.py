"""From a scene to 64 x 64 pixels: sprites, fills, outlines, places, and JPEG bytes.

Silhouettes come from `shapes.py` and `species.py`, backgrounds and textures from `surfaces.py`.
"""

from __future__ import annotations

import io
import math
import random
from functools import lru_cache

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from .pen import MASK_SIZE, Pen
from .scenes import Scene, Thing
from .shapes import DRAW_SHAPE
from .species import draw_species
from .surfaces import BACKGROUND_SIZE, COLOUR_VALUES, background_bank, texture_bank
from .vocabulary import KINDS

IMAGE_SIZE = 64
JPEG_QUALITY = 90
_SPRITES_PER_KIND = 10
# Extent in pixels, smallest and largest, of the things in an image of one, two, three.
_EXTENTS = {1: (26.0, 52.0), 2: (24.0, 33.0), 3: (21.0, 28.0)}
_QUARTERS = ((16.0, 16.0), (48.0, 16.0), (16.0, 48.0), (48.0, 48.0))
_SMALL = 34.0


class SpriteBank:
    """Silhouettes of every kind, jittered, each with its outline, at two sizes.

    Parameters
    ----------
    seed
        Another seed draws other individuals, textures and backgrounds.
    """

    def __init__(self, seed: int | str) -> None:
        self.sprites: dict[str, list[tuple[Image.Image, Image.Image]]] = {}
        for kind in KINDS:
            rng = random.Random(f"sprites/{seed}/{kind}")
            self.sprites[kind] = [_sprite(kind, rng) for _ in range(_SPRITES_PER_KIND)]
        self.textures = texture_bank(seed)
        self.backgrounds = background_bank(seed)


def _sprite(kind: str, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    """A silhouette and its outline as two bands of one image (one transform moves both), at full and half size."""
    pen = Pen(rng)
    if kind in DRAW_SHAPE:
        DRAW_SHAPE[kind](pen)
    else:
        draw_species(pen, kind)
    body = pen.mask()
    grown = body
    for _ in range(3):
        grown = grown.filter(ImageFilter.MaxFilter(3))
    large = Image.merge("RGB", (body, ImageChops.subtract(grown, body), grown))
    return large, large.reduce(2)


@lru_cache(maxsize=2)
def sprite_bank(seed: int | str) -> SpriteBank:
    """The bank of a seed, made once a process (about two seconds)."""
    return SpriteBank(seed)


def _tint(colour: str, rng: random.Random) -> tuple[int, int, int]:
    red, green, blue = COLOUR_VALUES[colour]
    return red + rng.randint(-9, 9), green + rng.randint(-9, 9), blue + rng.randint(-9, 9)


def _paste_thing(
    picture: Image.Image, bank: SpriteBank, thing: Thing, extent: float, x: float, y: float, rng: random.Random
) -> None:
    small = extent < _SMALL
    size = MASK_SIZE // 2 if small else MASK_SIZE
    sprite = rng.choice(bank.sprites[thing.kind])[small]
    scale = extent / (0.8 * size)
    # 1.5: room for the outline and for the corners of a rotated square.
    box = min(IMAGE_SIZE, math.ceil(extent * 1.5))
    angle = math.radians(rng.uniform(-20, 20))
    shear = rng.uniform(-0.12, 0.12)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    a, b = mirror * cos, mirror * (sin + shear * cos)
    d, e = -sin, cos - shear * sin
    half, centre = box / 2, size / 2
    affine = (a, b, centre - (a + b) * half, d, e, centre - (d + e) * half)
    moved = sprite.transform((box, box), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    body, outline, _ = moved.split()
    fill = _tint(thing.colour, rng)
    light = 0.3 * fill[0] + 0.59 * fill[1] + 0.11 * fill[2]
    at = (round(x - half), round(y - half))
    # Light on dark fills, dark on the others: white on snow and black at night stay visible.
    picture.paste((235, 235, 230) if light < 85 else (28, 26, 32), at, outline)
    picture.paste(fill, at, body)
    if thing.texture != "plain":
        pattern = rng.choice(bank.textures[thing.texture])[small]
        marks = pattern.transform((box, box), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        shade = (
            tuple(int(255 - 0.38 * (255 - value)) for value in fill)
            if light < 105
            else tuple(int(0.38 * value) for value in fill)
        )
        picture.paste(shade, at, ImageChops.multiply(body, marks))


def draw_scene(scene: Scene, bank: SpriteBank, rng: random.Random) -> Image.Image:
    """Draw a scene once; the same state of `rng` gives the same pixels."""
    margin = BACKGROUND_SIZE - IMAGE_SIZE
    left, top = rng.randint(0, margin), rng.randint(0, margin)
    ground = rng.choice(bank.backgrounds[scene.background])
    picture = ground.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
    n = len(scene.things)
    smallest, largest = _EXTENTS[n]
    extents = [smallest + thing.size * (largest - smallest) for thing in scene.things]
    if n == 1:
        play = max(0.0, (IMAGE_SIZE - extents[0]) / 2 - 3)
        places = [(32 + rng.uniform(-play, play), 32 + rng.uniform(-play, play))]
    else:
        places = [(x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)) for x, y in rng.sample(_QUARTERS, n)]
    for thing, extent, (x, y) in zip(scene.things, extents, places, strict=True):
        _paste_thing(picture, bank, thing, extent, x, y, rng)
    return picture


def jpeg_bytes(picture: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def near_duplicate(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The same picture as another site would show it: cropped a little, brighter or darker."""
    cut = rng.uniform(1, 4)
    left, top = rng.uniform(0, cut), rng.uniform(0, cut)
    box = (left, top, IMAGE_SIZE - cut + left, IMAGE_SIZE - cut + top)
    again = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, box=box)
    return ImageEnhance.Brightness(again).enhance(rng.uniform(0.88, 1.12))
