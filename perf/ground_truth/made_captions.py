"""Which rows would a caption name each concept in? Mentions drawn anew for images whose truth is known.

The same settings as in the simulation, so that one world can be captioned in several ways without being drawn or
embedded again. Not here: captions as text.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from tailwag.benchmarks.similarity_simulation import Captions


def made_mentions(
    shown: np.ndarray,
    prominence: np.ndarray,
    alike: np.ndarray,
    captions: Captions,
    generator: np.random.Generator,
    repeats: np.ndarray | None = None,
) -> np.ndarray:
    """Draw which captions name which concepts.

    Parameters
    ----------
    shown
        (N, C) bool: whether the image shows the concept.
    prominence
        (N, C) float64: how prominently, in standard deviations about a mean of 0; read where it is shown.
    alike
        (N, C) bool: whether the image shows what looks like the concept, and not the concept.
    captions
        Recall, its slope with prominence, false mentions.
    generator
        Of the draws.
    repeats
        (N,) int64: the row whose caption a row repeats; its own where it repeats none. None: no row does.

    Returns
    -------
    numpy.ndarray
        (N, C) bool.
    """
    rows, concepts = shown.shape
    recall = special.logit(generator.uniform(*captions.recall, size=concepts))
    chance = np.where(
        shown,
        special.expit(recall + captions.prominence * prominence),
        np.where(alike, captions.look_alikes_named, captions.false_mentions),
    )
    named = generator.random((rows, concepts)) < chance
    return named if repeats is None else named[repeats]


def standardised(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Measure (N, C) values in standard deviations of the rows that show each concept, about their mean."""
    result = np.zeros(values.shape)
    for concept in range(values.shape[1]):
        own = values[shown[:, concept], concept]
        if len(own) > 1 and own.std() > 0:
            result[:, concept] = np.where(shown[:, concept], (values[:, concept] - own.mean()) / own.std(), 0.0)
    return result
