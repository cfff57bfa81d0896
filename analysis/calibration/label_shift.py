"""How common is each class of a closed vocabulary? Winners and probabilities, corrected by labelled rows.

Pure functions on (N, C) probabilities or logits. Not here: whether the world is closed (`closed_world.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import log_softmax, softmax

from tailwag.errors import BadInput

_MOST_STEPS = 20_000
_STILL = 1e-8


@dataclass(frozen=True, eq=False)
class Temperature:
    """Bias-corrected temperature scaling: log-odds are logits times `slope`, plus `bias`.

    Attributes
    ----------
    slope
        One over the temperature.
    bias
        (C,) float64, summing to zero.
    priors
        (C,) float64: shares of the classes among the labelled rows, which the probabilities presuppose.
    """

    slope: float
    bias: np.ndarray
    priors: np.ndarray

    def probabilities(self, similarities: np.ndarray) -> np.ndarray:
        """Turn (N, C) similarities into (N, C) probabilities under the labelled rows' priors."""
        return softmax(self.slope * similarities.astype(np.float64) + self.bias, axis=1)


def fit_temperature(similarities: np.ndarray, labels: np.ndarray) -> Temperature:
    """Fit slope and biases to labelled rows by maximum likelihood, with a weak pull of the biases to zero.

    Parameters
    ----------
    similarities
        (n, C) similarities of the labelled rows.
    labels
        (n,) class numbers; every class at least once.

    Raises
    ------
    BadInput
        When there are no labels, or a class has none.

    Notes
    -----
    Alexandari, Kundaje and Shrikumar 2020, "Maximum likelihood with bias-corrected calibration is hard-to-beat at label
    shift adaptation", ICML.
    """
    labels = np.asarray(labels)
    if similarities.ndim != 2 or not len(labels) or len(labels) != len(similarities):
        raise BadInput(f"{len(labels)} labels of similarities of shape {similarities.shape}: give each row its label")
    rows, classes = similarities.shape
    if labels.min() < 0 or labels.max() >= classes:
        raise BadInput(f"labels run from {labels.min()} to {labels.max()}, the classes from 0 to {classes - 1}")
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise BadInput(f"class {int(np.argmin(counts))} has no labelled row: leave it out or label one")
    wide = similarities.astype(np.float64)
    # Similarities of CLIP spread by a few hundredths: in units of their spread the slope is near 1 for the search.
    spread = float(wide.std()) or 1.0
    one_hot = np.eye(classes)[labels]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, bias = np.exp(parameters[0]), parameters[1:]
        logits = slope * wide / spread + bias
        wrong = softmax(logits, axis=1) - one_hot
        value = -float((one_hot * log_softmax(logits, axis=1)).sum()) + float(bias @ bias) / 2
        return value / rows, np.append((wrong * wide / spread).sum() * slope, wrong.sum(axis=0) + bias) / rows

    found = minimize(
        loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B", bounds=[(-7, 7)] + [(None, None)] * classes
    )
    bias = found.x[1:] - found.x[1:].mean()
    return Temperature(float(np.exp(found.x[0])) / spread, bias, counts / rows)


def estimate_priors(probabilities: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Estimate the shares of the classes by expectation maximisation.

    Parameters
    ----------
    probabilities
        (N, C) calibrated probabilities under `priors`.
    priors
        (C,) shares that the probabilities presuppose, all positive.

    Returns
    -------
    numpy.ndarray
        (C,) shares, summing to 1.

    Raises
    ------
    BadInput
        When shapes or priors do not fit, or the shares do not settle.

    Notes
    -----
    Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities",
    Neural Computation 14, equations 2.7 to 2.9.

    Examples
    --------
    >>> estimate_priors(np.array([[.9, .1], [.9, .1], [.1, .9]]), np.array([.5, .5])).round(3)
    array([0.708, 0.292])
    """
    probabilities = _checked(probabilities)
    priors = np.asarray(priors, np.float64)
    if priors.shape != (probabilities.shape[1],) or not (priors > 0).all():
        raise BadInput(f"{probabilities.shape[1]} classes need as many priors, all over 0; got {priors}")
    ratio = probabilities / priors
    shares = priors / priors.sum()
    for _ in range(_MOST_STEPS):
        weighted = ratio * shares
        renewed = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(renewed - shares).max() < _STILL:
            return renewed
        shares = renewed
    raise BadInput(
        f"the shares of {len(priors)} classes have not settled after {_MOST_STEPS:,} steps: their probabilities hardly "
        "differ; leave out classes that look alike"
    )


def adjust_counts(shares: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Correct the shares of the winners for how winners err: adjusted classify-and-count.

    Parameters
    ----------
    shares
        (C,) shares of the rows that each class wins.
    confusion
        (C, C): of labelled rows of class j, the share that class i wins, in row i, column j.

    Returns
    -------
    numpy.ndarray
        (C,) shares, none negative, summing to 1: the least-squares solution of confusion · p = shares.

    Notes
    -----
    Forman 2008, "Quantifying counts and costs via classification", Data Mining and Knowledge Discovery 17, for many
    classes as in Saerens et al. 2002, section 2.3.

    Examples
    --------
    >>> adjust_counts(np.array([.5, .5]), np.array([[.9, .2], [.1, .8]])).round(3)
    array([0.429, 0.571])
    """
    shares, confusion = np.asarray(shares, np.float64), np.asarray(confusion, np.float64)
    if confusion.shape != (len(shares), len(shares)) or not np.allclose(confusion.sum(axis=0), 1):
        raise BadInput(f"{len(shares)} classes need a square table of rates whose columns sum to 1")
    # A heavy last equation holds the sum to 1; dividing removes what the least squares leave of it.
    solved, _ = nnls(np.vstack([confusion, np.full(len(shares), 1e3)]), np.append(shares, 1e3))
    return solved / solved.sum()


def confusion_of(winners: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Tabulate how labelled rows are won: (C, C), columns sum to 1; every class has a labelled row."""
    table = np.zeros((classes, classes))
    np.add.at(table, (winners, labels), 1)
    if not table.sum(axis=0).all():
        raise BadInput(f"class {int(np.argmin(table.sum(axis=0)))} has no labelled row: leave it out or label one")
    return table / table.sum(axis=0)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    wide = np.asarray(probabilities, np.float64)
    if wide.ndim != 2 or not wide.size or not np.allclose(wide.sum(axis=1), 1, atol=1e-6) or (wide < 0).any():
        raise BadInput(f"probabilities need shape (rows, classes), each row summing to 1; got shape {wide.shape}")
    return wide
