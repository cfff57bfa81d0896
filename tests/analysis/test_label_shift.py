"""Shares of the classes of a closed vocabulary: exact where the answer is known, right on drawn rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

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


def slow_em(probabilities, priors, steps):
    """Saerens et al. 2002, equations 2.9, row by row."""
    shares = list(priors)
    for _ in range(steps):
        posteriors = []
        for row in probabilities:
            weighed = [shares[j] / priors[j] * row[j] for j in range(len(priors))]
            posteriors.append([one / sum(weighed) for one in weighed])
        shares = [sum(row[j] for row in posteriors) / len(posteriors) for j in range(len(priors))]
    return shares


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(0, 10**6))
def test_em_is_the_papers_row_by_row(classes, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.3), 40)
    priors = random.dirichlet(np.full(classes, 5.0))
    expected = slow_em(probabilities, priors, 1500)
    np.testing.assert_allclose(estimate_priors(probabilities, priors), expected, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10**6))
def test_a_row_of_weight_three_is_a_row_that_stands_there_three_times(classes, rows, seed):
    random = np.random.default_rng(seed)
    probabilities, priors = random.dirichlet(np.ones(classes), rows), np.full(classes, 1 / classes)
    weights = random.integers(0, 4, rows)
    weights[0] = 3
    expected = estimate_priors(np.repeat(probabilities, weights, axis=0), priors)
    np.testing.assert_allclose(estimate_priors(probabilities, priors, weights), expected, atol=1e-4)
    known, labels = drawn(priors, 30, seed)
    labels[:classes] = range(classes)
    often = random.integers(1, 4, 30)
    one, other = fit_temperature(known, labels, often), fit_temperature(known.repeat(often, 0), labels.repeat(often))
    np.testing.assert_allclose(one.probabilities(known), other.probabilities(known), atol=1e-4)
    wins = share_wins(known)
    np.testing.assert_allclose(
        confusion_of(wins, labels, often), confusion_of(wins.repeat(often, 0), labels.repeat(often))
    )


def test_no_other_shares_on_a_grid_explain_the_winners_better():
    random = np.random.default_rng(0)
    grid = np.array([(i, j, 40 - i - j) for i in range(41) for j in range(41 - i)]) / 40
    for _ in range(30):
        confusion, shares = random.dirichlet(np.ones(3), 3).T, random.dirichlet(np.ones(3))
        found = adjust_counts(shares, confusion)
        missed = ((grid @ confusion.T - shares) ** 2).sum(axis=1)
        assert ((confusion @ found - shares) ** 2).sum() <= missed.min() + 1e-6


def test_a_temperature_is_the_likeliest_where_labels_are_many():
    known, labels = drawn([0.5, 0.3, 0.2], 4000, 8)
    found = fit_temperature(known, labels)

    def loss(slope, bias):
        return -np.log(softmax(slope * known + bias, axis=1)[np.arange(len(labels)), labels]).mean()

    best = loss(found.slope, found.bias)
    for factor in (0.9, 1.1):
        assert best < loss(found.slope * factor, found.bias)
    for step in np.eye(3):
        for size in (-0.2, 0.2):
            assert best < loss(found.slope, found.bias + size * step)
    # The own class is .05 more, noise .02: the log-odds of two classes are .05 / .02² times the difference of the two.
    assert found.slope == pytest.approx(0.05 / 0.02**2, rel=0.1)
