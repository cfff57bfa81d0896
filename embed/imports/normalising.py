"""Bringing stored vectors to unit length in float32, and saying which of them are none.

Not here: where they come from (`matrices.py`), what is done with those that are refused (`part_rows.py`).
"""

from __future__ import annotations

import numpy as np

# Released float16 vectors of unit length are within 1e-3 of it; ten times that is another length, or damage.
LENGTH_TOLERANCE = 1e-2
# Below it the direction of a float16 vector is mostly rounding.
LEAST_LENGTH = 1e-3


def normalise(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide each vector by its length.

    Parameters
    ----------
    vectors
        (n, dimension) of float16, float32 or float64.

    Returns
    -------
    unit
        (n, dimension) float16: computed in float32, rounded once. Rows without a length or with numbers that are not
        finite hold anything.
    lengths
        (n,) float32: what each was divided by; nan or inf where a number was not finite.
    """
    wide = vectors.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        return (wide / lengths[:, None]).astype(np.float16), lengths
