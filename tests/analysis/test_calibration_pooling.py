"""Which rows of a similarity show a concept, and what audits of some concepts teach about the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.anchored import AnchoredSettings, anchored_frequencies
from tailwag.analysis.calibration.audit import Labelled, audited_frequency, next_labels
from tailwag.analysis.calibration.pooling import pool_audits
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.benchmarks.similarity_simulation import KINDS, Captions, simulate_histograms
from tailwag.errors import BadInput


def audits(made, frequencies, labels):
    """Audit each concept, with labels drawn in rounds of 15."""
    audited = []
    for concept, frequency in enumerate(frequencies):
        strata = lay_strata(made.rows[concept], made.mentions[concept], frequency)
        known = [Labelled()] * len(strata)
        generator = np.random.default_rng(concept)
        for _ in range(labels // 15):
            more = next_labels(strata, known, frequency.recall, 15)
            known = made.label(concept, strata, known, more, generator)
        audited.append((frequency, audited_frequency(strata, known, frequency.recall, draws=1_000)))
    return audited


def mean_error(frequencies, truth):
    return float(np.mean([abs(np.log10(one.estimate / true)) for one, true in zip(frequencies, truth, strict=True)]))


@given(st.integers(0, 1_000), st.sampled_from(sorted(KINDS)), st.sampled_from([0.1, 1e-2, 1e-3]))
@settings(max_examples=20, deadline=None)
def test_shares_lie_between_0_and_1_and_never_fall_with_similarity(seed, kind, prevalence):
    made = simulate_histograms(prevalence, KINDS[kind], concepts=1, rows=50_000, seed=seed)
    (one,) = anchored_frequencies(made.rows, made.mentions)
    assert ((one.shares >= 0) & (one.shares <= 1)).all()
    assert (np.diff(one.shares) >= 0).all()
    assert not one.shares[: one.excess.start].any()


def test_shares_are_those_of_the_truth_where_captions_name_at_random():
    captions = Captions(recall=(0.6, 0.8), look_alikes_named=0.0)
    made = simulate_histograms(1e-2, captions, concepts=6, rows=1_000_000, seed=3)
    for one, rows, true in zip(anchored_frequencies(made.rows, made.mentions), made.rows, made.true_rows, strict=True):
        well_filled = rows >= 100
        assert np.abs(one.shares - true / np.maximum(rows, 1))[well_filled].max() < 0.25
        assert (one.shares * rows).sum() == pytest.approx(true.sum(), rel=0.25)


def test_audits_of_some_concepts_mend_the_others():
    for seed, kind in enumerate(("random", "seldom")):
        made = simulate_histograms(1e-2, KINDS[kind], concepts=24, rows=2_000_000, seed=seed)
        before = anchored_frequencies(made.rows, made.mentions)
        pooled = pool_audits(audits(made, before[:8], 30))
        after = anchored_frequencies(made.rows, made.mentions, pooled)
        assert mean_error(after[8:], made.truth[8:]) < 0.85 * mean_error(before[8:], made.truth[8:]), kind


def test_the_order_of_audits_changes_nothing():
    made = simulate_histograms(1e-2, concepts=4, rows=500_000)
    audited = audits(made, anchored_frequencies(made.rows, made.mentions), 30)
    forwards, backwards = pool_audits(audited), pool_audits(audited[::-1])
    assert forwards.correction == pytest.approx(backwards.correction, abs=1e-9)
    assert forwards.discrepancy == pytest.approx(backwards.discrepancy, abs=1e-9)


def test_a_correction_multiplies_estimate_and_interval():
    made = simulate_histograms(1e-2, concepts=1, rows=200_000)
    (plain,) = anchored_frequencies(made.rows, made.mentions)
    (twice,) = anchored_frequencies(made.rows, made.mentions, AnchoredSettings(correction=np.log(2)))
    for field in ("estimate", "lower", "upper"):
        assert getattr(twice, field) == pytest.approx(2 * getattr(plain, field))


def test_no_audit_leaves_the_settings_and_one_without_labels_is_refused():
    usual = AnchoredSettings(discrepancy=0.4)
    assert pool_audits([], usual) == usual
    made = simulate_histograms(1e-2, concepts=1, rows=200_000)
    with pytest.raises(BadInput, match="without a label"):
        pool_audits(audits(made, anchored_frequencies(made.rows, made.mentions), 0))
