"""Where captions fall short of their images: concepts left out or named wrongly, at settable shares.

How a caption is worded is in `captions.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .scenes import Scene, SceneSampler
from .vocabulary import FAMILIES, KINDS, family_names


@dataclass(frozen=True)
class SlipShares:
    """Of all pairs of an image and a concept that it shows, what becomes of the concept in the caption.

    Attributes
    ----------
    omit
        Share that the caption leaves out.
    wrong
        Share in whose place the caption names another concept of the family, one that the image does not show.
    prominence
        How far leaving out a kind depends on it: 0 at random; 1 small things, and some kinds, up to twice as often and
        their opposites hardly ever. The share over all kinds stays `omit`.
    """

    omit: float = 0.0
    wrong: float = 0.0
    prominence: float = 0.0


class Slipper:
    """Decides which concepts of a scene its caption misses.

    Parameters
    ----------
    shares
        How often.
    sampler
        The world's frequencies: kinds that people name readily and frequent kinds are drawn independently, and the
        share left out is balanced over them.
    seed
        Decides which kinds are named readily.
    """

    def __init__(self, shares: SlipShares, sampler: SceneSampler, seed: int) -> None:
        self.shares = shares
        order = list(KINDS)
        random.Random(f"reticence/{seed}").shuffle(order)
        reticence = {kind: i / (len(order) - 1) - 0.5 for i, kind in enumerate(order)}
        mean = sum(sampler.weight("kind", kind) * value for kind, value in reticence.items())
        self._reticence = {kind: value - mean for kind, value in reticence.items()}

    def _omit_probability(self, scene: Scene, family: str, concept: str) -> float:
        if family != "kind" or self.shares.prominence == 0:
            return self.shares.omit
        sizes = [thing.size for thing in scene.things if thing.kind == concept]
        smallness = 0.5 - sum(sizes) / len(sizes)
        factor = 1 + self.shares.prominence * (smallness + self._reticence[concept])
        return min(max(self.shares.omit * factor, 0.0), 1.0 - self.shares.wrong)

    def slips(self, scene: Scene, rng: random.Random) -> dict[str, str | None]:
        """For every concept missed: None where it is left out, or the concept named in its place."""
        shown = scene.concepts()
        missed: dict[str, str | None] = {}
        for family in FAMILIES:
            names = family_names(family)
            for concept in names:
                if concept not in shown:
                    continue
                draw = rng.random()
                if draw < self.shares.wrong:
                    missed[concept] = rng.choice([name for name in names if name not in shown])
                elif draw < self.shares.wrong + self._omit_probability(scene, family, concept):
                    missed[concept] = None
        return missed
