"""Centred prototypes: the mean vector of an everyday vocabulary taken off, so that hubs no longer score high on all.

Not here: making the prototypes (`prototypes.py`), choosing their thresholds (`analysis/calibration/thresholds.py`).
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from typing import Literal

import numpy as np

from tailwag.errors import BadInput, SpaceMismatch

from ..embed.space import Space
from .prototypes import MAX_LENGTH, PrototypeSet, TextAndImageEncoder

Centre = Literal["auto", "yes", "no"]
# Hub strengths of .83 to .92 were measured where centring helps (CLIP) and of .54 where it does not (a small model):
# the line is drawn half way. Two kinds of space are few to draw it by, so labels overrule it where there are any.
HUB_STRENGTH_TO_CENTRE = 0.7


@dataclass(frozen=True, eq=False)
class Background:
    """The texts of a vocabulary as vectors of one space.

    Attributes
    ----------
    vectors
        (V, dimension) float16 unit rows.
    space
        The space they live in.
    digest
        Eight hexadecimal digits that tell this list of texts from another.
    """

    vectors: np.ndarray
    space: Space
    digest: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) or self.vectors.shape[1] != self.space.dimension:
            raise BadInput(
                f"a background needs vectors of shape (texts, {self.space.dimension}); got {self.vectors.shape}"
            )
        if not np.isfinite(self.vectors).all():
            raise BadInput("a vector of the background vocabulary is not finite: encode the vocabulary again")

    @property
    def mean(self) -> np.ndarray:
        """(dimension,) float64: what centring takes off."""
        return self.vectors.astype(np.float64).mean(axis=0)


@dataclass(frozen=True)
class CentringChoice:
    """Whether to centre, and why.

    Attributes
    ----------
    centred
        The decision.
    hub_strength
        What `measure_hub_strength` gave; None where the user decided.
    rows
        Pictures that it was measured on.
    """

    centred: bool
    hub_strength: float | None
    rows: int

    @property
    def reason(self) -> str:
        """The reason in words, for people and for records."""
        if self.hub_strength is None:
            return "as asked"
        side = "at least" if self.centred else "under"
        return f"hub strength {self.hub_strength:.2f} on {self.rows:,} rows is {side} {HUB_STRENGTH_TO_CENTRE}"


def vocabulary_texts() -> tuple[str, ...]:
    """Give the texts of the vocabulary that ships: ``'a dog'``, ``'a cat'``, …"""
    content = tomllib.loads((resources.files("tailwag.configs") / "vocabulary.toml").read_text("utf-8"))
    return tuple(content["template"].format(noun) for nouns in content["nouns"].values() for noun in nouns)


def encode_background(encoder: TextAndImageEncoder, texts: tuple[str, ...] | None = None) -> Background:
    """Encode a vocabulary; None takes the one that ships."""
    texts = vocabulary_texts() if texts is None else texts
    if not texts:
        raise BadInput("a background vocabulary needs at least one text")
    return Background(encoder.encode_texts(texts), encoder.space, vocabulary_digest(texts))


def vocabulary_digest(texts: tuple[str, ...]) -> str:
    """Name a list of texts by eight hexadecimal digits; their order does not matter."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:8]


def centre(prototypes: PrototypeSet, background: Background) -> PrototypeSet:
    """Take the mean vector of a vocabulary off every prototype.

    Parameters
    ----------
    prototypes
        Of the same space; none of them centred already.
    background
        The vocabulary.

    Returns
    -------
    PrototypeSet
        t - m for each prototype t, rounded to float16, not normalised; the recipes say so.

    Raises
    ------
    SpaceMismatch
        When the two live in different spaces.
    BadInput
        When a prototype is centred already, or comes out longer than exact counting allows.

    Notes
    -----
    The similarity x·(t - m) is the cosine less the picture's own mean over the vocabulary: a correction of hubs (Suzuki
    et al. 2013, "Centering similarity measures to reduce hubs") that needs no second product.
    """
    if prototypes.space.fingerprint != background.space.fingerprint:
        raise SpaceMismatch(
            f"the prototypes are in {prototypes.space.title}, the vocabulary in {background.space.title}: "
            "encode both with one model"
        )
    for name, recipe in zip(prototypes.names, prototypes.recipes, strict=True):
        if is_centred(recipe):
            raise BadInput(f"the prototype of {name!r} is centred already ({recipe}): centre it once")
    vectors = (prototypes.vectors.astype(np.float64) - background.mean).astype(np.float16)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if (lengths > MAX_LENGTH).any():
        worst = int(np.argmax(lengths))
        raise BadInput(
            f"centred, the prototype of {prototypes.names[worst]!r} has length {lengths[worst]:.3f}, "
            f"over {MAX_LENGTH}: it has little in common with the vocabulary; count it without centring"
        )
    size = len(background.vectors)
    recipes = tuple(centred_recipe(recipe, size, background.digest) for recipe in prototypes.recipes)
    return replace(prototypes, vectors=vectors, recipes=recipes)


def centred_recipe(recipe: str, texts: int | None = None, digest: str | None = None) -> str:
    """Say how a centred prototype is made, from how the plain one is; without numbers, for the vocabulary that ships.

    Needs no model, so that a saved count can be found again.
    """
    if texts is None or digest is None:
        shipped = vocabulary_texts()
        texts, digest = len(shipped), vocabulary_digest(shipped)
    return f"{recipe}{_MARK}{texts} texts (vocabulary {digest})"


def is_centred(recipe: str) -> bool:
    """Whether a prototype of this recipe is a centred one."""
    return _MARK in recipe


def measure_hub_strength(images: np.ndarray, background: Background) -> float:
    """How much do pictures differ in their mean similarity to everything, against what is left?

    Parameters
    ----------
    images
        (n, dimension) vectors of a sample of pictures, at least two.
    background
        The vocabulary.

    Returns
    -------
    float
        The standard deviation of the pictures' means over the vocabulary, over that of the residual once the means of
        pictures and of texts are taken off: 0 where no picture is a hub.

    Raises
    ------
    BadInput
        For fewer than two pictures, and where nothing is left beside the means.

    Notes
    -----
    The residual's variance comes from the (dimension, dimension) covariances of both sides, so that no (n, V) table is
    made: the mean of (x̃·ṽ)² over all pairs is tr(C_x C_v) for the centred x̃ and ṽ.
    """
    if images.ndim != 2 or len(images) < 2:
        raise BadInput(f"hub strength needs the vectors of two pictures or more; got shape {images.shape}")
    pictures, texts = images.astype(np.float64), background.vectors.astype(np.float64)
    means = pictures @ texts.mean(axis=0)
    pictures, texts = pictures - pictures.mean(axis=0), texts - texts.mean(axis=0)
    covariance = (pictures.T @ pictures) / len(pictures)
    residual = float(np.sqrt(max(np.sum(covariance * (texts.T @ texts)) / len(texts), 0.0)))
    if not residual > 1e-9:
        raise BadInput("pictures and vocabulary do not vary together: hub strength cannot be measured on them")
    return float(means.std()) / residual


def choose_centring(wish: Centre, images: np.ndarray, background: Background) -> CentringChoice:
    """Decide whether to centre: as wished, or for ``"auto"`` by hub strength on a sample of the corpus."""
    if wish not in ("auto", "yes", "no"):
        raise BadInput(f"centring {wish!r} is none of auto, yes, no")
    if wish != "auto":
        return CentringChoice(wish == "yes", None, len(images))
    strength = measure_hub_strength(images, background)
    return CentringChoice(strength >= HUB_STRENGTH_TO_CENTRE, strength, len(images))


_MARK = ", less the mean of "
