"""Controls: named filters on rows, under which everything can be counted again.

Not here: reading the rows that are left (`embed/scanning.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tailwag.errors import BadInput

from ...embed.corpus import Corpus
from ...embed.scanning import RowMask


@dataclass(frozen=True)
class Control:
    """Which rows are counted: those of a sample, those that fulfil a condition, those that were chosen; or all three.

    Made by `sample`, `where` and `chosen_rows`; `a & b` leaves the rows that both leave.

    Attributes
    ----------
    name
        Stands in every result that was counted under it.

    Examples
    --------
    >>> (sample(0.01) & where("width >= 256")).name
    'u < 0.01 and width >= 256'
    """

    name: str
    _spans: tuple[tuple[float, float], ...] = ()
    _conditions: tuple[str, ...] = ()
    _chosen: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)

    def __and__(self, other: Control) -> Control:
        return Control(
            f"{self.name} and {other.name}",
            self._spans + other._spans,
            self._conditions + other._conditions,
            self._chosen + other._chosen,
        )

    def describe(self) -> dict[str, Any]:
        """Say as JSON can hold it how to make this control again; of chosen rows only a digest is told.

        Returns
        -------
        dict
            name, spans, conditions, and for each choice of rows its number of rows, how many of them it leaves, and the
            sha256 of its bits (`numpy.packbits`) and its length in 8 bytes.
        """
        chosen = [
            {"rows": len(one), "left": int(np.count_nonzero(one)), "sha256": _digest(one)} for one in self._chosen
        ]
        spans = [list(span) for span in self._spans]
        return {"name": self.name, "spans": spans, "conditions": list(self._conditions), "chosen": chosen}

    @classmethod
    def rebuild(cls, described: Mapping[str, Any], chosen: Sequence[np.ndarray] = ()) -> Control:
        """Make a control again from what `describe` told of it.

        Parameters
        ----------
        described
            What it told.
        chosen
            (N,) bool arrays: the rows that were chosen by other means, in any order.

        Raises
        ------
        BadInput
            When rows were chosen that are not given again.
        """
        given = {_digest(np.asarray(one, dtype=bool)): np.array(one, dtype=bool) for one in chosen}
        missing = [one for one in described["chosen"] if one["sha256"] not in given]
        if missing:
            raise BadInput(
                f"control {described['name']!r} left rows that were chosen by hand ({missing[0]['left']:,} of "
                f"{missing[0]['rows']:,}, sha256 {missing[0]['sha256'][:16]}…), and they were not kept: pass the same "
                "rows again"
            )
        spans = tuple((float(start), float(stop)) for start, stop in described["spans"])
        masks = tuple(given[one["sha256"]] for one in described["chosen"])
        return cls(described["name"], spans, tuple(described["conditions"]), masks)

    def mask(self, corpus: Corpus) -> RowMask:
        """Find the rows that are left.

        Raises
        ------
        BadInput
            For a condition that cannot be evaluated, and rows chosen from another number of rows.
        """
        for chosen in self._chosen:
            if len(chosen) != len(corpus):
                raise BadInput(
                    f"control {self.name!r} chose from {len(chosen):,} rows, and corpus {corpus.name!r} has "
                    f"{len(corpus):,} at version {corpus.version}: choose again at this version"
                )
        fulfilled = [RowMask.of_offsets(len(corpus), corpus.offsets(condition)) for condition in self._conditions]

        def pieces() -> Iterator[np.ndarray]:
            start = 0
            for numbers in corpus.column_pieces("u"):
                stop = start + len(numbers)
                wanted = np.ones(len(numbers), dtype=bool)
                # Compared in float64: what SQL makes of a float32 column and a literal is its own affair.
                exact = numbers.astype(np.float64)
                for least, end in self._spans:
                    wanted &= (exact >= least) & (exact < end)
                for mask in fulfilled:
                    wanted &= mask.between(start, stop)
                for chosen in self._chosen:
                    wanted &= chosen[start:stop]
                yield wanted
                start = stop

        return RowMask(pieces())


def sample(rate: float, start: float = 0.0) -> Control:
    """Leave the rows with start ≤ u < rate: a sample that is the same on every machine.

    Raises
    ------
    BadInput
        Unless 0 ≤ start < rate ≤ 1.
    """
    if not 0 <= start < rate <= 1:
        raise BadInput(f"a sample's rate is above 0 and at most 1, and {rate:g} was given (from {start:g} on)")
    return Control(f"u < {rate!r}" if start == 0 else f"{start!r} <= u < {rate!r}", ((float(start), float(rate)),))


def where(condition: str) -> Control:
    """Leave the rows that fulfil an SQL condition on the corpus's columns: ``"width >= 256"``, ``"label = 'cat'"``."""
    return Control(condition, (), (condition,))


def chosen_rows(name: str, wanted: np.ndarray) -> Control:
    """Leave the rows that were chosen by other means.

    Parameters
    ----------
    name
        What results call it.
    wanted
        (N,) bool, in the order of the corpus at the version that is counted.
    """
    return Control(name, (), (), (np.array(wanted, dtype=bool),))


def _digest(wanted: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(wanted).tobytes() + len(wanted).to_bytes(8, "little")).hexdigest()
