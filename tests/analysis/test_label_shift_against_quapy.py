"""EM, adjusted counts and calibration beside others' implementations, where these are installed (docs/decisions.md)."""

import warnings

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

from .test_label_shift import drawn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # docstrings of theirs with stray backslashes
    theirs_shift = pytest.importorskip("quapy.method.aggregative", reason="QuaPy is not installed")
    theirs_scaling = pytest.importorskip("abstention.calibration")
ACC, EMQ, TempScaling = theirs_shift.ACC, theirs_shift.EMQ, theirs_scaling.TempScaling

pytestmark = pytest.mark.filterwarnings("ignore:the method has reached the maximum number of iterations")


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_em_finds_the_shares_that_quapy_finds(classes, seed):
    random = np.random.default_rng(seed)
    known, labels = drawn(np.full(classes, 1 / classes), 400, seed)
    temperature = fit_temperature(known, labels)
    rows, _ = drawn(random.dirichlet(np.ones(classes)), 500, seed + 1)
    probabilities = temperature.probabilities(rows)
    theirs, _ = EMQ.EM(temperature.priors, probabilities, epsilon=1e-10)
    np.testing.assert_allclose(estimate_priors(probabilities, temperature.priors), theirs, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_counts_are_adjusted_as_quapy_adjusts_them(classes, seed):
    random = np.random.default_rng(seed)
    known, labels = drawn(np.full(classes, 1 / classes), 400, seed)
    winners = known.argmax(axis=1)
    confusion = confusion_of(share_wins(known), labels)
    np.testing.assert_allclose(confusion, ACC.getPteCondEstim(np.arange(classes), labels, winners))
    rows, _ = drawn(random.dirichlet(np.ones(classes)), 500, seed + 1)
    shares = np.bincount(rows.argmax(axis=1), minlength=classes) / len(rows)
    theirs = ACC.solve_adjustment(confusion, shares, method="inversion", solver="minimize")
    ours = adjust_counts(shares, confusion)

    def missed(found):
        return float(((confusion @ found - shares) ** 2).sum())

    # Both seek the least squares among shares; theirs stops where its search does.
    assert missed(ours) <= missed(np.clip(theirs, 0, 1) / np.clip(theirs, 0, 1).sum()) + 1e-9
    np.testing.assert_allclose(ours, theirs, atol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_calibrated_probabilities_are_those_of_the_package_that_quapy_calibrates_with(seed):
    shares = np.array([0.5, 0.3, 0.2])
    known, labels = drawn(shares, 3000, seed)
    rows, _ = drawn(shares, 500, seed + 10)
    ours = fit_temperature(known, labels).probabilities(rows)
    # Theirs begins at a temperature of 1 and does not get from there to that of a cosine.
    theirs = TempScaling(verbose=False, bias_positions="all")(50 * known, np.eye(3)[labels])
    np.testing.assert_allclose(theirs(50 * rows), ours, atol=0.01)
