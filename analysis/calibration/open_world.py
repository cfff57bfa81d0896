"""Is a vocabulary complete, and are its classes apart? Signs that a world is open, where its estimators count wrongly.

Pure functions. Not here: the estimators (`closed_world.py`), what is done about the signs (`closed_world_counting.py`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ...retrieval.concepts import ConceptSet, fold
from .closed_world import LabelledClasses

# A pair of prototypes this many robust deviations nearer than pairs are is a sign; with few pairs there is no "usual".
_FAR_PAIRS = 6.0
_FEWEST_PAIRS = 10
_MEDIAN_DEVIATION = 0.6745
# Of labelled rows one in a hundred has a best similarity under the limit; of a corpus's rows many more are a sign.
_LOW_QUANTILE = 0.01
_FEWEST_OF_A_CLASS = 20
SOME_LOW, MANY_LOW = 0.1, 0.5


def nested_names(concepts: ConceptSet) -> tuple[tuple[str, str], ...]:
    """Which concepts are called a kind of another, or the same as another?

    Parameters
    ----------
    concepts
        With their synonyms, which count as names.

    Returns
    -------
    tuple[tuple[str, str], ...]
        Pairs (narrower, broader): a name of the first ends with a whole name of the second, as English puts the kind
        before the noun: *guide dog* is a kind of *dog*. Or the two share a name. A check of words alone: it takes *hot
        dog* for a dog and does not know that a poodle is one.

    Examples
    --------
    >>> from tailwag.retrieval.concepts import Concept
    >>> nested_names(ConceptSet("s", (Concept("dog"), Concept("guide dog"), Concept("cat"))))
    (('guide dog', 'dog'),)
    """
    owners: dict[str, list[int]] = {}
    every = [{fold(name) for name in (one.name, *one.synonyms)} for one in concepts]
    for position, names in enumerate(every):
        for name in names:
            owners.setdefault(name, []).append(position)
    found = set()
    for position, names in enumerate(every):
        for name in names:
            words = name.split()
            for start in range(len(words)):
                for owner in owners.get(" ".join(words[start:]), ()):
                    if owner != position and (start or owner < position):
                        found.add((position, owner))
    return tuple((concepts.names[narrow], concepts.names[broad]) for narrow, broad in sorted(found))


def near_prototypes(names: tuple[str, ...], prototypes: np.ndarray) -> tuple[tuple[str, str, float], ...]:
    """Which prototypes lie much nearer to one another than pairs of them do?

    Parameters
    ----------
    names
        C of them.
    prototypes
        (C, dimension).

    Returns
    -------
    tuple[tuple[str, str, float], ...]
        Names of pairs and their cosine, the nearest first: those over the median of all pairs by six robust standard
        deviations (median absolute deviation / .6745). None where there are fewer than ten pairs.
    """
    wide = prototypes.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    pairs = list(combinations(range(len(names)), 2))
    if len(pairs) < _FEWEST_PAIRS:
        return ()
    cosines = (wide @ wide.T)[tuple(np.array(pairs).T)]
    middle = float(np.median(cosines))
    deviation = float(np.median(np.abs(cosines - middle))) / _MEDIAN_DEVIATION
    near = np.flatnonzero(cosines > middle + _FAR_PAIRS * deviation)
    near = near[np.argsort(-cosines[near], kind="stable")]
    return tuple((names[pairs[one][0]], names[pairs[one][1]], float(cosines[one])) for one in near)


def lowest_usual(labelled: LabelledClasses) -> np.ndarray:
    """How low is a best similarity seldom, where a row does show a class?

    Parameters
    ----------
    labelled
        Rows of known class.

    Returns
    -------
    numpy.ndarray
        (C,) float64: of the labelled rows that a class wins the first percentile of their similarity to it; of a class
        that wins fewer than twenty, that of all labelled rows.
    """
    best, winner = labelled.similarities.max(axis=1), labelled.similarities.argmax(axis=1)
    limits = np.full(labelled.similarities.shape[1], np.quantile(best, _LOW_QUANTILE))
    for one in np.unique(winner):
        own = best[winner == one]
        if len(own) >= _FEWEST_OF_A_CLASS:
            limits[one] = np.quantile(own, _LOW_QUANTILE)
    return limits


def is_low(similarities: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Whether each row's best similarity is lower than `lowest_usual` allows: (N,) bool."""
    return similarities.max(axis=1) < limits[similarities.argmax(axis=1)]
