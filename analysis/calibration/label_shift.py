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
# Of the slope on similarities in units of their spread: CLIP's own factor of 100 is 3 where they spread by .03. A few
# rows that are all won rightly would call for a slope without end.
_USUAL_LOG_SLOPE, _LOG_SLOPE_DEVIATION = 1.0, 1.5


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


def fit_temperature(
    similarities: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    start: Temperature | None = None,
) -> Temperature:
    """Fit slope and biases to labelled rows by maximum likelihood, with a weak pull to what is usual.

    Parameters
    ----------
    similarities
        (n, C) similarities of the labelled rows.
    labels
        (n,) class numbers; every class at least once.
    weights
        (n,) how often each row counts, none negative; None counts each once.
    start
        Where the search begins; a good guess shortens it. None begins at nothing known.

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
    weights = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
    counts = np.bincount(labels, weights, minlength=classes)
    if not counts.all():
        raise BadInput(f"class {int(np.argmin(counts))} has no labelled row: leave it out or label one")
    total = float(counts.sum())
    wide = similarities.astype(np.float64)
    # Similarities of CLIP spread by a few hundredths: in units of their spread the slope is near 1 for the search.
    middle = float(np.average(wide, weights=np.broadcast_to(weights[:, None], wide.shape)))
    spread = float(np.sqrt(weights @ ((wide - middle) ** 2).mean(axis=1) / total)) or 1.0
    scaled, one_hot = wide / spread, np.eye(classes)[labels]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, bias = np.exp(parameters[0]), parameters[1:]
        logits = slope * scaled + bias
        log_shares = log_softmax(logits, axis=1)
        wrong = weights[:, None] * (np.exp(log_shares) - one_hot)
        off = (parameters[0] - _USUAL_LOG_SLOPE) / _LOG_SLOPE_DEVIATION
        value = -float(weights @ log_shares[np.arange(rows), labels]) + float(bias @ bias) / 2 + off**2 / 2
        by_slope = (wrong * scaled).sum() * slope + off / _LOG_SLOPE_DEVIATION
        return value / total, np.append(by_slope, wrong.sum(axis=0) + bias) / total

    begin = (
        np.append(_USUAL_LOG_SLOPE, np.zeros(classes))
        if start is None
        else np.append(np.log(start.slope * spread), start.bias)
    )
    bounds = [(-7, 7)] + [(None, None)] * classes
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-7})
    bias = found.x[1:] - found.x[1:].mean()
    return Temperature(float(np.exp(found.x[0])) / spread, bias, counts / total)


def estimate_priors(
    probabilities: np.ndarray, priors: np.ndarray, weights: np.ndarray | None = None, *, still: float = _STILL
) -> np.ndarray:
    """Estimate the shares of the classes by expectation maximisation.

    Parameters
    ----------
    probabilities
        (N, C) calibrated probabilities under `priors`.
    priors
        (C,) shares that the probabilities presuppose, all positive.
    weights
        (N,) how often each row counts, none negative; None counts each once.
    still
        The greatest change of a share at which the search ends.

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
    counted = np.ones(len(probabilities)) if weights is None else np.asarray(weights, np.float64)
    if counted.shape != (len(probabilities),) or not (counted >= 0).all() or not counted.sum() > 0:
        raise BadInput(f"{len(probabilities)} rows need as many weights, none negative and not all 0")
    kept = counted > 0
    ratio, counted = probabilities[kept] / priors, counted[kept] / counted.sum()
    shares = priors / priors.sum()
    for _ in range(_MOST_STEPS):
        # Row by row ratio * shares, divided by its sum, then the mean: as two products without a table in between.
        renewed = shares * ((counted / (ratio @ shares)) @ ratio)
        if np.abs(renewed - shares).max() < still:
            return renewed / renewed.sum()
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


def confusion_of(shares: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Tabulate how labelled rows are won.

    Parameters
    ----------
    shares
        (n, C): which class wins each labelled row, as `share_wins` gives it; rows sum to 1.
    labels
        (n,) class numbers; every class at least once.
    weights
        (n,) how often each row counts; None counts each once.

    Returns
    -------
    numpy.ndarray
        (C, C): of the rows of class j, the share that class i wins, in row i, column j; columns sum to 1.

    Raises
    ------
    BadInput
        When a class has no labelled row.
    """
    classes = shares.shape[1]
    counted = np.ones(len(labels)) if weights is None else weights
    table = np.zeros((classes, classes))
    np.add.at(table.T, labels, shares * counted[:, None])
    sizes = np.bincount(labels, counted, minlength=classes)
    if not sizes.all():
        raise BadInput(f"class {int(np.argmin(sizes))} has no labelled row: leave it out or label one")
    return table / sizes


def share_wins(similarities: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Which class wins each row? A row whose best classes lie within a margin is shared by them evenly.

    Parameters
    ----------
    similarities
        (N, C) similarities or log-odds.
    margin
        How far below the best a class may lie and still share in the row; 0 shares only where two are equal.

    Returns
    -------
    numpy.ndarray
        (N, C) float64, every row summing to 1.

    Examples
    --------
    >>> share_wins(np.array([[.3, .2, .1], [.3, .3, .1]]))
    array([[1. , 0. , 0. ],
           [0.5, 0.5, 0. ]])
    """
    best = similarities >= similarities.max(axis=1, keepdims=True) - margin
    return best / best.sum(axis=1, keepdims=True)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    wide = np.asarray(probabilities, np.float64)
    if wide.ndim != 2 or not wide.size or not np.allclose(wide.sum(axis=1), 1, atol=1e-6) or (wide < 0).any():
        raise BadInput(f"probabilities need shape (rows, classes), each row summing to 1; got shape {wide.shape}")
    return wide
