"""Least squares with errors that let the points of one test set err together, also for few test sets.

Not here: the bootstrap with the same aim (`wild_bootstrap.py`), which slope is asked for (`within_sets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats

from tailwag.errors import BadInput

from .moments import cluster_index
from .resampling import Interval

# An eigenvalue of a cluster's own leverage as near to 1 as this leaves nothing of its residuals to scale up.
_FULL_LEVERAGE = 1e-8


@dataclass(frozen=True)
class ClusterRobust:
    """Coefficients of a least-squares fit with three kinds of errors.

    Attributes
    ----------
    coefficients
        (p,) float64.
    classical, cr1, cr2
        (p,) float64 standard errors: as if points were independent; Liang and Zeger's sandwich (1986) with Stata's
        factor G/(G − 1) · (n − 1)/(n − p); Bell and McCaffrey's (2002), unbiased if points were independent.
    cr2_freedom
        (p,) float64 Satterthwaite degrees of freedom of the last (Bell and McCaffrey 2002; Pustejovsky and Tipton
        2018): few, where few clusters carry the coefficient.
    points, clusters, freedom
        n, G, and the degrees of freedom of the classical error.
    """

    coefficients: np.ndarray
    classical: np.ndarray
    cr1: np.ndarray
    cr2: np.ndarray
    cr2_freedom: np.ndarray
    points: int
    clusters: int
    freedom: int

    def classical_interval(self, position: int, level: float) -> Interval:
        """Student's interval as if points were independent."""
        return self._interval(position, level, self.classical, self.freedom, "classical, points as if independent")

    def cr1_interval(self, position: int, level: float) -> Interval:
        """The usual cluster-robust interval, t with G − 1 degrees of freedom."""
        method = f"CR1, {self.clusters} clusters, t with {self.clusters - 1} degrees of freedom"
        return self._interval(position, level, self.cr1, self.clusters - 1, method)

    def cr2_interval(self, position: int, level: float) -> Interval:
        """The interval for few or unequal clusters: CR2 with Satterthwaite's degrees of freedom."""
        freedom = self.cr2_freedom[position]
        method = f"CR2, {self.clusters} clusters, t with {freedom:.1f} degrees of freedom"
        return self._interval(position, level, self.cr2, freedom, method)

    def _interval(self, position: int, level: float, errors: np.ndarray, freedom: float, method: str) -> Interval:
        value, error = self.coefficients[position], errors[position]
        if not (error > 0 and freedom > 0):
            return Interval(np.nan, np.nan, np.nan, method)
        reach = stats.t.ppf((1 + level) / 2, freedom) * error
        p = 2 * stats.t.sf(abs(value) / error, freedom)
        return Interval(float(value - reach), float(value + reach), float(p), method)


def cluster_robust(design: np.ndarray, values: np.ndarray, clusters: np.ndarray, *, absorbed: int = 0) -> ClusterRobust:
    """Fit by least squares and tell how far clusters let the coefficients vary.

    With X_g the rows of cluster g, M = (X'X)⁻¹ and H_g = X_g M X_g', the sandwich is M Σ_g X_g' A_g e_g e_g' A_g X_g M;
    A_g = 1 for CR1, (1 − H_g)^(−½) for CR2. Since A_g X_g = X_g (1 − M X_g'X_g)^(−½), nothing larger than p × p is
    decomposed. Where a cluster determines a coefficient alone, the pseudo-inverse takes the inverse's place.

    Parameters
    ----------
    design
        (n, p) float64 of full rank. Cluster means may have been taken off it and the values beforehand: that gives the
        coefficients of a model with an intercept for each cluster, and the same CR2 (Pustejovsky and Tipton 2018,
        theorem 2).
    values
        (n,) float64.
    clusters
        (n,) names.
    absorbed
        How many coefficients were taken off beforehand, for the classical degrees of freedom.

    Returns
    -------
    ClusterRobust

    Raises
    ------
    BadInput
        When shapes do not fit together, the design is not of full rank or leaves no degree of freedom.
    """
    design, values = np.asarray(design, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if design.ndim != 2 or values.shape != design.shape[:1] or np.shape(clusters) != values.shape:
        raise BadInput(
            f"a design of {design.shape}, {values.shape} values and {np.shape(clusters)} clusters do not fit"
        )
    n, p = design.shape
    freedom = n - p - absorbed
    if freedom < 1:
        raise BadInput(f"{n} points leave no degree of freedom for {p + absorbed} coefficients")
    cross = design.T @ design
    scale = np.sqrt(np.diag(cross))
    if not (scale > 0).all() or np.linalg.matrix_rank(design / np.where(scale > 0, scale, 1)) < p:
        raise BadInput("a column of the design is constant or follows from the others")
    inverse = linalg.inv(cross)
    coefficients = inverse @ (design.T @ values)
    residuals = values - design @ coefficients
    names, index = cluster_index(clusters)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(names)))
    scores = np.add.reduceat((design * residuals[:, None])[order], starts, axis=0)
    crosses = np.add.reduceat(design[order][:, :, None] * design[order][:, None, :], starts, axis=0)

    # With M = LL': X_g (1 − M C_g)^(−½) = X_g L (1 − L'C_gL)^(−½) L⁻¹, a symmetric matrix in the middle.
    lower = linalg.cholesky(inverse, lower=True)
    own, turned = np.linalg.eigh(lower.T @ crosses @ lower)
    left = 1 - own
    stretch = np.where(left > _FULL_LEVERAGE, 1 / np.sqrt(np.maximum(left, _FULL_LEVERAGE)), 0.0)
    adjusted = lower @ (turned * stretch[:, None, :]) @ turned.transpose(0, 2, 1) @ linalg.inv(lower)  # (G, p, p)

    groups = len(names)
    factor = groups / max(groups - 1, 1) * (n - 1) / (n - p)
    cr1 = inverse @ (scores.T @ scores) @ inverse * factor
    stretched = np.einsum("gij,gi->gj", adjusted, scores)
    cr2 = inverse @ (stretched.T @ stretched) @ inverse
    return ClusterRobust(
        coefficients=coefficients,
        classical=np.sqrt(np.diag(inverse) * (residuals @ residuals) / freedom),
        cr1=np.sqrt(np.diag(cr1)) if groups > 1 else np.full(p, np.nan),
        cr2=np.sqrt(np.diag(cr2)) if groups > 1 else np.full(p, np.nan),
        cr2_freedom=np.array([_freedom(inverse, crosses, adjusted @ inverse[:, each]) for each in range(p)]),
        points=n,
        clusters=groups,
        freedom=freedom,
    )


def _freedom(inverse: np.ndarray, crosses: np.ndarray, columns: np.ndarray) -> float:
    """(Σλ)² / Σλ² over the eigenvalues of the G × G matrix that CR2 has where points are independent.

    Its entries are δ_gj b_g'C_g b_g − b_g'C_g M C_j b_j with b_g the (p,) `columns` of cluster g.
    """
    through = np.einsum("gij,gj->gi", crosses, columns)
    own = (columns * through).sum(1)
    trace = (own - np.einsum("gi,ij,gj->g", through, inverse, through)).sum()
    gram = inverse @ (through.T @ through)
    squares = (own**2).sum() - 2 * (own * np.einsum("gi,ij,gj->g", through, inverse, through)).sum()
    squares += np.trace(gram @ gram)
    return float(trace**2 / squares) if squares > 1e-12 * max((own**2).sum(), 1e-300) else 0.0
