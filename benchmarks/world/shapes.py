"""The 28 shapes that have everyday names, drawn with a `Pen`.

The invented species are in `species.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from .pen import Pen, around


def _circle(pen: Pen) -> None:
    pen.ellipse(0, 0, 0.95)


def _square(pen: Pen) -> None:
    side = pen.about(0.82)
    pen.box(-side, -side, side, side)


def _triangle(pen: Pen) -> None:
    pen.polygon([(0, -0.95), (pen.about(0.95), 0.8), (-pen.about(0.95), 0.8)])


def _star(pen: Pen) -> None:
    pen.star(5, 1.0, pen.about(0.42))


def _cross(pen: Pen) -> None:
    arm = pen.about(0.3)
    pen.box(-0.95, -arm, 0.95, arm)
    pen.box(-arm, -0.95, arm, 0.95)


def _heart(pen: Pen) -> None:
    lobe = pen.about(0.48)
    pen.ellipse(-0.45, -0.35, lobe)
    pen.ellipse(0.45, -0.35, lobe)
    pen.polygon([(-0.9, -0.18), (0.9, -0.18), (0, 0.95)])
    pen.polygon([(-0.45, -0.6), (0.45, -0.6), (0.5, 0), (-0.5, 0)])
    pen.polygon([(-0.16, -0.95), (0.16, -0.95), (0, -0.5)], ink=False)


def _crescent(pen: Pen) -> None:
    pen.ellipse(0, 0, 0.95)
    pen.ellipse(pen.about(0.48), -0.1, 0.75, ink=False)


def _arrow(pen: Pen) -> None:
    shaft = pen.about(0.2)
    pen.box(-0.95, -shaft, 0.2, shaft)
    pen.polygon([(0.1, -0.7), (1.0, 0), (0.1, 0.7)])


def _ring(pen: Pen) -> None:
    pen.ellipse(0, 0, 0.95)
    pen.ellipse(0, 0, pen.about(0.5), ink=False)


def _diamond(pen: Pen) -> None:
    pen.polygon([(0, -1), (pen.about(0.62), 0), (0, 1), (-pen.about(0.62), 0)])


def _semicircle(pen: Pen) -> None:
    pen.ellipse(0, 0.45, 1.0, 1.15)
    pen.box(-1.2, pen.about(0.42), 1.2, 1.7, ink=False)


def _droplet(pen: Pen) -> None:
    pen.ellipse(0, 0.35, pen.about(0.58))
    pen.polygon([(0, -1), (0.54, 0.2), (-0.54, 0.2)])


def _bolt(pen: Pen) -> None:
    pen.polygon([(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1), (0.6, -0.25), (0.05, -0.25), (0.5, -1)])


def _gear(pen: Pen) -> None:
    tooth = pen.about(0.17)
    for i in range(8):
        pen.line([(0, 0), around(0, 0, 0.85, 45 * i)], 2 * tooth)
    pen.ellipse(0, 0, 0.7)
    pen.ellipse(0, 0, pen.about(0.28), ink=False)


def _hourglass(pen: Pen) -> None:
    width = pen.about(0.75)
    pen.polygon([(-width, -0.95), (width, -0.95), (0.08, 0), (width, 0.95), (-width, 0.95), (-0.08, 0)])


def _key(pen: Pen) -> None:
    pen.ellipse(-0.55, 0, pen.about(0.42))
    pen.ellipse(-0.55, 0, 0.18, ink=False)
    pen.box(-0.2, -0.13, 1.0, 0.13)
    pen.box(0.45, 0, 0.62, 0.48)
    pen.box(0.8, 0, 0.98, 0.48)


def _anchor(pen: Pen) -> None:
    pen.ellipse(0, -0.72, 0.26)
    pen.ellipse(0, -0.72, 0.1, ink=False)
    pen.box(-0.12, -0.5, 0.12, 0.9)
    pen.box(-0.5, -0.35, 0.5, -0.12)
    hook = [around(0, 0.05, pen.about(0.8), angle) for angle in range(100, 261, 20)]
    pen.line(hook, 0.24)
    pen.polygon([(0.95, -0.3), (1.0, 0.3), (0.5, 0.05)])
    pen.polygon([(-0.95, -0.3), (-1.0, 0.3), (-0.5, 0.05)])


def _mushroom(pen: Pen) -> None:
    pen.ellipse(0, 0, 0.95, pen.about(0.85))
    pen.box(-1.2, 0, 1.2, 1.2, ink=False)
    stem = pen.about(0.3)
    pen.box(-stem, -0.1, stem, 0.9)


def _bell(pen: Pen) -> None:
    pen.ellipse(0, -0.3, pen.about(0.55), 0.6)
    pen.polygon([(-0.55, -0.3), (0.55, -0.3), (0.9, 0.6), (-0.9, 0.6)])
    pen.ellipse(0, 0.72, 0.22)


def _fish(pen: Pen) -> None:
    pen.ellipse(0.2, 0, 0.75, pen.about(0.48))
    pen.polygon([(-0.35, 0), (-1.0, -0.55), (-1.0, 0.55)])
    pen.ellipse(0.55, -0.12, 0.1, ink=False)


def _house(pen: Pen) -> None:
    pen.polygon([(0, -1), (1.0, -0.1), (-1.0, -0.1)])
    wall = pen.about(0.7)
    pen.box(-wall, -0.15, wall, 0.9)
    pen.box(-0.2, 0.3, 0.2, 1.0, ink=False)


def _umbrella(pen: Pen) -> None:
    pen.ellipse(0, 0, 1.0, pen.about(0.9))
    pen.box(-1.2, -0.02, 1.2, 1.2, ink=False)
    for x in (-0.66, 0, 0.66):
        pen.ellipse(x, 0.02, 0.3, 0.2, ink=False)
    pen.line([(0, -0.3), (0, 0.75), (0.12, 0.88), (0.32, 0.8)], 0.17)


def _crown(pen: Pen) -> None:
    tip = pen.about(0.7)
    pen.polygon(
        [(-0.9, 0.7), (-1.0, -tip), (-0.45, 0.0), (0, -0.9), (0.45, 0.0), (1.0, -tip), (0.9, 0.7)],
    )


def _spiral(pen: Pen) -> None:
    pen.line([around(0, 0, 0.06 + 0.78 * i / 40, 18 * i) for i in range(41)], pen.about(0.2))


def _ladder(pen: Pen) -> None:
    side = pen.about(0.42)
    for x in (-side, side):
        pen.box(x - 0.11, -1, x + 0.11, 1)
    for y in (-0.7, -0.23, 0.23, 0.7):
        pen.box(-side, y - 0.1, side, y + 0.1)


def _cup(pen: Pen) -> None:
    pen.ellipse(0.5, -0.05, pen.about(0.45))
    pen.ellipse(0.5, -0.05, 0.22, ink=False)
    pen.polygon([(-0.85, -0.65), (0.5, -0.65), (0.35, 0.75), (-0.7, 0.75)])


def _hammer(pen: Pen) -> None:
    pen.box(-0.15, -0.5, 0.15, 1.0)
    pen.box(-0.55, -0.95, 0.55, -0.35)
    pen.polygon([(0.5, -0.95), (pen.about(0.95), -0.45), (0.5, -0.45)])


def _tree(pen: Pen) -> None:
    for top, width in ((-1.0, 0.5), (-0.55, 0.68), (-0.1, 0.85)):
        pen.polygon([(0, top), (pen.about(width), top + 0.75), (-pen.about(width), top + 0.75)])
    pen.box(-0.16, 0.6, 0.16, 1.0)


DRAW_SHAPE: dict[str, Callable[[Pen], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "ring": _ring,
    "diamond": _diamond,
    "semicircle": _semicircle,
    "droplet": _droplet,
    "bolt": _bolt,
    "gear": _gear,
    "hourglass": _hourglass,
    "key": _key,
    "anchor": _anchor,
    "mushroom": _mushroom,
    "bell": _bell,
    "fish": _fish,
    "house": _house,
    "umbrella": _umbrella,
    "crown": _crown,
    "spiral": _spiral,
    "ladder": _ladder,
    "cup": _cup,
    "hammer": _hammer,
    "tree": _tree,
}
