"""Simulated similarity histograms with the geometry of true CLIP: every row's truth is known, down to one in a million.

The histograms, and labels drawn from them as a person would give them. Not here: the estimators that are tried on them
(`analysis.calibration`), corpora with pictures (`world`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tailwag.errors import BadInput

from ..analysis.calibration.audit import Labelled
from ..analysis.calibration.strata import Stratum
from ..retrieval.counting.bins import BINS, EDGES

# Images that show a concept lie this much above the others at least, in standard deviations.
_NEAREST_MEAN = 3.5


@dataclass(frozen=True)
class Geometry:
    """How similarities to a concept lie, in robust standard deviations of the images that do not show it.

    Attributes
    ----------
    deviation
        That standard deviation, as a similarity; their median is 0.
    mean, between, within
        Of the images that show a concept: their mean over concepts, its standard deviation from concept to concept, and
        the standard deviation of the images of one concept.
    tail_start, tail_share, tail_scale
        Of the images that do not: normal up to the start, above it the share in an exponential tail that falls by a
        factor e over each scale.
    """

    deviation: float
    mean: float
    between: float
    within: float
    tail_start: float
    tail_share: float
    tail_scale: float

    def negatives(self) -> np.ndarray:
        """Give the (BINS,) probabilities of an image that does not show the concept."""
        edges = EDGES / self.deviation
        body = stats.norm.cdf(edges) / stats.norm.cdf(self.tail_start) * (1 - self.tail_share)
        tail = 1 - self.tail_share * np.exp(-np.maximum(edges - self.tail_start, 0) / self.tail_scale)
        return _closed(np.where(edges < self.tail_start, body, tail))

    def around(self, mean: float) -> np.ndarray:
        """Give the (BINS,) probabilities of images that are normal about a mean, with the spread of one concept."""
        return _closed(stats.norm.cdf((EDGES / self.deviation - mean) / self.within))


# Measured on 541 photographs with vectors of CLIP ViT-B/32, 24 names labelled by eye, 59 images that show one.
# Centred (the mean of 1,203 names taken off): positives 7.3 +- 2.3; of the others .168 lie over 1, .046 over 2, .0139
# over 3, .0042 over 4, .0015 over 5 standard deviations of .011. Plain cosine, about the median: positives 4.9 +- 1.5;
# .171, .039, .0072, .0017, .0002; standard deviation .016. How far apart the images of one concept lie is less sure
# than the sum: two or three photographs each, often of one series.
CENTRED = Geometry(0.011, mean=7.3, between=1.8, within=1.6, tail_start=2.0, tail_share=0.046, tail_scale=0.85)
COSINE = Geometry(0.016, mean=4.9, between=1.1, within=1.05, tail_start=2.0, tail_share=0.039, tail_scale=0.62)


@dataclass(frozen=True)
class Captions:
    """How captions name what images show.

    Attributes
    ----------
    recall
        Lowest and highest over concepts: the share of images that show a concept whose caption names it, at their mean
        similarity. Uniform in between.
    prominence
        By how many logits recall rises with a standard deviation of similarity.
    false_mentions
        The share of images that show nothing like it whose caption names it.
    look_alikes_named
        The share of look-alikes whose caption names it.
    """

    recall: tuple[float, float] = (0.5, 0.8)
    prominence: float = 0.0
    false_mentions: float = 1e-5
    look_alikes_named: float = 0.1


# Captions that name at random; that differ, and name what is prominent, as photographs with human captions showed;
# that seldom name what there is, as alt text may.
KINDS = {
    "random": Captions(),
    "prominence": Captions(recall=(0.3, 0.92), prominence=0.5),
    "seldom": Captions(recall=(0.05, 0.6), prominence=0.5),
}


@dataclass(frozen=True, eq=False)
class SimulatedHistograms:
    """Concepts whose every row is known.

    Attributes
    ----------
    rows, mentions
        (C, BINS) int64: all rows by their similarity, and those whose caption names the concept. What can be measured.
    true_rows, true_mentions
        (C, BINS) int64: of those, the rows that show the concept. What only the simulation knows.
    """

    rows: np.ndarray
    mentions: np.ndarray
    true_rows: np.ndarray
    true_mentions: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """(C,) int64: how many rows show each concept."""
        return self.true_rows.sum(axis=1)

    def label(
        self,
        concept: int,
        strata: Sequence[Stratum],
        known: Sequence[Labelled],
        more: Sequence[int],
        generator: np.random.Generator,
        *,
        captions: bool = True,
    ) -> list[Labelled]:
        """Label rows drawn at random from strata, without a mistake; give what is known afterwards.

        Parameters
        ----------
        concept
            Its position.
        strata, known
            The strata, and their labels so far.
        more
            How many rows of each are to be labelled beyond those.
        generator
            Of the draws.
        captions
            False for strata of a corpus without captions, where those that name nothing hold every row.
        """
        labelled = []
        for stratum, before, number in zip(strata, known, more, strict=True):
            named = self.true_mentions[concept]
            source = named if stratum.named else self.true_rows[concept] - (named if captions else 0)
            true = int(source[stratum.first : stratum.last].sum()) - before.true
            others = stratum.rows - before.rows - true
            drawn = int(generator.hypergeometric(true, others, number)) if number else 0
            labelled.append(Labelled(before.rows + number, before.true + drawn))
        return labelled


def simulate_histograms(
    prevalence: float,
    captions: Captions | None = None,
    *,
    concepts: int = 100,
    rows: int = 10_000_000,
    geometry: Geometry = CENTRED,
    look_alikes: float = 0.5,
    look_alikes_nearness: float = 2.5,
    seed: int = 0,
) -> SimulatedHistograms:
    """Simulate the similarities of a corpus to concepts that it shows equally often.

    Parameters
    ----------
    prevalence
        The share of rows that show each concept; the numbers are Poisson, 1 at least.
    captions
        How they name what images show; None for `Captions` as it stands.
    concepts, rows
        How many of each.
    geometry
        How similarities lie.
    look_alikes
        The median number of images that nearly show the concept, as a multiple of those that do; lognormal with a
        standard deviation of 1, and at most a third of all rows.
    look_alikes_nearness
        How far below the images that show it they lie, in standard deviations.
    seed
        Of everything.

    Raises
    ------
    BadInput
        For a prevalence that leaves no room for other rows.

    Examples
    --------
    >>> made = simulate_histograms(1e-3, concepts=3, rows=100_000)
    >>> made.rows.sum(axis=1)
    array([100000, 100000, 100000])
    """
    if not 0 < prevalence <= 0.5:
        raise BadInput(f"a prevalence of {prevalence:g} cannot be simulated: it lies above 0 and is at most 0.5")
    captions = captions or Captions()
    generator = np.random.default_rng(seed)
    made = np.zeros((4, concepts, BINS), dtype=np.int64)
    others = geometry.negatives()
    middles = (EDGES[:-1] + EDGES[1:]) / 2 / geometry.deviation
    for concept in range(concepts):
        true = min(max(1, int(generator.poisson(rows * prevalence))), rows)
        mean = max(generator.normal(geometry.mean, geometry.between), _NEAREST_MEAN)
        recall = special.logit(generator.uniform(*captions.recall))
        near = int(generator.poisson(true * look_alikes * np.exp(generator.standard_normal())))
        near = min(near, rows // 3, rows - true)
        shown = generator.multinomial(true, geometry.around(mean))
        alike = generator.multinomial(near, geometry.around(mean - look_alikes_nearness))
        rest = generator.multinomial(rows - true - near, others)
        named = generator.binomial(
            shown, special.expit(recall + captions.prominence * (middles - mean) / geometry.within)
        )
        wrong = generator.binomial(alike, captions.look_alikes_named)
        wrong += generator.binomial(rest, captions.false_mentions)
        made[:, concept] = shown + alike + rest, named + wrong, shown, named
    return SimulatedHistograms(*made)


def _closed(cumulative: np.ndarray) -> np.ndarray:
    """Turn (BINS + 1,) cumulative probabilities into (BINS,), with what lies beyond in the last bins."""
    share = np.diff(np.concatenate([[0.0], cumulative[1:-1], [1.0]]))
    return np.maximum(share, 0.0) / np.maximum(share, 0.0).sum()
