"""How many rows of a corpus show each class of a complete vocabulary? One pass, a frequency a class, and warnings.

Not here: the estimators (`closed_world.py`), the signs of an open world (`open_world.py`), the record that comes out
(`closed_world_frequencies.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ...embed.scanning import RowMask
from ...retrieval.concepts import ConceptSet
from ...retrieval.counting import sample, similarities
from ...retrieval.counting.result import format_share
from ...retrieval.prototypes import PrototypeSet
from .closed_world import NEED_LABELS, REPLICATES, LabelledClasses, Method, ShareEstimator, fit_shares, shift_intervals
from .closed_world_frequencies import ClosedWorldFrequencies, ClosedWorldFrequency, grade_class
from .label_shift import share_wins
from .labelled_rows import LabelledRows
from .open_world import MANY_LOW, SOME_LOW, is_low, lowest_usual, near_prototypes, nested_names

# Rows times classes whose similarities are worked out at once: 32 MiB of float64.
_PRODUCTS_A_STEP = 1 << 22
# Probabilities that are kept for EM: 256 MiB of float64. Beyond that a sample of the rows stands for all.
MOST_KEPT = 1 << 25
# Labelled rows times classes, 64 MiB: more labels of a class hardly tell more.
_MOST_LABELLED = 1 << 23
_SHOWN = 3


def labelled_classes(
    corpus: Corpus, labels: LabelledRows, prototypes: PrototypeSet, *, progress: Progress | None = None
) -> LabelledClasses:
    """Work out the similarities of the rows that are labelled with one class.

    Parameters
    ----------
    corpus
        Whose rows are labelled, at the version that is.
    labels
        Its labels, of the prototypes' concepts.
    prototypes
        C of them, of the corpus's space.
    progress
        Advanced by the rows that are done.

    Returns
    -------
    LabelledClasses
        Of many labelled rows of a class some, evenly over the corpus.

    Raises
    ------
    SpaceMismatch
        When the prototypes live in another space.
    BadInput
        When a row has two classes.
    """
    prototypes.space.require_same(
        corpus.space,
        here="the prototypes are",
        there=f"corpus {corpus.name!r}, which is labelled, holds",
        remedy="label a corpus of the same model",
    )
    progress = progress or NoProgress()
    offsets, numbers = labels.classes()
    most = max(_MOST_LABELLED // len(prototypes) ** 2, 1)
    kept = np.sort(np.concatenate([_spread(np.flatnonzero(numbers == one), most) for one in range(len(prototypes))]))
    offsets, numbers = offsets[kept], numbers[kept]
    wanted = np.zeros(len(corpus), dtype=bool)
    wanted[offsets] = True
    found = [np.zeros((0, len(prototypes)))]
    for block in corpus.scan("image", mask=RowMask(wanted)):
        found.append(similarities(block.vectors, prototypes.vectors))
        progress.advance(len(block.vectors))
    return LabelledClasses(np.concatenate(found), numbers)


def require_apart(concepts: ConceptSet, allow_open: bool = False) -> tuple[tuple[str, str], ...]:
    """Refuse classes that are called a kind of one another; where that is allowed, give the pairs.

    Raises
    ------
    BadInput
        Naming the first pairs.
    """
    nested = nested_names(concepts)
    if nested and not allow_open:
        raise BadInput(_nested(nested) + "; leave one of each pair out, or pass --open to go on")
    return nested


def count_closed_world(
    corpus: Corpus,
    concepts: ConceptSet,
    prototypes: PrototypeSet,
    labelled: LabelledClasses | None = None,
    *,
    method: Method = "em",
    margin: float = 0.0,
    source: str = "",
    allow_open: bool = False,
    replicates: int = REPLICATES,
    most_kept: int = MOST_KEPT,
    progress: Progress | None = None,
) -> ClosedWorldFrequencies:
    """Share the rows of a corpus out among the classes of a vocabulary that names all there is.

    Parameters
    ----------
    corpus
        The corpus at one version.
    concepts, prototypes
        The C classes, two or more, and theirs, in their order.
    labelled
        Rows of known class of the same space, every class at least once; None where there are none.
    method, margin
        See `fit_shares`. Without labels ``em`` and ``adjusted`` fall back to the winner, and a warning says so.
    source
        Where the labels are from, in words.
    allow_open
        Whether to go on where the world is plainly open; grades are then unsupported.
    replicates
        Of the bootstrap behind the intervals.
    most_kept
        Probabilities that ``em`` keeps at once; of a greater table it sees a sample of the rows.
    progress
        Advanced by the rows that are done.

    Raises
    ------
    BadInput
        For fewer than two classes, an empty corpus, a class without labels, and where the world is open: a class that
        is called a kind of another, or a best similarity lower than labelled rows have in half of the rows.
    """
    progress = progress or NoProgress()
    if len(prototypes) < 2 or prototypes.names != concepts.names:
        raise BadInput(
            f"a closed world needs two classes or more with their prototypes, and {len(prototypes)} is given"
        )
    if not len(corpus):
        raise BadInput(f"corpus {corpus.name!r} has no row at version {corpus.version}: there is nothing to share out")
    nested = require_apart(concepts, allow_open)
    known = labelled if labelled is not None and len(labelled) else None
    _require_all(known, concepts.names, method)
    estimator = fit_shares(method, known, margin)
    seen = _scan(corpus, prototypes, estimator, known, most_kept, progress)
    warnings = [_nested(nested)] if nested else []
    if estimator.method != method:
        warnings.append(f"{method} learns from labels and there are none: rows are counted for the most similar class")
    if seen.low >= MANY_LOW and not allow_open:
        raise BadInput(
            f"{format_share(seen.low)} of the rows of corpus {corpus.name!r} are less similar to every class than 99 "
            "in 100 labelled rows are to theirs: they show something else, and the world is not closed; estimate each "
            "concept by itself (tailwag calibrate), or pass --open to go on"
        )
    if seen.low >= SOME_LOW:
        warnings.append(f"{format_share(seen.low)} of the rows are less similar to every class than labelled rows are")
    if known is None:
        warnings.append("without labels nothing tells whether rows show none of the classes")
    near = near_prototypes(prototypes.names, prototypes.vectors)
    if near:
        shown = ", ".join(f"{one!r} and {other!r} ({cosine:.2f})" for one, other, cosine in near[:_SHOWN])
        more = f" and {len(near) - _SHOWN:,} more pairs" if len(near) > _SHOWN else ""
        warnings.append(f"prototypes lie unusually near to one another and may stand for the same: {shown}{more}")
    if seen.sampled < len(corpus):
        warnings.append(f"shares were estimated on a sample of {seen.sampled:,} of {len(corpus):,} rows")
    rows, counts = len(corpus), seen.shares * len(corpus)
    lower = upper = np.full(len(counts), np.nan)
    if known is not None:
        is_sample = seen.sampled < rows
        ends = shift_intervals(
            estimator, known, seen.shares * seen.sampled, seen.sampled, is_sample=is_sample, replicates=replicates
        )
        lower, upper = (end * rows / seen.sampled for end in ends)
    sizes = known.sizes if known is not None else np.zeros(len(counts), dtype=np.int64)
    is_open = bool(nested) or seen.low >= MANY_LOW
    frequencies = []
    for position, name in enumerate(concepts.names):
        grade = grade_class(lower[position], upper[position], int(sizes[position]), is_open, seen.low >= SOME_LOW)
        frequencies.append(
            ClosedWorldFrequency(
                name,
                prototypes.recipes[position],
                float(counts[position]),
                float(lower[position]),
                float(upper[position]),
                float(seen.wins[position]),
                int(sizes[position]),
                grade.level,
                grade.reasons,
            )
        )
    return ClosedWorldFrequencies(
        corpus.name,
        corpus.version,
        corpus.space,
        rows,
        estimator.method,
        source if known is not None else "",
        seen.sampled,
        seen.low,
        tuple(warnings),
        tuple(frequencies),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the pass found: shares and wins (C,), rows behind the shares, the share of rows with a low similarity."""

    shares: np.ndarray
    wins: np.ndarray
    sampled: int
    low: float


def _scan(
    corpus: Corpus,
    prototypes: PrototypeSet,
    estimator: ShareEstimator,
    labelled: LabelledClasses | None,
    most_kept: int,
    progress: Progress,
) -> _Seen:
    classes, low = len(prototypes), 0
    limits = lowest_usual(labelled) if labelled is not None else None
    rate = 1.0
    while estimator.needs_rows and len(corpus) * rate * classes > most_kept:
        rate /= 2
    mask = sample(rate).mask(corpus) if rate < 1 else None
    sums, wins, kept = np.zeros(classes), np.zeros(classes), []
    for block in corpus.scan("image"):
        step = max(_PRODUCTS_A_STEP // classes, 1)
        for start in range(0, len(block.vectors), step):
            scores = similarities(block.vectors[start : start + step], prototypes.vectors)
            shares = estimator.of_rows(scores)
            sums += shares.sum(axis=0)
            wins += share_wins(scores).sum(axis=0)
            low += int(is_low(scores, limits).sum()) if limits is not None else 0
            if estimator.needs_rows:
                first = block.offset + start
                kept.append(shares if mask is None else shares[mask.between(first, first + len(shares))])
        progress.advance(len(block.vectors))
    rows = len(corpus)
    share = low / rows if limits is not None else float("nan")
    if not estimator.needs_rows:
        return _Seen(estimator.from_mean(sums / rows), wins, rows, share)
    every = np.concatenate(kept)
    if not len(every):
        raise BadInput(f"a sample of {rate:g} of the {rows:,} rows is empty: count fewer classes at once")
    return _Seen(estimator.from_rows(every), wins, len(every), share)


def _require_all(labelled: LabelledClasses | None, names: Sequence[str], method: Method) -> None:
    if labelled is None:
        return
    without = [name for name, size in zip(names, labelled.sizes, strict=True) if not size]
    if without:
        shown = ", ".join(map(repr, without[:_SHOWN])) + (f" and {len(without) - _SHOWN}" if len(without) > 3 else "")
        what = method if method in NEED_LABELS else "an interval"
        raise BadInput(
            f"{what} needs a labelled row of every class, and {len(without)} of {len(names)} have none: {shown}; label "
            "some, leave the classes out, or pass --method winner without --labels"
        )


def _nested(pairs: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{narrow!r} is a kind of {broad!r}" for narrow, broad in pairs[:_SHOWN])
    more = f", and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
    return f"by their names {shown}{more}: rows are then won by one of the two at random, and the world is not closed"


def _spread(positions: np.ndarray, most: int) -> np.ndarray:
    """Take at most so many, evenly."""
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).astype(np.int64)]
