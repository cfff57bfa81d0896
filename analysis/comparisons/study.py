"""Everything that `tailwag compare` says, in one record: each set's tail, each pair of sets, the ratios.

Not here: printing it (`commands.py`), drawing it (`figures.py`), reading files (`inputs`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ..inputs.points import Exclusion, Frequencies
from .corpora import TAIL_SHARE, CorporaCompared, compare_corpora
from .long_tail import LongTail, long_tail
from .power_law import PowerLaw, fit_power_law
from .ratios import Ratios, ratios_of


@dataclass(frozen=True)
class Tail:
    """One pretraining set's tail, over the concepts that all have."""

    pretraining: str
    shape: LongTail
    law: PowerLaw | None


@dataclass(frozen=True)
class Study:
    """What comparing came to.

    Attributes
    ----------
    compared
        The frequencies by concept, and each pair of sets.
    tails
        Of each set.
    ratios
        Of each pair of sets whose sizes are known.
    notes
        What could not be done, in a sentence each.
    """

    compared: CorporaCompared
    tails: tuple[Tail, ...]
    ratios: tuple[Ratios, ...]
    notes: tuple[str, ...]

    @property
    def exclusions(self) -> tuple[Exclusion, ...]:
        """What was left out."""
        return self.compared.exclusions

    def as_dict(self) -> dict[str, Any]:
        """Give it as what JSON can hold; a number that is not defined is null."""
        return _finite(
            {
                "side": self.compared.side,
                "pretrainings": list(self.compared.pretrainings),
                "concepts": len(self.compared.concepts),
                "tails": [
                    {
                        "pretraining": tail.pretraining,
                        **asdict(tail.shape),
                        "rare_share": tail.shape.rare_share,
                        "power_law": tail.law and asdict(tail.law),
                    }
                    for tail in self.tails
                ],
                "pairs": [asdict(pair) for pair in self.compared.pairs],
                "notes": list(self.notes),
                "exclusions": [asdict(exclusion) for exclusion in self.exclusions],
            }
        )


def run_study(
    frequencies: Frequencies,
    side: str,
    *,
    pretrainings: Sequence[str] | None = None,
    tail_share: float = TAIL_SHARE,
    level: float = 0.95,
    as_spelt: bool = False,
    replicates: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Study:
    """Compare pretraining sets, describe the tail of each, give the ratios of each two.

    Parameters
    ----------
    frequencies, side, pretrainings, tail_share, as_spelt
        See `compare_corpora`.
    level
        Of the ratios' intervals.
    replicates, seed
        Of the test of a power law; 0 fits none.
    progress
        Advanced by one a replicate.

    Raises
    ------
    NotFound, BadInput
        As `compare_corpora` does.
    """
    compared = compare_corpora(frequencies, side, pretrainings=pretrainings, tail_share=tail_share, as_spelt=as_spelt)
    notes, tails, ratios = [], [], []
    for name, counts, rows in zip(compared.pretrainings, compared.frequencies, compared.rows, strict=True):
        law = None
        if replicates:
            try:
                law = fit_power_law(counts, replicates=replicates, seed=seed, progress=progress or NoProgress())
            except BadInput as error:
                notes.append(f"{name}: {error}")
        tails.append(Tail(name, long_tail(counts, rows), law))
        if math.isnan(rows):
            notes.append(f"{name}: nobody says how many pairs it has, so no share under 1e-4 and no ratios")
    for pair in compared.pairs:
        if not any(math.isnan(compared.rows[compared.pretrainings.index(name)]) for name in (pair.first, pair.second)):
            ratios.append(ratios_of(compared, pair.first, pair.second, level))
    return Study(compared, tuple(tails), tuple(ratios), tuple(notes))


def _finite(value: Any) -> Any:
    """Put None where a number is not finite: JSON has no word for those."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
