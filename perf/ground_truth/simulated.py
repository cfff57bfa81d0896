"""Simulated corpora of ten million rows: concepts from one image in a hundred to one in a million, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from tailwag.benchmarks.similarity_simulation import (
    CENTRED,
    COSINE,
    KINDS,
    Captions,
    Geometry,
    SimulatedHistograms,
    simulate_histograms,
)

from .protocol import Case, Observed, put_together

PREVALENCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Choices were made on seeds 0 to 4; these are other ones.
REPORTED_SEEDS = (10, 11, 12, 13, 14)
DEVELOPMENT_SEED = 0
_ROWS = 10_000_000


def corpus_of_all_prevalences(
    captions: Captions, concepts: int, seed: int, rows: int = _ROWS, geometry: Geometry = CENTRED
) -> SimulatedHistograms:
    """Simulate one corpus with as many concepts of each prevalence."""
    return put_together(
        [
            simulate_histograms(
                prevalence, captions, concepts=concepts, rows=rows, geometry=geometry, seed=seed * 100 + place
            )
            for place, prevalence in enumerate(PREVALENCES)
        ]
    )


def simulation_cases(quick: bool) -> Iterator[Case]:
    """Yield three ways of naming on vectors that are centred, and one on those that are not."""
    concepts, rows, seeds = (1, 1_000_000, REPORTED_SEEDS[:1]) if quick else (8, _ROWS, REPORTED_SEEDS)
    kinds = [(kind, captions, CENTRED) for kind, captions in KINDS.items()]
    kinds.append(("prominence, not centred", KINDS["prominence"], COSINE))
    for kind, captions, geometry in kinds:
        elsewhere = corpus_of_all_prevalences(captions, concepts, DEVELOPMENT_SEED, rows, geometry)
        for seed in seeds:
            known = corpus_of_all_prevalences(captions, concepts, seed, rows, geometry)
            names = tuple(f"{kind} {seed}/{place}" for place in range(len(known.rows)))
            yield Case("simulation", kind, Observed(names, known.rows, known.mentions, True, elsewhere), known, seed)
