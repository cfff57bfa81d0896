"""From a scene to words: full captions with settable slips, and the short ones that training needs.

Which concepts a caption leaves out or names wrongly is decided by `slips.py`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from .scenes import Scene, Thing
from .vocabulary import SYNONYMS, plural

# concept -> None where the caption leaves it out, or the other concept that it names instead
Slips = Mapping[str, str | None]

_FRAMES = ("a photo of {}", "a picture of {}", "{}", "a photo of {}")
_SYNONYM_SHARE = 0.15


class _Writer:
    """Spells concepts: slips applied, a synonym now and then."""

    def __init__(self, rng: random.Random, slips: Slips) -> None:
        self._rng = rng
        self._slips = slips

    def word(self, concept: str) -> str:
        """The word for a concept; empty where it is left out."""
        named = self._slips.get(concept, concept)
        if named is None:
            return ""
        synonyms = SYNONYMS.get(named)
        if synonyms and self._rng.random() < _SYNONYM_SHARE:
            return self._rng.choice(synonyms)
        return named

    def phrase(self, thing: Thing, many: bool = False) -> str:
        """A thing without its article: "striped red star"."""
        kind = self.word(thing.kind) or "thing"
        words = (self.word(thing.texture), self.word(thing.colour), plural(kind) if many else kind)
        return " ".join(word for word in words if word)


def with_article(phrase: str) -> str:
    """`with_article("orange star") == "an orange star"`."""
    return f"{'an' if phrase[0] in 'aeiou' or phrase.startswith('hour') else 'a'} {phrase}"


def before_background(phrase: str, background: str) -> str:
    """`before_background("a star", "dusk") == "a star at dusk"`."""
    return f"{phrase} {'at' if background in ('night', 'dusk') else 'on'} {background}"


def _things_in_words(scene: Scene, writer: _Writer) -> str:
    number = writer.word(scene.number)
    first = scene.things[0]
    if len(scene.things) == 1:
        phrase = writer.phrase(first)
        return f"{number} {phrase}" if number else with_article(phrase)
    if len({(thing.kind, thing.colour, thing.texture) for thing in scene.things}) == 1:
        phrase = writer.phrase(first, many=True)
        return f"{number} {phrase}" if number else phrase
    phrases = [with_article(writer.phrase(thing)) for thing in scene.things]
    listed = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"{number} things: {listed}" if number else listed


def write_caption(scene: Scene, rng: random.Random, slips: Slips | None = None) -> str:
    """Write a caption that names every concept of the scene but for the slips.

    Parameters
    ----------
    scene
        What the image shows.
    rng
        Chooses the frame and the synonyms.
    slips
        Concepts to leave out (None) or to name wrongly. None makes none.
    """
    writer = _Writer(rng, slips or {})
    text = rng.choice(_FRAMES).format(_things_in_words(scene, writer))
    ground = writer.word(scene.background)
    return before_background(text, ground) if ground else text


def _one_attribute(scene: Scene, thing: Thing, rng: random.Random, writer: _Writer) -> str:
    family = rng.choices(("colour", "texture", "number", "background"), (3, 4, 3, 2))[0]
    if family == "number":
        return f"{scene.number} {'thing' if len(scene.things) == 1 else 'things'}"
    if family == "background":
        things = "things" if len(scene.things) > 1 and rng.random() < 0.5 else "a thing"
        return before_background(things, writer.word(scene.background))
    return f"{with_article(writer.word(thing.colour if family == 'colour' else thing.texture))} thing"


def training_caption(scene: Scene, rng: random.Random, kind_share: float = 0.4) -> str:
    """Write a caption for training: true, and often naming a single concept.

    Full captions alone teach kinds slowly; a share that names one kind and nothing else makes the text side find
    the word that matters. Few are repeated within a batch, which the contrastive loss would count as wrong.
    """
    writer = _Writer(rng, {})
    thing = rng.choice(scene.things)
    draw = rng.random()
    frame = rng.choice(_FRAMES)
    if draw < kind_share:
        return frame.format(with_article(writer.word(thing.kind)))
    rest = (draw - kind_share) / (1 - kind_share)
    if rest < 0.2:
        return frame.format(_one_attribute(scene, thing, rng, writer))
    if rest < 0.45:
        left_out = {concept: None for concept in (thing.colour, thing.texture) if rng.random() < 0.45}
        text = frame.format(with_article(_Writer(rng, left_out).phrase(thing)))
        return before_background(text, writer.word(scene.background)) if rng.random() < 0.35 else text
    return write_caption(scene, rng, {concept: None for concept in sorted(scene.concepts()) if rng.random() < 0.2})
