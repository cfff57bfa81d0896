"""A picture of the world for people: every kind once, then scenes, on one small sheet."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from .drawing import IMAGE_SIZE, draw_scene, sprite_bank
from .scenes import Scene, SceneSampler, Thing
from .vocabulary import BACKGROUNDS, COLOURS, KINDS, TEXTURES

_COLUMNS = 15
_GAP = 2


def contact_sheet(seed: int = 0, scene_rows: int = 2) -> Image.Image:
    """Draw every kind once, then rows of scenes with one to three things.

    Parameters
    ----------
    seed
        Decides colours, textures, backgrounds and scenes.
    scene_rows
        Rows of scenes below the kinds.
    """
    rng = random.Random(f"sheet/{seed}")
    scenes = [
        Scene(
            (Thing(kind, COLOURS[i % len(COLOURS)], TEXTURES[rng.randrange(len(TEXTURES))], 0.8),),
            BACKGROUNDS[(i * 7) % len(BACKGROUNDS)],
        )
        for i, kind in enumerate(KINDS)
    ]
    sampler = SceneSampler(exponent=0.0)
    scenes += [sampler.sample(rng, 2 + i % 2) for i in range(scene_rows * _COLUMNS)]
    rows = -(-len(scenes) // _COLUMNS)
    pitch = IMAGE_SIZE + _GAP
    sheet = Image.new("RGB", (_COLUMNS * pitch - _GAP, rows * pitch - _GAP), "white")
    bank = sprite_bank(seed)
    for i, scene in enumerate(scenes):
        sheet.paste(draw_scene(scene, bank, rng), (i % _COLUMNS * pitch, i // _COLUMNS * pitch))
    return sheet


def write_contact_sheet(path: Path, seed: int = 0) -> int:
    """Write the sheet as a PNG of 96 colours, a few hundred pixels wide; returns its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(seed).quantize(96, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
    return path.stat().st_size
