"""Frequencies that a calibration saved: which of them hold for a corpus as it is, which did for its other versions.

They are the rows of the table `frequencies` that have an estimate. Not here: making them (`analysis`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ...embed.corpus import Corpus
from ..concepts import fold
from ..counting.result import format_share
from .certificate import state_of
from .saved_counts import FREQUENCIES, find_runs
from .tables import read_rows

# How the method of a frequency begins that rests on labels; such a one goes before any that does not.
AUDITED = "audit"


@dataclass(frozen=True)
class SavedFrequency:
    """How many rows show a concept, as a calibration found. Prints as a sentence.

    Attributes
    ----------
    concept, recipe
        The concept, and how its prototype was made.
    estimate, lower, upper
        Rows, with the ends of the 95 % interval.
    method, grade
        What it rests on, and how far to trust it: ``sound``, ``fragile``, ``unsupported``.
    threshold, count
        A similarity, and the rows at or above it, exactly.
    rows, corpus, corpus_version
        What was looked through.
    run, created
        Under which name it is saved, and since when.
    """

    concept: str
    recipe: str
    estimate: float
    lower: float
    upper: float
    method: str
    grade: str
    threshold: float
    count: int
    rows: int
    corpus: str
    corpus_version: int
    run: str
    created: datetime

    def __str__(self) -> str:
        numbers = [format_rows(value) for value in (self.estimate, self.lower, self.upper)]
        return (
            f'About {numbers[0]} of {self.rows:,} rows show "{self.concept}", {numbers[1]} to {numbers[2]} (95 %), '
            f"{format_share(self.estimate / self.rows if self.rows else 0.0)}: {self.grade}, by {self.method}, "
            f"calibrated {self.created:%Y-%m-%d}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Give it as what JSON can hold."""
        return {**asdict(self), "created": self.created.isoformat()}


@dataclass(frozen=True)
class FoundFrequencies:
    """What is saved for some concepts of a corpus.

    Attributes
    ----------
    current
        Of concepts by their names: those that hold for the corpus's rows as they are.
    stale
        The names of those that were calibrated for other rows of this corpus only.
    """

    current: dict[str, SavedFrequency]
    stale: tuple[str, ...]


def find_frequencies(corpus: Corpus, names: Sequence[str]) -> FoundFrequencies:
    """Which frequencies are saved for these concepts of a corpus?

    Those of the corpus's own space, without a control, and for exactly its rows. Of several, one by labels goes before
    one without, then the newest.

    Parameters
    ----------
    corpus
        The corpus at one version.
    names
        Of concepts; case, ``_`` and ``-`` are disregarded.
    """
    equal = {"corpus": corpus.name, "side": "image", "space": corpus.space.fingerprint}
    runs = {one.run: one for one in find_runs(corpus.database, **equal) if not one.control}
    if not runs:
        return FoundFrequencies({}, ())
    state = state_of(corpus)
    columns = list(SavedFrequency.__dataclass_fields__)
    wanted = {fold(name): name for name in names}
    current: dict[str, SavedFrequency] = {}
    stale: set[str] = set()
    rows = read_rows(corpus.database, FREQUENCIES, columns, corpus=corpus.name, side="image")
    for row in sorted(rows, key=lambda row: row["run"]):
        name = wanted.get(fold(row["concept"]))
        if name is None or row["run"] not in runs or row["estimate"] is None:
            continue
        if runs[row["run"]].corpus_state != state:
            stale.add(name)
            continue
        found = SavedFrequency(**row)
        known = current.get(name)
        if known is None or found.method.startswith(AUDITED) or not known.method.startswith(AUDITED):
            current[name] = found
    return FoundFrequencies(current, tuple(name for name in names if name in stale and name not in current))


def with_frequencies(
    headings: Sequence[str], rows: Sequence[Sequence[str]], frequencies: dict[str, SavedFrequency]
) -> tuple[list[str], list[list[str]]]:
    """Put frequency, interval and grade into a table of counts, right after the concept."""
    cells = {
        name: [*(format_rows(value) for value in (one.estimate, one.lower, one.upper)), one.grade]
        for name, one in frequencies.items()
    }
    return ["concept", "frequency", "from", "to", "grade", *headings[1:]], [
        [row[0], *cells.get(row[0], [""] * 4), *row[1:]] for row in rows
    ]


def format_rows(number: float) -> str:
    """Write an estimated number of rows: to three digits, and to one decimal below ten.

    Examples
    --------
    >>> format_rows(0), format_rows(3.14159), format_rows(123_456.7)
    ('0', '3.1', '123,000')
    """
    if number != number:
        return "unknown"
    if number < 10:
        return f"{number:.1f}".removesuffix(".0")
    digits = max(len(str(int(number))) - 3, 0)
    return f"{round(number, -digits):,.0f}"
