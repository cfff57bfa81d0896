"""Zero-shot classification of a labelled corpus: each image goes to the concept whose prototype is most similar.

Not here: retrieval by captions (`caption_retrieval.py`), accuracies as a file (`evaluation_table.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ..embed.corpus import Corpus
from ..retrieval.concepts import fold
from ..retrieval.prototypes import PrototypeSet


@dataclass(frozen=True)
class ConceptAccuracy:
    """How well a model did on one concept.

    Attributes
    ----------
    concept
        Its name.
    value
        Share of its samples that came out right, 0 to 1.
    samples
        How many there were.
    """

    concept: str
    value: float
    samples: int


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
    per_class
        Of each concept that is some image's label, in the order of the prototypes.
    without_images
        Concepts that are no image's label; they were candidates all the same.
    unlabelled
        Rows without a label, which are left out.
    """

    top1: float
    mean_per_class: float
    images: int
    per_class: tuple[ConceptAccuracy, ...] = ()
    without_images: tuple[str, ...] = ()
    unlabelled: int = 0

    def __str__(self) -> str:
        candidates = len(self.per_class) + len(self.without_images)
        return (
            f"{100 * self.top1:.1f} % of {self.images:,} images of {len(self.per_class):,} concepts are most similar "
            f"to their own among {candidates:,}; {100 * self.mean_per_class:.1f} % in the mean over concepts"
        )


def zero_shot_accuracy(corpus: Corpus, prototypes: PrototypeSet, progress: Progress | None = None) -> ZeroShotAccuracy:
    """How often is an image's label its most similar concept?

    Labels meet concepts by folded name. Rows without a label are left out. Similarities in float32; the first of equal
    ones wins.

    Parameters
    ----------
    corpus
        With labels.
    prototypes
        Of every concept that an image may be taken for.
    progress
        Advanced by the rows that are done; None shows nothing.

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
    progress = progress or NoProgress()
    labels = corpus.column("label").to_pylist()
    known = {fold(name): number for number, name in enumerate(prototypes.names)}
    unknown = sorted({label for label in labels if label is not None and fold(label) not in known})
    if unknown:
        raise BadInput(f"{len(unknown)} labels of corpus {corpus.name!r} have no prototype, {unknown[0]!r} first")
    truth = np.array([-1 if label is None else known[fold(label)] for label in labels])
    if not (truth >= 0).any():
        raise BadInput(f"corpus {corpus.name!r} has no labels: zero-shot accuracy needs a labelled set")
    wide = prototypes.vectors.astype(np.float32).T
    best = []
    for block in corpus.scan("image"):
        best.append((block.vectors.astype(np.float32) @ wide).argmax(axis=1))
        progress.advance(len(block.vectors))
    right = (np.concatenate(best) == truth)[truth >= 0]
    labelled = truth[truth >= 0]
    samples = np.bincount(labelled, minlength=len(prototypes.names))
    hits = np.bincount(labelled, weights=right, minlength=len(prototypes.names))
    per_class = tuple(
        ConceptAccuracy(name, float(hits[number] / samples[number]), int(samples[number]))
        for number, name in enumerate(prototypes.names)
        if samples[number]
    )
    return ZeroShotAccuracy(
        float(right.mean()),
        float(np.mean([one.value for one in per_class])),
        len(right),
        per_class,
        tuple(name for name, number in zip(prototypes.names, samples, strict=True) if not number),
        int((truth < 0).sum()),
    )
