"""Reading thresholds: a list of numbers, a CSV with one a concept, or the ladder that is tried when none is given.

Not here: choosing a threshold from labels (`analysis`), comparing with it (`counting`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailwag.errors import BadInput, NotFound, SpaceMismatch

from ..embed.space import Space
from .concepts import fold, is_file, refuse
from .counting import check_thresholds

# -1, -0.99, … 1: one pass answers them all.
LADDER = np.arange(-100, 101) / 100
# Lines of the ladder that are shown.
_MOST_RUNGS = 12


@dataclass(frozen=True, eq=False)
class ThresholdTable:
    """The thresholds of a CSV file, one a concept.

    Attributes
    ----------
    path
        The file.
    concepts
        The concepts as the file spells them.
    thresholds
        (n,) float64.
    sources
        Where each threshold came from: the file's own ``source``, or the file's name.
    spaces
        Fingerprint of the space each threshold holds in; empty where the file does not say.
    """

    path: Path
    concepts: tuple[str, ...]
    thresholds: np.ndarray
    sources: tuple[str, ...]
    spaces: tuple[str, ...]

    def require_space(self, space: Space) -> None:
        """Refuse thresholds that were found in another space: they mean nothing here.

        Raises
        ------
        SpaceMismatch
            Naming the first such concept.
        """
        for concept, fingerprint in zip(self.concepts, self.spaces, strict=True):
            if fingerprint and fingerprint != space.fingerprint:
                raise SpaceMismatch(
                    f"the threshold of {concept!r} in {self.path} holds in space {fingerprint}, the corpus is in "
                    f"{space.title} (space {space.fingerprint}): pass thresholds that were found in the corpus's space"
                )


@dataclass(frozen=True, eq=False)
class MatchedThresholds:
    """Concepts and the thresholds that a file gives them.

    Attributes
    ----------
    names
        The concepts that have a threshold, in their own order.
    thresholds
        (n, 1) float64.
    sources
        n texts.
    without_threshold
        Concepts that the file does not know: they cannot be counted.
    without_concept
        Names of the file that no concept bears.
    """

    names: tuple[str, ...]
    thresholds: np.ndarray
    sources: tuple[str, ...]
    without_threshold: tuple[str, ...]
    without_concept: tuple[str, ...]


def read_thresholds(text: str) -> np.ndarray | ThresholdTable:
    """Read what was given as ``--thresholds``: numbers separated by commas, or the path of a CSV file.

    Raises
    ------
    BadInput
        For a number outside [-1, 1], and for a file with mistakes.
    NotFound
        When it is neither numbers nor a file.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        if is_file(text):
            return read_threshold_table(Path(text))
        raise NotFound(
            f"thresholds {text!r} are neither numbers separated by commas (0.24,0.26) nor a CSV file that exists"
        ) from None
    return check_thresholds(values, 1)[0]


def read_threshold_table(path: Path) -> ThresholdTable:
    """Read a CSV with columns ``concept`` and ``threshold`` and, if they are there, ``space`` and ``source``.

    Raises
    ------
    BadInput
        With every mistake of the file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file in UTF-8 ({error}): save it as one") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): pass a file that can") from error
    missing = [column for column in ("concept", "threshold") if column not in columns]
    if missing:
        raise BadInput(f"{path} has no column {missing[0]!r}: a file of thresholds needs concept,threshold")
    mistakes: list[str] = [] if rows else ["it holds no threshold"]
    first_line: dict[str, int] = {}
    values: list[float] = []
    for line, row in rows:
        concept = row["concept"] or ""
        if not fold(concept):
            mistakes.append(f"line {line}: the concept is empty")
        elif fold(concept) in first_line:
            mistakes.append(f"line {line}: {concept!r} stands in line {first_line[fold(concept)]} already")
        first_line.setdefault(fold(concept), line)
        try:
            values.append(float(row["threshold"] or ""))
            if not -1 <= values[-1] <= 1:
                mistakes.append(f"line {line}: the threshold of {concept!r} is {values[-1]:g}, not between -1 and 1")
        except ValueError:
            mistakes.append(f"line {line}: the threshold of {concept!r} is {row['threshold']!r}, not a number")
    refuse(str(path), mistakes)
    return ThresholdTable(
        path,
        tuple(row["concept"] for _, row in rows),
        np.array(values),
        tuple((row.get("source") or "").strip() or path.name for _, row in rows),
        tuple((row.get("space") or "").strip() for _, row in rows),
    )


def match_thresholds(table: ThresholdTable, names: Sequence[str]) -> MatchedThresholds:
    """Give concepts the thresholds of a file, by name; case, ``_`` and ``-`` are disregarded.

    Raises
    ------
    BadInput
        When no concept has a threshold.
    """
    position = {fold(concept): row for row, concept in enumerate(table.concepts)}
    found = [name for name in names if fold(name) in position]
    if not found:
        raise BadInput(
            f"{table.path} gives none of the {len(names)} concepts a threshold: it names {table.concepts[0]!r}, "
            f"the concepts begin with {names[0]!r}"
        )
    rows = [position[fold(name)] for name in found]
    asked = {fold(name) for name in names}
    return MatchedThresholds(
        tuple(found),
        table.thresholds[rows][:, None],
        tuple(table.sources[row] for row in rows),
        tuple(name for name in names if fold(name) not in position),
        tuple(concept for concept in table.concepts if fold(concept) not in asked),
    )


def telling_rungs(counts: np.ndarray, rows: int) -> np.ndarray:
    """Which rungs of a ladder are worth showing?

    Parameters
    ----------
    counts
        (T,) counts at ascending thresholds.
    rows
        Rows of the corpus.

    Returns
    -------
    numpy.ndarray
        Positions, at most twelve, spread from the first count below half the rows to the first that is zero.
    """
    first = int(np.argmax(counts < rows / 2)) if (counts < rows / 2).any() else 0
    last = int(np.argmax(counts == 0)) if (counts == 0).any() else len(counts) - 1
    return np.unique(np.linspace(first, max(first, last), _MOST_RUNGS).round().astype(int))
