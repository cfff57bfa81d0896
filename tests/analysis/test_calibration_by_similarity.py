"""Audits without captions: bands of similarity, labels in them, and the frequency that they give."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.audit import Labelled
from tailwag.analysis.calibration.audit_by_similarity import (
    frequency_by_similarity,
    lay_bands,
    next_labels_by_similarity,
)
from tailwag.benchmarks.similarity_simulation import COSINE, simulate_histograms
from tailwag.errors import BadInput


def audit(made, concept, labels, seed=0):
    """Give the frequency after so many labels, in rounds of 15."""
    bands = lay_bands(made.rows[concept])
    known = [Labelled()] * len(bands)
    generator = np.random.default_rng(seed)
    for _ in range(labels // 15):
        more = next_labels_by_similarity(bands, known, 15)
        known = made.label(concept, bands, known, more, generator, captions=False)
    return frequency_by_similarity(bands, known)


@given(st.integers(0, 1_000), st.sampled_from([0, 1, 5, 300, 20_000, 300_000]))
@settings(max_examples=25, deadline=None)
def test_bands_hold_each_row_once_and_none_is_empty(seed, number):
    generator = np.random.default_rng(seed)
    similarities = generator.normal(1100, 15, number).astype(int)
    rows = np.bincount(similarities, minlength=2048)
    bands = lay_bands(rows)
    assert all(one.rows == rows[one.first : one.last].sum() > 0 for one in bands)
    assert all(upper.first >= lower.last for upper, lower in pairwise(bands))
    assert sum(one.rows for one in bands) == number
    assert len(bands) <= 20


def test_labels_on_every_row_leave_nothing_open():
    made = simulate_histograms(0.05, concepts=1, rows=4_000, seed=1)
    bands = lay_bands(made.rows[0])
    known = [Labelled(one.rows, int(made.true_rows[0, one.first : one.last].sum())) for one in bands]
    found = frequency_by_similarity(bands, known)
    assert found.lower == found.estimate == found.upper == sum(one.true for one in known)


def test_labels_that_all_say_no_leave_a_frequency_near_nothing():
    made = simulate_histograms(1e-2, concepts=1, rows=100_000)
    bands = lay_bands(made.rows[0])
    no = [Labelled(min(one.rows, 12), 0) for one in bands]
    assert frequency_by_similarity(bands, no).upper < made.truth[0] / 2


@given(st.integers(0, 60))
@settings(max_examples=10, deadline=None)
def test_no_more_labels_are_asked_for_than_there_are_rows(number):
    bands = lay_bands(np.bincount(np.arange(1100, 1140), minlength=2048))
    asked = next_labels_by_similarity(bands, [Labelled()] * len(bands), number)
    assert sum(asked) == min(number, sum(one.rows for one in bands))
    assert all(0 <= some <= one.rows for some, one in zip(asked, bands, strict=True))


def test_a_concept_that_two_rows_in_five_show_is_covered():
    """The less similar half shows it too: bands that left it out held the truth in one interval of three."""
    made = simulate_histograms(0.4, concepts=16, rows=5_000, geometry=COSINE, seed=31)
    found = [audit(made, concept, 60, seed=concept) for concept in range(16)]
    inside = [one.lower <= truth <= one.upper for one, truth in zip(found, made.truth, strict=True)]
    assert sum(inside) >= 13


def test_labels_that_do_not_fit_are_refused():
    bands = lay_bands(np.bincount(np.arange(1100, 1140), minlength=2048))
    with pytest.raises(BadInput, match="do not fit"):
        frequency_by_similarity(bands, [])
    with pytest.raises(BadInput, match="cannot come from"):
        frequency_by_similarity(bands, [Labelled(1, 2)] * len(bands))
    with pytest.raises(BadInput, match="without rows"):
        frequency_by_similarity((), [])


@pytest.mark.parametrize("prevalence", [1e-2, 1e-3])
def test_sixty_labels_come_within_a_tenth_and_their_intervals_mostly_hold(prevalence):
    made = simulate_histograms(prevalence, concepts=24, rows=5_000_000, seed=30)
    found = [audit(made, concept, 60, seed=concept) for concept in range(24)]
    errors = [abs(np.log10((one.estimate + 0.5) / (truth + 0.5))) for one, truth in zip(found, made.truth, strict=True)]
    inside = [one.lower <= truth <= one.upper for one, truth in zip(found, made.truth, strict=True)]
    assert np.median(errors) < 0.1
    assert sum(inside) >= 19
