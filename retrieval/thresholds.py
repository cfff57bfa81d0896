"""Reading and writing thresholds: numbers, a CSV with one a concept, or the ladder that is tried when none is given.

Not here: choosing a threshold from labels (`analysis`), comparing with it (`counting`).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tailwag.errors import BadInput, NotFound, SpaceMismatch

from ..embed.space import Space
from .concepts import fold, is_file, refuse
from .counting import check_thresholds
from .prototypes import PrototypeKind

# -1, -0.99, … 1: one pass answers them all.
LADDER = np.arange(-100, 101) / 100
# Lines of the ladder that are shown.
_MOST_RUNGS = 12
_KINDS: tuple[PrototypeKind, ...] = get_args(PrototypeKind)


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
    kinds
        The kind of prototype each holds for; plain where the file does not say.
    """

    path: Path
    concepts: tuple[str, ...]
    thresholds: np.ndarray
    sources: tuple[str, ...]
    spaces: tuple[str, ...]
    kinds: tuple[PrototypeKind, ...]

    @property
    def kind(self) -> PrototypeKind:
        """The kind of prototype that all of them hold for.

        Raises
        ------
        BadInput
            When they do not agree.
        """
        for concept, kind in zip(self.concepts, self.kinds, strict=True):
            if kind != self.kinds[0]:
                raise BadInput(
                    f"{self.path} mixes kinds: the threshold of {self.concepts[0]!r} holds for {self.kinds[0]} "
                    f"prototypes, that of {concept!r} for {kind} ones: put them into two files, and count twice"
                )
        return self.kinds[0]

    def require_kind(self, kind: PrototypeKind, remedy: str) -> None:
        """Refuse thresholds that were found for another kind of prototype: similarities to the two are of other sizes.

        Parameters
        ----------
        kind
            What is to be compared with them.
        remedy
            What to do otherwise, for the message.

        Raises
        ------
        BadInput
            Naming the first such concept.
        """
        for concept, own in zip(self.concepts, self.kinds, strict=True):
            if own != kind:
                raise BadInput(
                    f"the threshold of {concept!r} in {self.path} holds for {own} prototypes, and these are {kind}: "
                    f"{remedy}"
                )

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
    """Read a CSV with columns ``concept`` and ``threshold`` and, if they are there, ``kind``, ``space``, ``source``.

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
        if _kind(row) not in _KINDS:
            mistakes.append(f"line {line}: the kind of {concept!r} is {_kind(row)!r}, none of {', '.join(_KINDS)}")
    refuse(str(path), mistakes)
    return ThresholdTable(
        path,
        tuple(row["concept"] for _, row in rows),
        np.array(values),
        tuple((row.get("source") or "").strip() or path.name for _, row in rows),
        tuple((row.get("space") or "").strip() for _, row in rows),
        tuple(kind for _, row in rows for kind in _KINDS if kind == _kind(row)),
    )


def write_threshold_table(
    path: Path,
    concepts: Sequence[str],
    thresholds: np.ndarray,
    *,
    space: Space,
    kind: PrototypeKind,
    sources: Sequence[str] | str,
    more: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Write a CSV that `read_threshold_table` reads, under another name first.

    Parameters
    ----------
    path
        The file.
    concepts
        C names, all different.
    thresholds
        (C,) float64; every bit is kept, since a threshold lies between two neighbouring similarities.
    space, kind
        What they hold for.
    sources
        Where each came from, or one text for all.
    more
        Further columns by name, C values each, for people: hits, recall.

    Raises
    ------
    BadInput
        When a column has another length than the concepts.
    """
    size = len(concepts)
    told = [sources] * size if isinstance(sources, str) else list(sources)
    columns: dict[str, Sequence[Any]] = {
        "concept": concepts,
        "threshold": [repr(float(one)) for one in np.asarray(thresholds, np.float64).reshape(-1)],
        "kind": [kind] * size,
        "space": [space.fingerprint] * size,
        "source": told,
        **(more or {}),
    }
    for name, values in columns.items():
        if len(values) != size:
            raise BadInput(f"{len(values)} values of {name!r} are not one for each of the {size} concepts")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        unfinished.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}): pass another path") from error
    finally:
        unfinished.unlink(missing_ok=True)


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


def _kind(row: Mapping[str, str | None]) -> str:
    return (row.get("kind") or "").strip() or "plain"
