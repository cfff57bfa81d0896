"""Caption-to-image retrieval over a captioned corpus, concept by concept: is a caption's own image among its first k?

Not here: which captions name a concept (`retrieval/captions`), classification (`zero_shot.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ..embed.corpus import Corpus
from ..retrieval.captions.counting import count_captions
from ..retrieval.concepts import ConceptSet
from .zero_shot import ConceptAccuracy

MOST_ROWS = 200_000
_BLOCK = 256


@dataclass(frozen=True)
class RetrievalRecall:
    """Recall at k over the captions of a corpus.

    Attributes
    ----------
    k
        The own image is to be among so many.
    recall
        Share of all captions whose own image is.
    captions, images
        Captions that were asked, and different images they were asked of.
    per_concept
        Over the captions that name the concept (all its words, in any form), in the order of the set.
    without_captions
        Concepts that no caption names.
    empty_captions
        Captions without a word, which are left out.
    """

    k: int
    recall: float
    captions: int
    images: int
    per_concept: tuple[ConceptAccuracy, ...]
    without_captions: tuple[str, ...]
    empty_captions: int

    def __str__(self) -> str:
        return (
            f"of {self.captions:,} captions {100 * self.recall:.1f} % have their own among the first {self.k} of "
            f"{self.images:,} images; {len(self.per_concept):,} concepts are named"
        )


def retrieval_recall(
    corpus: Corpus, concepts: ConceptSet, k: int = 10, progress: Progress | None = None
) -> RetrievalRecall:
    """For which concepts do captions find their own image?

    Rows with the same image bytes (sha256) are one image. A caption finds its own when fewer than k other images are
    strictly more similar to it; similarities in float32.

    Parameters
    ----------
    corpus
        With captions, of at most 200,000 rows: every caption is compared with every image.
    concepts
        Whose captions are looked at, each by itself.
    k
        Of recall at k.
    progress
        Advanced by the captions that are done.

    Raises
    ------
    BadInput
        When the corpus is larger, has no captions, or k is not between 1 and the number of images.
    """
    if len(corpus) > MOST_ROWS:
        raise BadInput(
            f"corpus {corpus.name!r} has {len(corpus):,} rows: every caption is compared with every image, which is "
            f"for {MOST_ROWS:,} at most; embed a sample"
        )
    progress = progress or NoProgress()
    captions = corpus.column("caption").to_pylist()
    asked = np.array([bool(caption and caption.strip()) for caption in captions], dtype=bool)
    if not asked.any():
        raise BadInput(f"corpus {corpus.name!r} has no captions: retrieval needs a captioned set")
    image, text = (
        np.concatenate([block.vectors for block in corpus.scan(side)]).astype(np.float32) for side in ("image", "text")
    )
    first, image_of_row = _different(corpus.column("sha256").to_pylist())
    if not 1 <= k <= len(first):
        raise BadInput(f"recall at {k} needs 1 to {len(first):,}, the number of different images")
    images = image[first]
    found = np.zeros(len(captions), dtype=bool)
    for start in range(0, len(captions), _BLOCK):
        scores = text[start : start + _BLOCK] @ images.T
        own = np.take_along_axis(scores, image_of_row[start : start + _BLOCK, None], axis=1)
        found[start : start + _BLOCK] = (scores > own).sum(axis=1) < k
        progress.advance(len(scores))
    mentions = count_captions(corpus, concepts, keep="words").mentions
    assert mentions is not None
    kept = asked[mentions.offsets]
    concept_of, right = mentions.concepts[kept], found[mentions.offsets[kept]]
    samples = np.bincount(concept_of, minlength=len(concepts))
    hits = np.bincount(concept_of, weights=right, minlength=len(concepts))
    per_concept = tuple(
        ConceptAccuracy(name, float(hits[number] / samples[number]), int(samples[number]))
        for number, name in enumerate(concepts.names)
        if samples[number]
    )
    return RetrievalRecall(
        k=k,
        recall=float(found[asked].mean()),
        captions=int(asked.sum()),
        images=len(first),
        per_concept=per_concept,
        without_captions=tuple(name for name, size in zip(concepts.names, samples, strict=True) if not size),
        empty_captions=int((~asked).sum()),
    )


def _different(digests: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Give the first row of each different image, and each row's image; a row without a digest is one of its own."""
    positions: dict[str, int] = {}
    image_of_row = np.empty(len(digests), dtype=np.int64)
    first = []
    for row, digest in enumerate(digests):
        key = digest or f"row {row}"
        if key not in positions:
            positions[key] = len(first)
            first.append(row)
        image_of_row[row] = positions[key]
    return np.array(first, dtype=np.int64), image_of_row
