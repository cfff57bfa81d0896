"""Simulated histograms have the geometry, the truth and the captions that they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.audit import Labelled
from tailwag.analysis.calibration.strata import Stratum
from tailwag.benchmarks.similarity_simulation import CENTRED, COSINE, KINDS, Captions, simulate_histograms
from tailwag.errors import BadInput
from tailwag.retrieval.counting.bins import EDGES


@pytest.mark.parametrize(
    ("geometry", "above"),
    [(CENTRED, {1: 0.17, 2: 0.046, 3: 0.014, 4: 0.0042, 5: 0.0013}), (COSINE, {1: 0.17, 2: 0.039, 3: 0.0072})],
)
def test_negatives_have_the_tail_that_clip_showed(geometry, above):
    share = geometry.negatives()
    for deviations, measured in above.items():
        over = share[EDGES[:-1] >= deviations * geometry.deviation - 1e-9].sum()
        assert over == pytest.approx(measured, rel=0.15), deviations


@given(st.integers(0, 1_000), st.floats(1e-4, 0.4), st.sampled_from(sorted(KINDS)))
@settings(max_examples=15, deadline=None)
def test_everything_counts_to_the_rows(seed, prevalence, kind):
    made = simulate_histograms(prevalence, KINDS[kind], concepts=2, rows=20_000, seed=seed)
    assert (made.rows.sum(axis=1) == 20_000).all()
    assert (made.true_mentions <= made.mentions).all() and (made.true_mentions <= made.true_rows).all()
    assert (made.mentions <= made.rows).all() and (made.true_rows <= made.rows).all()
    assert (made.mentions - made.true_mentions <= made.rows - made.true_rows).all()


def test_captions_name_as_often_as_they_are_told():
    named = Captions(recall=(0.7, 0.7), false_mentions=1e-3, look_alikes_named=0.0)
    made = simulate_histograms(0.05, named, concepts=4, rows=400_000, look_alikes=0.0)
    assert made.true_mentions.sum() / made.truth.sum() == pytest.approx(0.7, abs=0.01)
    false = made.mentions.sum() - made.true_mentions.sum()
    assert false / (made.rows.sum() - made.truth.sum()) == pytest.approx(1e-3, rel=0.1)


def test_prominent_images_are_named_more_often():
    made = simulate_histograms(0.05, Captions(prominence=0.5), concepts=1, rows=400_000)
    true, named = made.true_rows[0], made.true_mentions[0]
    half = np.searchsorted(np.cumsum(true), true.sum() / 2)
    assert named[half:].sum() / true[half:].sum() > named[:half].sum() / true[:half].sum() + 0.1


def test_the_same_seed_makes_the_same_and_another_does_not():
    first, again, other = (simulate_histograms(1e-2, concepts=1, rows=10_000, seed=seed) for seed in (1, 1, 2))
    assert (first.rows == again.rows).all() and not (first.rows == other.rows).all()


def test_labels_come_from_their_stratum_and_count_up_to_its_truth():
    made = simulate_histograms(0.05, concepts=1, rows=2_000, seed=4)
    number = int(made.mentions.sum())
    stratum = Stratum(True, 0, 2048, number, 0.9, 0.0, number, True)
    generator = np.random.default_rng(0)
    some = made.label(0, [stratum], [Labelled()], [10], generator)
    assert some[0].rows == 10 and some[0].true <= 10
    every = made.label(0, [stratum], some, [stratum.rows - 10], generator)
    assert every == [Labelled(stratum.rows, int(made.true_mentions.sum()))]


def test_a_prevalence_without_room_is_refused():
    with pytest.raises(BadInput, match="prevalence"):
        simulate_histograms(0.9)
