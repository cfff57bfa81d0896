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
    """Divide each vector by its length; float16 numbers of the machine's own byte order are changed in place.

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
    from .half_floats import converts_halves, normalise_halves

    if vectors.dtype == np.float16 and vectors.flags.c_contiguous and vectors.flags.writeable and converts_halves():
        return vectors, normalise_halves(vectors)
    return normalise_in_numpy(vectors)


def normalise_in_numpy(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do as `normalise` does, slower, on any machine and for all its kinds of numbers."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        wide = vectors.astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        return (wide / lengths[:, None]).astype(np.float16), lengths
