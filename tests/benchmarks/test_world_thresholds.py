"""Thresholds and estimates on numbers that can be checked by hand."""

import csv

import numpy as np
import pytest

from tailwag.benchmarks.world.thresholds import (
    ConceptThreshold,
    choose_thresholds,
    estimates,
    lowest_threshold,
    median_log_error,
    rank_correlation,
    write_thresholds,
)
from tailwag.benchmarks.world.vocabulary import concepts


def test_without_false_hits_the_threshold_is_just_above_the_best_image_without():
    scores = np.array([0.9, 0.5, 0.4, 0.1])
    holds = np.array([True, True, False, False])
    threshold = lowest_threshold(scores, holds, 0.0)
    assert threshold == np.nextafter(0.4, 1)
    assert ((scores >= threshold) == holds).all()


def test_as_many_false_hits_are_allowed_as_the_share_says():
    scores = np.arange(1000) / 1000
    holds = np.zeros(1000, bool)
    for allowed in (0, 1, 7):
        hits = scores >= lowest_threshold(scores, holds, allowed / 1000)
        assert hits.sum() == allowed


def test_ties_never_exceed_the_share():
    scores = np.array([0.5] * 10 + [0.1] * 90)
    hits = scores >= lowest_threshold(scores, np.zeros(100, bool), 0.05)
    assert hits.sum() == 0


def test_every_concept_gets_its_threshold_and_recall():
    rng = np.random.default_rng(0)
    n = len(concepts())
    holds = rng.random((4000, n)) < 0.1
    scores = rng.normal(0, 0.1, (4000, n)) + 0.4 * holds
    chosen = choose_thresholds(scores, holds, [0.001] * n)
    assert [one.concept for one in chosen] == [concept.name for concept in concepts()]
    assert max(one.false_hit_rate for one in chosen) <= 0.001
    assert 0.7 < np.mean([one.recall for one in chosen]) < 0.95
    estimated = estimates(scores, chosen)
    assert median_log_error(estimated, holds.sum(0)) < 0.01


def test_errors_are_decades_and_none_is_taken_as_a_half():
    assert median_log_error(np.array([10.0, 100.0]), np.array([100, 100])) == 0.5
    assert median_log_error(np.array([0.0]), np.array([5])) == pytest.approx(1.0)
    assert median_log_error(np.array([7.0, 3.0]), np.array([0, 3])) == 0.0


def test_rank_correlation_knows_order_only():
    assert rank_correlation(np.array([1, 2, 30]), np.array([5, 50, 51])) == pytest.approx(1.0)
    assert rank_correlation(np.array([3, 2, 1]), np.array([5, 50, 51])) == pytest.approx(-1.0)


def test_every_bit_of_a_threshold_is_written(tmp_path):
    threshold = float(np.nextafter(0.3, 1))
    write_thresholds(tmp_path / "t.csv", [ConceptThreshold("star", threshold, 3e-4, 0.9)], "f00d", "a test")
    with (tmp_path / "t.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["threshold"]) == threshold
    assert (row["concept"], row["space"], row["source"]) == ("star", "f00d", "a test")
