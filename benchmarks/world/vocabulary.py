"""The words of the world: 121 concepts in five families, with their synonyms and plurals.

How a concept looks is in `species.py` and `drawing.py`; how captions use the words is in `captions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

FAMILIES = ("kind", "colour", "texture", "number", "background")

SHAPES = (
    "circle", "square", "triangle", "star", "cross", "heart", "crescent", "arrow", "ring", "diamond",
    "semicircle", "droplet", "bolt", "gear", "hourglass", "key", "anchor", "mushroom", "bell", "fish",
    "house", "umbrella", "crown", "spiral", "ladder", "cup", "hammer", "tree",
)  # fmt: skip

# Invented names: any two differ by an edit distance of at least 4 and in their first three letters, so that a
# mistyped or a neighbouring name cannot be taken for another; each is two tokens of open_clip's tokenizer.
BEASTS = (
    "dendox", "meegent", "quergen", "wiskent", "durbard", "derbel", "paldax", "fongum", "forvent", "bauxox", "flumba",
    "klooro", "draupard", "wirliff", "poolune", "werbock", "plovox", "firbot", "savock", "donkin", "viskorn", "plimorn",
)  # fmt: skip
BLOOMS = (
    "glaukel", "pluskip", "loodock", "jondash", "futiff", "skidot", "varlip", "yeekip", "weebum", "quotin", "virmax",
    "leetot", "raubin", "jaumith", "breedisk", "flavrax", "lilmel", "paulbent",
)  # fmt: skip
GLYPHS = (
    "toolden", "yoonkorn", "kleenka", "fadune", "gangot", "trambot", "boombo", "drindock", "hongisk", "skepel", "kurmo",
    "vivard", "servorn", "quarisk", "fleedith", "beerlox", "havrum", "goldip", "nerith", "snapip", "druvip", "wulborn",
)  # fmt: skip
SPECIES = BEASTS + BLOOMS + GLYPHS
KINDS = SHAPES + SPECIES

COLOURS = (
    "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
TEXTURES = ("plain", "striped", "dotted", "halved", "ringed", "speckled")
NUMBERS = ("one", "two", "three")
BACKGROUNDS = ("grass", "sand", "snow", "water", "brick", "night", "wood", "paper", "dusk", "marble")

# Captions use a synonym now and then: whoever counts by words alone misses those images.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc",),
    "crescent": ("moon",),
    "bolt": ("lightning bolt",),
    "gear": ("cogwheel",),
    "cup": ("mug",),
    "mushroom": ("toadstool",),
    "house": ("cottage",),
    "umbrella": ("parasol",),
    "purple": ("violet",),
    "grey": ("gray",),
    "wood": ("planks",),
    "snow": ("ice",),
}
PLURALS = {"cross": "crosses", "fish": "fish"}


@dataclass(frozen=True)
class WorldConcept:
    """One concept of the world: its name, the family it belongs to and other words for it."""

    name: str
    family: str
    synonyms: tuple[str, ...] = ()


def family_names(family: str) -> tuple[str, ...]:
    """Which concepts does a family hold, in the world's order?"""
    return {
        "kind": KINDS,
        "colour": COLOURS,
        "texture": TEXTURES,
        "number": NUMBERS,
        "background": BACKGROUNDS,
    }[family]


@cache
def concepts() -> tuple[WorldConcept, ...]:
    """All concepts of the world, family by family; names are unique over the families."""
    return tuple(
        WorldConcept(name, family, SYNONYMS.get(name, ())) for family in FAMILIES for name in family_names(family)
    )


def plural(word: str) -> str:
    """The plural that captions use: `plural("cross") == "crosses"`."""
    return PLURALS.get(word, word + "s")
