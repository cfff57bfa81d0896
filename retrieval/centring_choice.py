"""Does a corpus ask for centred prototypes? By its labels where it has some, else by how strong its hubs are.

Not here: centring itself (`centring.py`), the option of the commands (`centring_option.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tailwag.errors import BadInput

from ..embed.corpus import Corpus, Side
from .background import Background
from .centring import centre
from .concepts import ConceptSet, fold
from .prototypes import PrototypeKind, PrototypeSet

Centre = Literal["auto", "yes", "no"]
# Hub strengths of .83 to .92 were measured where centring helps (CLIP) and of .50 to .65 where it does not (two small
# models): the line lies between. Three spaces are few to draw it by, so labels overrule it where there are any.
HUB_STRENGTH_TO_CENTRE = 0.7
# On 200 rows it comes out within a tenth of what it is on thousands; on fewer it would be a guess.
FEWEST_ROWS = 200
# Pictures that must show a concept, and not show it, for its labels to say which kind ranks better.
FEWEST_SHOWN = 5
# Rows that hubs are measured on, and that labels are taken from, at most; drawn once and for all by one seed.
SAMPLED_ROWS, LABELLED_ROWS = 2000, 20_000
_SEED = 0


@dataclass(frozen=True)
class CentringChoice:
    """Whether to centre, and why. Prints as ``centred: hub strength 0.87 on 2,000 rows is at least 0.7``.

    Attributes
    ----------
    centred
        The decision.
    reason
        Why, in words, for people and for records; empty where that was asked for.
    hub_strength
        What `measure_hub_strength` gave; None where something else decided.
    """

    centred: bool
    reason: str = ""
    hub_strength: float | None = None

    @property
    def kind(self) -> PrototypeKind:
        """The kind of prototype that is chosen."""
        return "centred" if self.centred else "plain"

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}" if self.reason else self.kind


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
    """Decide whether to centre: as wished, or for ``"auto"`` by hub strength on a sample of the corpus.

    Parameters
    ----------
    wish
        ``"yes"``, ``"no"`` or ``"auto"``.
    images
        (n, dimension) vectors of a sample of pictures. Fewer than `FEWEST_ROWS` tell too little: plain then.
    background
        The vocabulary.

    Raises
    ------
    BadInput
        For another wish.
    """
    if wish not in ("auto", "yes", "no"):
        raise BadInput(f"centring {wish!r} is none of auto, yes, no")
    if wish != "auto":
        return CentringChoice(wish == "yes")
    if len(images) < FEWEST_ROWS:
        return CentringChoice(False, f"{len(images):,} rows are under {FEWEST_ROWS} and too few to measure hubs on")
    strength = measure_hub_strength(images, background)
    centred = strength >= HUB_STRENGTH_TO_CENTRE
    side = "at least" if centred else "under"
    reason = f"hub strength {strength:.2f} on {len(images):,} rows is {side} {HUB_STRENGTH_TO_CENTRE}"
    return CentringChoice(centred, reason, strength)


def choose_by_labels(
    plain: PrototypeSet, centred: PrototypeSet, images: np.ndarray, shown: np.ndarray
) -> CentringChoice | None:
    """Decide whether to centre by which of the two ranks labelled pictures better.

    Parameters
    ----------
    plain, centred
        C prototypes, and the same centred.
    images
        (n, dimension) vectors of labelled pictures.
    shown
        (n, C) bool: which picture shows which concept.

    Returns
    -------
    CentringChoice or None
        By mean average precision over the concepts with at least `FEWEST_SHOWN` pictures that show them and as many
        that do not; None where there are fewer than two such concepts: labels then say too little.
    """
    number = shown.sum(axis=0)
    told = np.flatnonzero((number >= FEWEST_SHOWN) & (len(shown) - number >= FEWEST_SHOWN))
    if len(told) < 2:
        return None
    pictures = images.astype(np.float64)
    means = []
    for one in (plain, centred):
        similarities = pictures @ one.vectors[told].astype(np.float64).T
        ranked = [average_precision(own, shown[:, row]) for own, row in zip(similarities.T, told, strict=True)]
        means.append(float(np.mean(ranked)))
    reason = (
        f"mean average precision {means[1]:.3f} centred, {means[0]:.3f} plain, over {len(told):,} concepts with labels"
    )
    return CentringChoice(means[1] > means[0], reason)


def average_precision(similarities: np.ndarray, shown: np.ndarray) -> float:
    """How well do similarities rank the rows that show something before those that do not?

    Parameters
    ----------
    similarities
        (n,) float64.
    shown
        (n,) bool, true at least once.

    Returns
    -------
    float
        The mean over the shown rows of the precision at their rank. Rows of equal similarity share what they would get
        in a random order, nearly: each has the precision at the last of them.

    Examples
    --------
    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.8333333333333333
    """
    order = np.argsort(-similarities, kind="stable")
    ranked, hits = similarities[order], np.cumsum(shown[order])
    last = np.searchsorted(-ranked, -ranked, side="right")  # rows at least as similar
    return float((hits[last - 1] / last)[shown[order]].mean())


def choose_for_corpus(
    corpus: Corpus, prototypes: PrototypeSet, background: Background, side: Side, concepts: ConceptSet | None = None
) -> CentringChoice:
    """Decide whether to centre these prototypes for this corpus: by its label column, else by hub strength.

    Parameters
    ----------
    corpus, side
        What is to be compared.
    prototypes
        C plain ones.
    background
        The vocabulary in their space.
    concepts
        What the prototypes stand for, to find them in the label column; None disregards labels.
    """
    if concepts is not None and side == "image":
        labelled = labelled_sample(corpus, concepts)
        if labelled is not None:
            choice = choose_by_labels(prototypes, centre(prototypes, background), *labelled)
            if choice is not None:
                return choice
    return choose_centring("auto", sample_vectors(corpus, side), background)


def sample_vectors(corpus: Corpus, side: Side, rows: int = SAMPLED_ROWS) -> np.ndarray:
    """Take the vectors of a few rows, the same each time: (n, dimension) float16, n at most `rows`."""
    return _take(corpus, _draw(len(corpus), rows), [side])[0]


def labelled_sample(corpus: Corpus, concepts: ConceptSet) -> tuple[np.ndarray, np.ndarray] | None:
    """Take images whose label says what they show, the same each time.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray] or None
        (n, dimension) float16 vectors, and (n, C) bool: whose label is the concept's name or a synonym. None where
        the corpus has no labels.
    """
    offsets = corpus.offsets("label IS NOT NULL")
    if not len(offsets):
        return None
    vectors, labels = _take(corpus, offsets[_draw(len(offsets), LABELLED_ROWS)], ["image", "label"])
    said = np.array([fold(label) for label in labels])
    spellings = [[fold(name) for name in (one.name, *one.synonyms)] for one in concepts]
    return vectors, np.stack([np.isin(said, names) for names in spellings], axis=1)


def _draw(size: int, number: int) -> np.ndarray:
    if size <= number:
        return np.arange(size)
    return np.sort(np.random.default_rng(_SEED).choice(size, number, replace=False))


def _take(corpus: Corpus, offsets: np.ndarray, columns: list[str]) -> tuple[np.ndarray, list[str]]:
    if not len(offsets):
        return np.zeros((0, corpus.space.dimension), dtype=np.float16), []
    table = corpus.take_offsets(offsets, columns)
    flat = table.column(0).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    labels = table.column(1).to_pylist() if len(columns) > 1 else []
    return flat.reshape(-1, corpus.space.dimension), labels
