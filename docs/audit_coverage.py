"""How often do the intervals of audits hold the truth, after some labels and stopped, in small and large corpora?

    python docs/audit_coverage.py

Writes perf/results/audit_coverage.json for docs/auditing.md. Everything is simulated with seeds 10 to 14, and
constants were chosen on others. Takes some minutes on one core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit import (
    FEWEST_TO_STOP,
    AuditedFrequency,
    Labelled,
    audited_frequency,
    next_labels,
)
from tailwag.analysis.calibration.audit_answer import narrowness
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.benchmarks.similarity_simulation import CENTRED, COSINE, KINDS, Geometry, simulate_histograms

SEEDS = (10, 11, 12, 13, 14)
CONCEPTS = 3
SHEET, LABELS = 15, (30, 60, 195)
WITHIN = (0.5, 0.2)
CORPORA = (
    (2_000, 5e-3, COSINE),
    (5_000, 2e-3, COSINE),
    (20_000, 1e-3, COSINE),
    (10_000_000, 1e-2, CENTRED),
    (10_000_000, 1e-3, CENTRED),
    (10_000_000, 1e-4, CENTRED),
)
OUTPUT = Path(__file__).parent.parent / "perf" / "results" / "audit_coverage.json"


@dataclass(frozen=True)
class Look:
    """What one look at an audit says."""

    labels: int
    holds: bool
    error: float
    lower: float
    upper: float

    @classmethod
    def at(cls, found: AuditedFrequency, truth: int) -> Look:
        """Compare an audit with the truth."""
        error = abs(np.log10((found.estimate + 0.5) / (truth + 0.5)))
        return cls(found.labels, found.lower <= truth <= found.upper, float(error), found.lower, found.upper)


def audits(rows: int, prevalence: float, geometry: Geometry) -> Iterator[list[Look]]:
    """Audit every concept of every kind of captions and every seed, and look after each sheet of 15 labels."""
    for kind in sorted(KINDS):
        for seed in SEEDS:
            made = simulate_histograms(
                prevalence, KINDS[kind], concepts=CONCEPTS, rows=rows, geometry=geometry, seed=seed
            )
            generator = np.random.default_rng(seed)
            for concept, frequency in enumerate(anchored_frequencies(made.rows, made.mentions)):
                strata = lay_strata(made.rows[concept], made.mentions[concept], frequency)
                if not strata:
                    continue  # nothing names it
                known, looks = [Labelled()] * len(strata), []
                while sum(one.rows for one in known) < LABELS[-1]:
                    more = next_labels(strata, known, frequency.recall, SHEET)
                    if not sum(more):
                        break
                    known = made.label(concept, strata, known, more, generator)
                    found = audited_frequency(strata, known, frequency.recall, draws=1_000)
                    looks.append(Look.at(found, int(made.truth[concept])))
                yield looks


def first_narrow(looks: list[Look], within: float) -> Look | None:
    """Give the first look with labels enough at which the interval is as narrow as asked: where an audit stops."""
    return next(
        (one for one in looks if one.labels >= FEWEST_TO_STOP and narrowness(one.lower, one.upper) <= within), None
    )


def described(looks: list[Look]) -> str:
    """Give coverage, and median and 90th percentile of the error."""
    if not looks:
        return "–"
    errors = [one.error for one in looks]
    median, high = (f"{value:.2f}".lstrip("0") for value in (np.median(errors), np.percentile(errors, 90)))
    return f"{100 * np.mean([one.holds for one in looks]):.0f} %, {median}/{high}"


def row_of(name: str, found: list[list[Look]]) -> list[str]:
    """Give a row of the table."""
    cells = [name, f"{len(found)}"]
    for number in LABELS:
        cells.append(described([[one for one in looks if one.labels <= number][-1] for looks in found]))
    for within in WITHIN:
        stopped = [one for looks in found if (one := first_narrow(looks, within)) is not None]
        labels = f" ({len(stopped)} at {np.median([one.labels for one in stopped]):.0f})" if stopped else ""
        cells.append(described(stopped) + labels)
    return cells


def main() -> None:
    """Simulate, write, print."""
    started = time.perf_counter()
    rows, every = [], []
    for number, prevalence, geometry in CORPORA:
        found = list(audits(number, prevalence, geometry))
        rows.append(row_of(f"{number:,} rows, {number * prevalence:,.0f} true", found))
        every += found
        print(" | ".join(rows[-1]), flush=True)
    rows.append(row_of("all", every))
    print(" | ".join(rows[-1]))
    headings = ["corpus", "audits", *(f"{number} labels" for number in LABELS)]
    headings += [f"stopped within {within:.0%}" for within in WITHIN]
    written = {
        "seeds": SEEDS,
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "table": {"headings": headings, "rows": rows},
    }
    unfinished = OUTPUT.with_suffix(".tmp")
    unfinished.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(OUTPUT)


if __name__ == "__main__":
    main()
