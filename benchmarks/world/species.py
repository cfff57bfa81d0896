"""The invented species: beasts, blooms and glyphs, each grown from a code of body parts, drawn with a `Pen`.

Codes are chosen so that any two species of a group differ in several parts. Shapes with everyday names are in
`shapes.py`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache

import numpy as np

from .pen import Pen, around
from .vocabulary import BEASTS, BLOOMS, GLYPHS

Code = tuple[int, ...]

# How much a part tells two species apart when the picture is 20 pixels wide; parts as in `_draw_beast`, `_draw_bloom`.
_BEAST_PARTS = ((4, 1.0), (4, 1.0), (4, 1.2), (4, 1.0), (4, 1.2))  # body, legs, head, tail, back
_BLOOM_PARTS = ((4, 1.2), (4, 1.2), (3, 0.8), (4, 1.3))  # petals, form, centre, stem


def _spread(candidates: np.ndarray, weights: np.ndarray, n: int) -> list[Code]:
    """Choose n codes, each as far as can be from those already chosen (weighted number of differing parts)."""
    order = list(range(len(candidates)))
    random.Random(1).shuffle(order)
    shuffled = candidates[order]
    nearest = np.full(len(shuffled), np.inf)
    chosen = [0]
    while len(chosen) < n:
        nearest = np.minimum(nearest, ((shuffled != shuffled[chosen[-1]]) * weights).sum(1))
        chosen.append(int(nearest.argmax()))
    return [tuple(int(part) for part in shuffled[i]) for i in chosen]


def _part_codes(parts: tuple[tuple[int, float], ...], n: int) -> list[Code]:
    candidates = np.array(list(itertools.product(*(range(choices) for choices, _ in parts))))
    return _spread(candidates, np.array([weight for _, weight in parts]), n)


def _is_glyph(cells: np.ndarray) -> bool:
    """Is the 5x5 pattern in one piece, neither empty in a row nor nearly full?"""
    if not (10 <= cells.sum() <= 17 and cells.any(1).all() and cells[:, 0].any()):
        return False
    reached = np.zeros_like(cells)
    row, column = np.argwhere(cells)[0]
    reached[row, column] = True
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= cells
        if (grown == reached).all():
            return bool((reached == cells).all())
        reached = grown


def _glyph_cells(code: Code) -> np.ndarray:
    """The 15 bits of a code as a mirror-symmetric 5x5 pattern."""
    half = np.array(code, dtype=bool).reshape(5, 3)
    return np.concatenate([half, half[:, 1::-1]], axis=1)


def _glyph_codes(n: int) -> list[Code]:
    rng = random.Random(2)
    drawn = (tuple(rng.randrange(2) for _ in range(15)) for _ in range(6000))
    candidates = {code for code in drawn if _is_glyph(_glyph_cells(code))}
    # A cell off the axis is seen twice.
    weights = np.tile([2.0, 2.0, 1.0], 5)
    return _spread(np.array(sorted(candidates)), weights, n)


def _draw_beast(pen: Pen, code: Code) -> None:
    body, legs, head, tail, back = code
    width, height = ((0.46, 0.4), (0.62, 0.26), (0.34, 0.55), (0.5, 0.36))[body]
    width, height = pen.about(width), pen.about(height)
    if body == 3:
        pen.box(-width, -height, width, height)
    else:
        pen.ellipse(0, 0, width, height)
    ground = min(0.95, height + 0.42)
    if legs == 1:
        for x in (-0.45, 0.45):
            pen.line([(x * width, 0.5 * height), (x * width, ground)], 0.24)
    elif legs == 2:
        for x in (-0.85, -0.3, 0.3, 0.85):
            pen.line([(x * width, 0.3 * height), (x * width * 1.15, ground)], 0.14)
    elif legs == 3:
        pen.polygon([(0, 0), (0.75, 0.95), (-0.75, 0.95)])
    reach, rise = 0.8 * width, -0.5 * height
    if head == 0:
        pen.ellipse(reach + 0.15, rise - 0.05, pen.about(0.27))
    elif head == 1:
        pen.polygon([(0.3 * width, -0.9 * height), (0.3 * width, 0.6 * height), (1.05, pen.about(0.1))])
    elif head == 2:
        pen.line([(0.5 * width, 0), (reach + 0.12, -0.75)], 0.18)
        pen.ellipse(reach + 0.2, -0.78, 0.26, 0.17)
    elif head == 3:
        pen.ellipse(reach + 0.08, rise, 0.25)
        for x in (reach - 0.08, reach + 0.24):
            pen.line([(x, rise - 0.1), (x + 0.1, rise - pen.about(0.5))], 0.12)
    if tail == 1:
        pen.line([(-0.7 * width, 0), (-0.98, -pen.about(0.62))], 0.13)
    elif tail == 2:
        pen.line([(-0.7 * width, 0.1), (-0.8, 0.1)], 0.12)
        pen.ellipse(-0.82, 0.1, pen.about(0.2))
    elif tail == 3:
        pen.polygon([(-0.5 * width, 0), (-1.0, -pen.about(0.42)), (-1.0, pen.about(0.42))])
    if back == 1:
        for x in (-0.75, -0.15, 0.45):
            left = x * width
            pen.polygon([(left - 0.14, -0.3 * height), (left + 0.3, -0.3 * height), (left + 0.05, -height - 0.35)])
    elif back == 2:
        pen.ellipse(-0.1, -0.75 * height, 0.62 * width, pen.about(0.4))
    elif back == 3:
        pen.polygon([(0.3 * width, -0.3 * height), (-0.5 * width, -0.3 * height), (-0.75, -0.98), (-0.15, -0.8)])


def _draw_bloom(pen: Pen, code: Code) -> None:
    petals, form, centre, stem = code
    petals = (3, 4, 5, 7)[petals]
    # A bloom with a stem is a smaller flower, set higher.
    radius, y = (0.95, 0.0) if stem == 0 else (0.66, -0.34)
    for i in range(petals):
        turn = 360 * i / petals
        if form == 0:
            x0, y0 = around(0, y, 0.62 * radius, turn)
            pen.ellipse(x0, y0, pen.about((0.44, 0.4, 0.36, 0.27)[code[0]]) * radius)
        elif form == 1:
            half = (38, 32, 28, 20)[code[0]]
            sides = [around(0, y, 0.5 * radius, turn - half), around(0, y, 0.5 * radius, turn + half)]
            pen.polygon([(0, y), sides[0], around(0, y, 1.05 * radius, turn), sides[1]])
        elif form == 2:
            pen.line([(0, y), around(0, y, 0.9 * radius, turn)], pen.about(0.2) * radius)
        else:
            pen.line([(0, y), around(0, y, 0.7 * radius, turn)], 0.16 * radius)
            x0, y0 = around(0, y, 0.78 * radius, turn)
            pen.ellipse(x0, y0, pen.about(0.23) * radius)
    if stem:
        pen.line([(0, y), (0, 0.95)], 0.15)
    if stem == 2:
        pen.polygon([(0, 0.85), (0.2, 0.3), (0.85, 0.15), (0.6, 0.7)])
        pen.polygon([(0, 0.85), (-0.2, 0.3), (-0.85, 0.15), (-0.6, 0.7)])
    elif stem == 3:
        pen.polygon([(-0.6, 0.5), (0.6, 0.5), (0.42, 1.0), (-0.42, 1.0)])
    if centre == 0:
        pen.ellipse(0, y, 0.3 * radius)
    elif centre == 1:
        pen.ellipse(0, y, 0.46 * radius)
        pen.ellipse(0, y, pen.about(0.27) * radius, ink=False)
    else:
        pen.ellipse(0, y, 0.58 * radius)


def _draw_glyph(pen: Pen, code: Code) -> None:
    cells = _glyph_cells(code)
    edges = [-0.95 + 0.38 * i for i in range(6)]
    edges = [edges[0], *(edge + pen.about(1.0) * 0.03 - 0.03 for edge in edges[1:5]), edges[5]]
    for row, column in np.argwhere(cells):
        pen.box(edges[column], edges[row], edges[column + 1], edges[row + 1])


@cache
def species_codes() -> dict[str, tuple[Callable[[Pen, Code], None], Code]]:
    """For every species the function that draws it and its code of parts."""
    grown: dict[str, tuple[Callable[[Pen, Code], None], Code]] = {}
    for names, draw, codes in (
        (BEASTS, _draw_beast, _part_codes(_BEAST_PARTS, len(BEASTS))),
        (BLOOMS, _draw_bloom, _part_codes(_BLOOM_PARTS, len(BLOOMS))),
        (GLYPHS, _draw_glyph, _glyph_codes(len(GLYPHS))),
    ):
        grown.update({name: (draw, code) for name, code in zip(names, codes, strict=True)})
    return grown


def draw_species(pen: Pen, name: str) -> None:
    """Draw one individual of a species."""
    draw, code = species_codes()[name]
    draw(pen, code)
