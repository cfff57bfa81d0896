"""Intervals of two-way audits hold the truth as often as they say, on seeds that chose no constant of a model."""

from __future__ import annotations

import numpy as np
import pytest

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit import Labelled, audited_frequency, is_narrow_enough, next_labels
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.benchmarks.similarity_simulation import COSINE, KINDS, simulate_histograms
from tailwag.errors import BadInput


def audits(made, rounds, seed):
    """Give for each concept its truth and what is known after each round of 15 labels."""
    generator = np.random.default_rng(seed)
    frequencies = anchored_frequencies(made.rows, made.mentions)
    for concept, frequency in enumerate(frequencies):
        strata = lay_strata(made.rows[concept], made.mentions[concept], frequency)
        if not strata:
            continue  # nothing names it
        known, found = [Labelled()] * len(strata), []
        for _ in range(rounds):
            more = next_labels(strata, known, frequency.recall, 15)
            known = made.label(concept, strata, known, more, generator)
            found.append(audited_frequency(strata, known, frequency.recall, draws=1_000))
        yield int(made.truth[concept]), found


def cover(kinds, prevalences, concepts, rounds, seed):
    """Give the share of intervals that hold the truth, and the median error in log10, after so many rounds."""
    inside, errors = [], []
    for kind in kinds:
        for prevalence in prevalences:
            made = simulate_histograms(prevalence, KINDS[kind], concepts=concepts, seed=seed)
            for truth, found in audits(made, rounds, seed):
                inside.append(found[-1].lower <= truth <= found[-1].upper)
                errors.append(abs(np.log10((found[-1].estimate + 0.5) / (truth + 0.5))))
    return np.mean(inside), np.median(errors)


def test_sixty_labels_cover_and_come_near():
    covered, error = cover(sorted(KINDS), (1e-2, 1e-4), concepts=20, rounds=4, seed=12)
    assert 0.88 <= covered <= 0.99
    assert error < 0.06


@pytest.mark.parametrize(("rows", "prevalence"), [(2_000, 5e-3), (5_000, 2e-3)])
def test_small_corpora_are_covered_although_labels_outnumber_what_mentions_point_to(rows, prevalence):
    """Ten true rows of a few thousand: named rows are soon all labelled, and others lie among the rest."""
    inside, closed_early = [], 0
    for kind in sorted(KINDS):
        made = simulate_histograms(prevalence, KINDS[kind], concepts=16, rows=rows, geometry=COSINE, seed=12)
        for truth, found in audits(made, 4, 12):
            inside.append(found[-1].lower <= truth <= found[-1].upper)
            closed_early += any(one.upper == one.lower != truth for one in found)
    assert len(inside) > 40
    assert np.mean(inside) >= 0.90
    assert closed_early <= 0.05 * len(inside)


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "furthest"), [(2, 0.07), (4, 0.06), (13, 0.04)])
def test_audits_cover_over_kinds_of_captions_and_prevalences(rounds, furthest):
    covered, error = cover(sorted(KINDS), (1e-2, 1e-3, 1e-4), concepts=60, rounds=rounds, seed=13)
    assert 0.90 <= covered <= 0.985
    assert error < furthest


@pytest.mark.slow
def test_stopping_when_the_interval_is_narrow_keeps_coverage():
    stopped = []
    for kind in sorted(KINDS):
        for prevalence in (1e-2, 1e-3, 1e-4):
            made = simulate_histograms(prevalence, KINDS[kind], concepts=40, seed=14)
            for truth, found in audits(made, 14, 14):
                first = next((one for one in found if is_narrow_enough(one, 1.6)), None)
                if first is not None:
                    stopped.append(first.lower <= truth <= first.upper)
    assert len(stopped) > 200
    assert np.mean(stopped) >= 0.90


def test_an_audit_stops_when_narrow_but_not_before_thirty_labels():
    made = simulate_histograms(1e-2, KINDS["random"], concepts=1, rows=1_000_000, seed=1)
    ((_, found),) = audits(made, 3, 0)
    assert not is_narrow_enough(found[0], 1e9)
    assert is_narrow_enough(found[1], 1.01 * found[1].upper / found[1].lower)
    assert not is_narrow_enough(found[1], 1 + 0.9 * (found[1].upper / found[1].lower - 1))
    with pytest.raises(BadInput, match="more than 1"):
        is_narrow_enough(found[1], 1.0)
