"""Shares of the classes of a closed vocabulary: exact where the answer is known, right on drawn rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.label_shift import (
    adjust_counts,
    confusion_of,
    estimate_priors,
    fit_temperature,
    share_wins,
)
from tailwag.errors import BadInput


def drawn(shares, rows, seed):
    """Similarities of rows of known classes: .05 more for the own class, noise of .02, and a class favoured by .02."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), rows, p=shares)
    similarities = 0.2 + random.normal(0, 0.02, (rows, len(shares)))
    similarities[np.arange(rows), labels] += 0.05
    similarities[:, 0] += 0.02
    return similarities, labels


def test_priors_are_the_maximum_of_the_likelihood():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    grid = np.linspace(1e-4, 1 - 1e-4, 9999)
    likelihood = np.log(probabilities[:, :1] * grid + probabilities[:, 1:] * (1 - grid)).sum(axis=0)
    assert estimate_priors(probabilities, np.array([0.5, 0.5]))[0] == pytest.approx(grid[likelihood.argmax()], abs=2e-4)


def test_counts_are_adjusted_as_forman_writes():
    wins, recall, false = 0.5, 0.9, 0.2
    adjusted = adjust_counts(np.array([wins, 1 - wins]), np.array([[recall, false], [1 - recall, 1 - false]]))
    assert adjusted[0] == pytest.approx((wins - false) / (recall - false), abs=1e-6)


def test_shifted_shares_are_found_where_winners_are_biased():
    known, labels = drawn([0.25] * 4, 20000, 1)
    truth = np.array([0.02, 0.08, 0.3, 0.6])
    rows, _ = drawn(truth, 20000, 2)
    winners = np.bincount(rows.argmax(axis=1), minlength=4) / len(rows)
    temperature = fit_temperature(known, labels)
    found = estimate_priors(temperature.probabilities(rows), temperature.priors)
    adjusted = adjust_counts(winners, confusion_of(share_wins(known), labels))
    assert np.abs(found - truth).max() < 0.01
    assert np.abs(adjusted - truth).max() < 0.03
    assert np.abs(winners - truth).max() > 0.05  # what is corrected is there


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 10**6))
def test_shares_sum_to_one_and_do_not_depend_on_the_order_of_rows(classes, rows, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), rows)
    priors = random.dirichlet(np.full(classes, 5.0))
    shares = estimate_priors(probabilities, priors)
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    np.testing.assert_allclose(estimate_priors(probabilities[::-1], priors), shares, atol=1e-9)
    adjusted = adjust_counts(shares, random.dirichlet(np.ones(classes), classes).T)
    assert adjusted.sum() == pytest.approx(1) and (adjusted >= 0).all()


def test_no_labels_and_a_class_without_any_are_refused():
    with pytest.raises(BadInput, match="0 labels"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(BadInput, match="class 1 has no labelled row"):
        fit_temperature(np.zeros((2, 2)), np.zeros(2, int))
    with pytest.raises(BadInput, match="class 1 has no labelled row"):
        confusion_of(share_wins(np.eye(2)), np.zeros(2, int))
    with pytest.raises(BadInput, match="summing to 1"):
        estimate_priors(np.ones((2, 2)), np.array([0.5, 0.5]))
    with pytest.raises(BadInput, match="over 0"):
        estimate_priors(np.full((2, 2), 0.5), np.array([0.0, 1.0]))
