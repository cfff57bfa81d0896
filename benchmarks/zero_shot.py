"""Zero-shot classification of a labelled corpus: each image goes to the concept whose prototype is most similar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from ..embed.corpus import Corpus
from ..retrieval.prototypes import PrototypeSet


@dataclass(frozen=True)
class ZeroShotAccuracy:
    """Accuracy over the labelled rows.

    Attributes
    ----------
    top1
        Share of images whose label is the most similar concept.
    mean_per_class
        The same per label, averaged over labels.
    images
        How many labelled images there were.
    """

    top1: float
    mean_per_class: float
    images: int


def zero_shot_accuracy(corpus: Corpus, prototypes: PrototypeSet) -> ZeroShotAccuracy:
    """How often is an image's label its most similar concept?

    Rows without a label are left out. Similarities in float32; the first of equal ones wins.

    Raises
    ------
    BadInput
        When no row has a label, or a label has no prototype.
    SpaceMismatch
        When the prototypes live in another space.
    """
    prototypes.space.require_same(
        corpus.space,
        here="the prototypes are",
        there=f"corpus {corpus.name!r} holds",
        remedy="make the prototypes with the corpus's model",
    )
    labels = corpus.column("label").to_pylist()
    known = {name: number for number, name in enumerate(prototypes.names)}
    unknown = sorted({label for label in labels if label is not None and label not in known})
    if unknown:
        raise BadInput(f"{len(unknown)} labels of corpus {corpus.name!r} have no prototype, {unknown[0]!r} first")
    truth = np.array([-1 if label is None else known[label] for label in labels])
    if not (truth >= 0).any():
        raise BadInput(f"corpus {corpus.name!r} has no labels: zero-shot accuracy needs a labelled set")
    wide = prototypes.vectors.astype(np.float32).T
    best = np.concatenate([(block.vectors.astype(np.float32) @ wide).argmax(axis=1) for block in corpus.scan("image")])
    right = (best == truth)[truth >= 0]
    labelled = truth[truth >= 0]
    per_class = [right[labelled == label].mean() for label in np.unique(labelled)]
    return ZeroShotAccuracy(float(right.mean()), float(np.mean(per_class)), len(right))
