"""Centred prototypes: the mean vector of an everyday vocabulary taken off, so that hubs no longer score high on all.

Not here: the vocabulary and its vectors (`background.py`), whether a corpus asks for it (`centring_choice.py`), making
the prototypes (`prototypes.py`).
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from tailwag.errors import BadInput, SpaceMismatch

from .background import Background, vocabulary_digest, vocabulary_texts
from .prototypes import MAX_LENGTH, PrototypeKind, PrototypeSet


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


def with_reason(recipe: str, reason: str) -> str:
    """Add to a recipe why its prototype is of its kind; brackets in the reason would end it, and become round ones."""
    return f"{recipe} [{kind_of(recipe)}: {reason.translate(_ROUND)}]"


def making_of(recipe: str) -> str:
    """Give a recipe without the reason for its kind: two prototypes of one space and making are one and the same.

    Examples
    --------
    >>> making_of('text "a dog" [plain: hub strength 0.54 on 2,000 rows is under 0.7]')
    'text "a dog"'
    """
    return _REASON.sub("", recipe)


def is_centred(recipe: str) -> bool:
    """Whether a prototype of this recipe is a centred one."""
    return _CENTRED.search(making_of(recipe)) is not None


def kind_of(recipe: str) -> PrototypeKind:
    """Which kind of prototype is it?"""
    return "centred" if is_centred(recipe) else "plain"


_MARK = ", less the mean of "
# At the very end of a recipe, since what goes before holds words that someone typed.
_REASON = re.compile(r" \[(plain|centred): [^\[\]]*\]$")
_CENTRED = re.compile(re.escape(_MARK) + r"\d+ texts \(vocabulary [0-9a-f]{8}\)$")
_ROUND = str.maketrans("[]", "()")
