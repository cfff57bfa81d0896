"""Counts of the classes of a closed vocabulary: every row counts once, in any order, with intervals that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.closed_world import (
    METHODS,
    NEED_LABELS,
    LabelledClasses,
    fit_shares,
    shift_intervals,
)
from tailwag.analysis.calibration.label_shift import share_wins
from tailwag.errors import BadInput


def drawn(sizes, seed, spread=0.02):
    """Rows of known classes, so many of each: .05 more for the own class, noise, and a class favoured by .01."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    similarities = 0.2 + random.normal(0, spread, (len(labels), len(sizes)))
    similarities[np.arange(len(labels)), labels] += 0.05
    similarities[:, 0] += 0.01
    return LabelledClasses(similarities, labels)


def counts_by(method, labelled, similarities, margin=0.0):
    fitted = fit_shares(method, labelled, margin)
    return len(similarities) * fitted.from_rows(fitted.of_rows(similarities))


worlds = st.tuples(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10**6))


@settings(max_examples=30, deadline=None)
@given(worlds, st.sampled_from(METHODS), st.sampled_from([0.0, 0.02]))
def test_every_row_counts_once_whatever_the_method(world, method, margin):
    classes, rows, seed = world
    labelled = drawn([8] * classes, seed)
    similarities = 0.2 + np.random.default_rng(seed).normal(0, 0.04, (rows, classes))
    counts = counts_by(method, labelled, similarities, margin)
    assert counts.sum() == pytest.approx(rows) and (counts >= 0).all()


@settings(max_examples=30, deadline=None)
@given(worlds, st.sampled_from(METHODS))
def test_neither_the_order_of_rows_nor_that_of_labels_nor_that_of_classes_changes_a_count(world, method):
    classes, rows, seed = world
    random = np.random.default_rng(seed)
    labelled = drawn([8] * classes, seed)
    similarities = drawn([rows] * classes, seed + 1).similarities
    counts = counts_by(method, labelled, similarities)
    order = random.permutation(len(labelled))
    turned = LabelledClasses(labelled.similarities[order], labelled.labels[order])
    np.testing.assert_allclose(counts_by(method, turned, random.permutation(similarities)), counts, atol=1e-3)
    named = random.permutation(classes)
    renamed = LabelledClasses(labelled.similarities[:, named], np.argsort(named)[labelled.labels])
    np.testing.assert_allclose(counts_by(method, renamed, similarities[:, named]), counts[named], atol=1e-3)


def test_a_winner_is_the_most_similar_class_and_a_margin_shares_what_is_close():
    similarities = np.array([[0.30, 0.20, 0.10], [0.30, 0.29, 0.10], [0.10, 0.20, 0.30]])
    assert counts_by("winner", None, similarities).tolist() == [2, 0, 1]
    assert counts_by("winner", None, similarities, 0.02).tolist() == [1.5, 0.5, 1]
    assert share_wins(np.zeros((1, 4))).tolist() == [[0.25] * 4]


def test_without_labels_what_needs_them_falls_back_to_the_winner_and_says_so():
    similarities = drawn([5, 9], 3).similarities
    for method in NEED_LABELS:
        for nothing in (None, LabelledClasses(np.zeros((0, 2)), np.zeros(0, np.int64))):
            fitted = fit_shares(method, nothing)
            assert fitted.method == "winner"
            np.testing.assert_array_equal(fitted.of_rows(similarities), share_wins(similarities))
    assert fit_shares("softmax").method == "softmax"


def test_em_is_nearer_than_winners_where_shares_differ_from_those_of_the_labels():
    truth = np.array([3000, 900, 300, 100])
    rows = drawn(truth, 5, spread=0.03).similarities
    labelled = drawn([100] * 4, 6, spread=0.03)
    errors = {m: np.abs(np.log10((counts_by(m, labelled, rows) + 0.5) / (truth + 0.5))) for m in METHODS}
    assert errors["em"].mean() < errors["winner"].mean() / 2
    assert errors["winner"].max() > 0.3  # what is corrected is there


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = np.array([60, 25, 10, 4, 1])
    held = []
    for seed in range(30):
        labelled = drawn([25] * 5, 100 + seed, spread=0.03)
        rows = drawn(truth, 200 + seed, spread=0.03).similarities
        fitted = fit_shares("em", labelled)
        counts = len(rows) * fitted.from_rows(fitted.of_rows(rows))
        lower, upper = shift_intervals(fitted, labelled, counts, len(rows), replicates=60, seed=seed)
        assert ((lower <= counts) & (counts <= upper) & (lower >= 0) & (upper <= len(rows))).all()
        held.append((lower <= truth) & (truth <= upper))
    # 150 answers: .88 to .99 is two standard errors about .95 and what sixty replicates leave open.
    assert 0.88 <= np.mean(held) <= 0.99


def test_an_interval_is_the_same_for_the_same_labels_in_another_order():
    labelled = drawn([10] * 3, 1)
    fitted = fit_shares("em", labelled)
    order = np.random.default_rng(0).permutation(len(labelled))
    turned = LabelledClasses(labelled.similarities[order], labelled.labels[order])
    counts = np.array([30.0, 5.0, 1.0])
    one = shift_intervals(fitted, labelled, counts, 36, replicates=20)
    np.testing.assert_array_equal(one, shift_intervals(fitted, turned, counts, 36, replicates=20))


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInput, match="none of em"):
        fit_shares("guess")
    with pytest.raises(BadInput, match="margin"):
        fit_shares("winner", None, -0.1)
    with pytest.raises(BadInput, match="class 1 has no labelled row"):
        fit_shares("em", LabelledClasses(np.zeros((2, 2)), np.zeros(2, np.int64)))
    with pytest.raises(BadInput, match="labels run from 0 to 2"):
        LabelledClasses(np.zeros((2, 2)), np.array([0, 2]))
