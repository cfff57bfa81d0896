"""What is counted: prototypes, thresholds and the side of the pairs they are compared with.

Not here: how it is counted (`engine.py` and the backends), what comes out (`result.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput

from ...embed.corpus import Side, check_side
from ..prototypes import PrototypeSet


@dataclass(frozen=True, init=False, eq=False)
class CountQuery:
    """How many rows have a similarity of at least these thresholds to these prototypes?

    Attributes
    ----------
    prototypes
        C prototypes of one space.
    thresholds
        (C, T) float64, read-only. A row is a hit when its similarity is at least the threshold.
    side
        Which vector of a pair is compared: ``"image"``, or ``"text"`` for the caption's.
    threshold_sources
        Where each concept's thresholds came from: ``"given"``, a file's name.

    Examples
    --------
    >>> CountQuery(prototypes, [0.25, 0.27]).thresholds.shape    # doctest: +SKIP
    (24, 2)
    """

    prototypes: PrototypeSet
    thresholds: np.ndarray
    side: Side
    threshold_sources: tuple[str, ...]

    def __init__(
        self,
        prototypes: PrototypeSet,
        thresholds: np.ndarray | Sequence[float] | float,
        side: Side = "image",
        threshold_sources: Sequence[str] | str = "given",
    ) -> None:
        """Check and keep the question.

        Parameters
        ----------
        prototypes
            C prototypes of one space.
        thresholds
            One number, (T,) shared by all concepts, or (C, T).
        side
            ``"image"`` or ``"text"``.
        threshold_sources
            One text a concept, or one for all.

        Raises
        ------
        BadInput
            For a threshold that is not a number in [-1, 1], an unknown side, or shapes that do not fit.
        """
        check_side(side)
        concepts = len(prototypes)
        sources = (threshold_sources,) * concepts if isinstance(threshold_sources, str) else tuple(threshold_sources)
        if len(sources) != concepts:
            raise BadInput(f"{len(sources)} threshold sources were given for {concepts} concepts: give one a concept")
        object.__setattr__(self, "prototypes", prototypes)
        object.__setattr__(self, "thresholds", check_thresholds(thresholds, concepts))
        object.__setattr__(self, "side", side)
        object.__setattr__(self, "threshold_sources", sources)


def check_thresholds(thresholds: np.ndarray | Sequence[float] | float, concepts: int) -> np.ndarray:
    """Give thresholds for every concept, or say why they cannot be used.

    Parameters
    ----------
    thresholds
        One number, (T,) or (C, T).
    concepts
        C.

    Returns
    -------
    numpy.ndarray
        (C, T) float64, read-only.

    Raises
    ------
    BadInput
        For a value that is not a number in [-1, 1], no value at all, or another shape.
    """
    values = np.array(thresholds, dtype=np.float64, ndmin=1)
    if values.size == 0:
        raise BadInput("no threshold was given: a count needs at least one")
    outside = values[~((values >= -1) & (values <= 1))]  # so that nan is outside too
    if outside.size:
        raise BadInput(
            f"a similarity threshold lies between -1 and 1, and {outside[0]:g} was given; CLIP's usual ones are near "
            "0.25"
        )
    if values.ndim == 1:
        values = np.tile(values, (concepts, 1))
    if values.ndim != 2 or len(values) != concepts:
        raise BadInput(
            f"thresholds of shape {values.shape} do not fit {concepts} concepts: give (T,) for all of them or (C, T)"
        )
    values.setflags(write=False)
    return values
