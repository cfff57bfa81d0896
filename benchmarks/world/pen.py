"""A pen that draws silhouettes: filled forms on a square from -1 to 1, y downwards.

What it draws is in `shapes.py` and `species.py`; how silhouettes get colour and reach a picture is in `drawing.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

MASK_SIZE = 96
# Drawn at twice the size and averaged down: smooth edges at a third of the cost of three times the size.
_OVERSAMPLE = 2

Point = tuple[float, float]


class Pen:
    """Draws one jittered silhouette.

    Parameters
    ----------
    rng
        Source of the jitter: every coordinate drawn passes through a slight random stretch, and `about` varies
        the measures that a form is made of.
    jitter
        Relative spread of `about`, and of the stretch.
    """

    def __init__(self, rng: random.Random, jitter: float = 0.08) -> None:
        self._size = MASK_SIZE * _OVERSAMPLE
        self._image = Image.new("L", (self._size, self._size), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._rng = rng
        self._jitter = jitter
        self._stretch = (1 + rng.uniform(-jitter, jitter) / 2, 1 + rng.uniform(-jitter, jitter) / 2)

    def about(self, value: float) -> float:
        """The value, give or take the jitter."""
        return value * (1 + self._rng.uniform(-self._jitter, self._jitter))

    def _place(self, point: Point) -> Point:
        # The forms fill the inner 80 % of the mask: the outline and interpolation need the margin.
        half = self._size / 2
        return (half + half * 0.8 * point[0] * self._stretch[0], half + half * 0.8 * point[1] * self._stretch[1])

    def polygon(self, points: Sequence[Point], ink: bool = True) -> None:
        """Fill a polygon; `ink=False` cuts it out."""
        self._draw.polygon([self._place(point) for point in points], fill=255 * ink)

    def ellipse(self, x: float, y: float, rx: float, ry: float | None = None, ink: bool = True) -> None:
        """Fill an ellipse around (x, y); `ry=None` makes it a disc."""
        ry = rx if ry is None else ry
        left, top = self._place((x - rx, y - ry))
        right, bottom = self._place((x + rx, y + ry))
        self._draw.ellipse((left, top, right, bottom), fill=255 * ink)

    def box(self, x0: float, y0: float, x1: float, y1: float, ink: bool = True) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], ink)

    def line(self, points: Sequence[Point], width: float, ink: bool = True) -> None:
        """Draw a line of the given width with round joints and ends."""
        placed = [self._place(point) for point in points]
        pixels = max(1, round(width * self._size / 2 * 0.8))
        self._draw.line(placed, fill=255 * ink, width=pixels)
        for x, y in placed:
            self._draw.ellipse(
                (x - pixels / 2, y - pixels / 2, x + pixels / 2, y + pixels / 2),
                fill=255 * ink,
            )

    def regular(self, corners: int, radius: float = 1.0, turn: float = 0.0, x: float = 0.0, y: float = 0.0) -> None:
        """Fill a regular polygon with one corner upwards, turned clockwise by `turn` degrees."""
        self.polygon([around(x, y, radius, turn + 360 * i / corners) for i in range(corners)])

    def star(self, points: int, radius: float, inner: float, ink: bool = True, x: float = 0.0, y: float = 0.0) -> None:
        """Fill a star; `inner` is the radius of its inward corners."""
        corners = [around(x, y, radius if i % 2 == 0 else inner, 180 * i / points) for i in range(2 * points)]
        self.polygon(corners, ink)

    def mask(self) -> Image.Image:
        """What has been drawn, as an 8-bit mask of `MASK_SIZE` pixels."""
        return self._image.reduce(_OVERSAMPLE)


def around(x: float, y: float, radius: float, degrees: float) -> Point:
    """The point at a distance and a direction (0 is up, clockwise) from (x, y)."""
    angle = math.radians(degrees)
    return (x + radius * math.sin(angle), y - radius * math.cos(angle))
