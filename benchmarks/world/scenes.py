"""What is in an image: one to three things of a kind, colour and texture before a background.

Sampling only: `drawing.py` turns a scene into pixels, `captions.py` into words.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from .vocabulary import FAMILIES, NUMBERS, family_names

# Share of scenes with several things in which all are of one kind ("three borvens"), and the share of those in which
# they look alike too.
_FLOCK_SHARE = 0.3
_ALIKE_SHARE = 0.5


@dataclass(frozen=True)
class Thing:
    """One object of a scene; `size` runs from 0 to 1 within what its number of companions allows."""

    kind: str
    colour: str
    texture: str
    size: float


@dataclass(frozen=True)
class Scene:
    """One to three things before a background."""

    things: tuple[Thing, ...]
    background: str

    @property
    def number(self) -> str:
        """How many things there are, in words."""
        return NUMBERS[len(self.things) - 1]

    def concepts(self) -> frozenset[str]:
        """Every concept of the vocabulary that the image truly shows."""
        seen = {self.number, self.background}
        for thing in self.things:
            seen.update((thing.kind, thing.colour, thing.texture))
        return frozenset(seen)


class SceneSampler:
    """Draws scenes whose kinds, colours, textures and backgrounds each follow a Zipf law.

    One, two and three things stay equally frequent whatever the exponent: how crowded images are changes how well
    anything in them is seen, and worlds of different exponents are to differ in frequencies alone.

    Parameters
    ----------
    exponent
        The concept of rank r has weight r ** -exponent in its family. 0 is a balanced world.
    seed
        Permutes which concept has which rank.
    """

    def __init__(self, exponent: float = 0.0, seed: int = 0) -> None:
        self.exponent = exponent
        self.ranked: dict[str, tuple[str, ...]] = {}
        self._weights: dict[str, dict[str, float]] = {}
        self._cumulative: dict[str, list[float]] = {}
        for family in FAMILIES:
            names = list(family_names(family))
            if family != "number":
                random.Random(f"ranks/{seed}/{family}").shuffle(names)
            self.ranked[family] = tuple(names)
            weights = [1.0 if family == "number" else rank**-exponent for rank in range(1, len(names) + 1)]
            self._weights[family] = dict(zip(names, weights, strict=True))
            self._cumulative[family] = list(itertools.accumulate(weights))

    def weight(self, family: str, name: str) -> float:
        """With what probability is a draw from the family this concept?"""
        return self._weights[family][name] / self._cumulative[family][-1]

    def _draw(self, rng: random.Random, family: str) -> str:
        return rng.choices(self.ranked[family], cum_weights=self._cumulative[family])[0]

    def sample(self, rng: random.Random, n_things: int | None = None) -> Scene:
        """Draw a scene; `n_things=None` draws the number too."""
        if n_things is None:
            n_things = NUMBERS.index(self._draw(rng, "number")) + 1
        flock = n_things > 1 and rng.random() < _FLOCK_SHARE
        alike = flock and rng.random() < _ALIKE_SHARE
        things: list[Thing] = []
        for _ in range(n_things):
            kind = things[0].kind if flock and things else self._draw(rng, "kind")
            colour = things[0].colour if alike and things else self._draw(rng, "colour")
            texture = things[0].texture if alike and things else self._draw(rng, "texture")
            things.append(Thing(kind, colour, texture, rng.random()))
        return Scene(tuple(things), self._draw(rng, "background"))
