"""Does a tail follow a power law? Its exponent and beginning, how good the fit is, and a log-normal beside it.

The method is that of Clauset, Shalizi and Newman (Power-Law Distributions in Empirical Data, SIAM Review 51, 2009).
Pure functions on arrays. Not here: the plain description of a tail (`long_tail.py`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from .long_tail import checked_frequencies

# Clauset et al. find an exponent from fewer points than this untrustworthy (section 3.2).
FEWEST_IN_TAIL = 50
REPLICATES = 100
# They rule a power law out below this, lest a poor fit pass too easily (section 4.1).
PLAUSIBLE = 0.1


@dataclass(frozen=True)
class PowerLaw:
    """A power law p(x) ∝ x^-exponent for x ≥ `beginning`, fitted to the commonest concepts. Prints as a sentence.

    Attributes
    ----------
    exponent, standard_error
        α and (α - 1) / √n.
    beginning
        The least frequency that belongs to the tail.
    tail, concepts
        Concepts in the tail, and all with a frequency above 0.
    distance
        Kolmogorov and Smirnov's: the greatest difference of the tail's distribution from the law's.
    p, replicates
        Share of samples from the fitted law that lie farther from their own fit, and how many were drawn; nan for 0.
        Under .1 a power law is implausible.
    likelihood_ratio, likelihood_p
        Vuong's normalised log likelihood ratio of the power law to a log-normal over the same tail, positive when the
        power law is likelier, and its p: above .1 the data do not tell the two apart.
    """

    exponent: float
    standard_error: float
    beginning: float
    tail: int
    concepts: int
    distance: float
    p: float
    replicates: int
    likelihood_ratio: float
    likelihood_p: float

    @property
    def plausible(self) -> bool | None:
        """Is a power law plausible? None where no samples were drawn."""
        return None if np.isnan(self.p) else self.p >= PLAUSIBLE

    def __str__(self) -> str:
        told = (
            f"the {self.tail:,} concepts from {self.beginning:,.0f} up fit a power law of exponent {self.exponent:.2f} "
            f"± {self.standard_error:.2f}"
        )
        if self.plausible is not None:
            told += f", which is {'plausible' if self.plausible else 'ruled out'} (p = {self.p:.2f})"
        better = "power law" if self.likelihood_ratio > 0 else "log-normal"
        if self.likelihood_p < PLAUSIBLE:
            return f"{told}; a {better} is likelier (p = {self.likelihood_p:.3f})."
        return f"{told}; a log-normal fits about as well (p = {self.likelihood_p:.2f})."


def fit_power_law(
    frequencies: np.ndarray,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    fewest: int = FEWEST_IN_TAIL,
    progress: Progress | None = None,
) -> PowerLaw:
    """Fit a power law to the commonest concepts, and test it.

    For every frequency that may begin the tail, α = 1 + n / Σ ln(xᵢ / beginning) (their equation 3.1, for quantities so
    large that they are as good as continuous); the beginning is that with the least distance (3.3). p is by the
    semi-parametric bootstrap of their section 4.1: each replicate draws the body from the data, the tail from the law,
    and is fitted anew. Of whole numbers it is rounded.

    Parameters
    ----------
    frequencies
        (C,) not negative; zeros are no part of any power law and are left out.
    replicates
        Samples that are drawn; p is good to about 1 / (2 √replicates). 0 draws none.
    seed
        Of the drawing.
    fewest
        The least number of concepts in the tail.
    progress
        Advanced by one a replicate.

    Raises
    ------
    BadInput
        When fewer than `fewest` concepts have a frequency above 0, or all of those have the same one.
    """
    present = np.sort(checked_frequencies(frequencies))
    present = present[present > 0]
    if len(present) < fewest or present[0] == present[-1]:
        raise BadInput(f"a power law needs {fewest} different concepts above 0; there are {len(present)}")
    exponent, beginning, distance, tail = scan_beginnings(present, fewest)
    generator, progress = np.random.default_rng(seed), progress or NoProgress()
    farther = 0
    body = present[present < beginning]
    whole = bool((present == np.rint(present)).all())
    for _ in range(replicates):
        in_tail = generator.binomial(len(present), tail / len(present))
        drawn = beginning * (1 - generator.random(in_tail)) ** (-1 / (exponent - 1))
        if whole:
            drawn = np.rint(drawn)  # counts have ties, which lie farther from a continuous law
        rest = generator.choice(body, len(present) - in_tail) if len(body) else np.empty(0)
        farther += scan_beginnings(np.sort(np.concatenate([rest, drawn])), fewest)[2] >= distance
        progress.advance()
    ratio, ratio_p = _against_log_normal(present, beginning)
    return PowerLaw(
        exponent=exponent,
        standard_error=(exponent - 1) / tail**0.5,
        beginning=beginning,
        tail=tail,
        concepts=len(present),
        distance=distance,
        p=farther / replicates if replicates else float("nan"),
        replicates=replicates,
        likelihood_ratio=ratio,
        likelihood_p=ratio_p,
    )


def scan_beginnings(ordered: np.ndarray, fewest: int = FEWEST_IN_TAIL) -> tuple[float, float, float, int]:
    """Which beginning of the tail gives the least distance from its power law?

    Parameters
    ----------
    ordered
        (C,) float64 above 0, rising.
    fewest
        The least number of concepts in the tail.

    Returns
    -------
    tuple[float, float, float, int]
        Exponent, beginning, distance, concepts in the tail.
    """
    logs = np.log(ordered)
    # Sums of logs from each place to the end.
    from_here = np.cumsum(logs[::-1])[::-1]
    first = np.flatnonzero(np.diff(ordered, prepend=-1.0))
    first = first[len(ordered) - first >= fewest]
    best = (float("nan"), float("nan"), np.inf, 0)
    for start in first:
        size = len(ordered) - start
        spread = from_here[start] - size * logs[start]
        if spread <= 0:
            continue
        slope = size / spread
        # Of x ≥ beginning: 1 - (x / beginning)^-(α - 1), beside the steps of the data from both sides.
        law = -np.expm1(-slope * (logs[start:] - logs[start]))
        steps = np.arange(size + 1) / size
        distance = max(np.abs(law - steps[:-1]).max(), np.abs(law - steps[1:]).max())
        if distance < best[2]:
            best = (float(1 + slope), float(ordered[start]), float(distance), int(size))
    return best


def _against_log_normal(present: np.ndarray, beginning: float) -> tuple[float, float]:
    """Compare the two laws over the same tail, the log-normal cut off at its beginning."""
    with warnings.catch_warnings():
        # The package reports its own division by zero where a cut-off log-normal has no mass; its answer is nan then.
        warnings.simplefilter("ignore")
        import powerlaw

        fit = powerlaw.Fit(present, xmin=beginning, discrete=False, verbose=False)
        ratio, p = fit.distribution_compare("power_law", "lognormal", normalized_ratio=True)
    return float(ratio), float(p)
