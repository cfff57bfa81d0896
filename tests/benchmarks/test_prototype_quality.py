"""What perf/prototype_quality.py rests on: its scores against brute force, and examples that are kept apart."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tailwag.retrieval.background import Background
from tailwag.retrieval.counting.bins import BINS, EDGES, counts_at_edges
from tailwag.retrieval.prototypes import MAX_LENGTH
from tests.corpora import make_space, random_unit

PERF = str(Path(__file__).resolve().parents[2] / "perf")
sys.path.insert(0, PERF)
try:
    import prototype_quality
    from ground_truth import prototype_kinds
    from ground_truth.estimators import best_edge
finally:
    sys.path.remove(PERF)

D, CONCEPTS = 16, 4


@pytest.fixture(scope="module")
def texts():
    background = Background(random_unit(50, D, 1), make_space(D), "0" * 8)
    return prototype_kinds.Texts({prototype_kinds.NAME: random_unit(CONCEPTS, D, 2).astype(np.float64)}, background)


def brute_force(similarities, shown, told, concept, learn_from):
    """Count at the edge at which the concepts to learn from have the least median error, then the least mean."""
    best = None
    for edge in EDGES:
        errors = []
        for other in learn_from:
            known = told[:, other]
            count = (similarities[known, other] >= edge).sum()
            errors.append(abs(np.log10((count + 0.5) / (shown[known, other].sum() + 0.5))))
        worth = (np.median(errors), np.mean(errors))
        if best is None or worth < best[0]:
            best = (worth, edge)
    return (similarities[told[:, concept], concept] >= best[1]).sum()


def test_counts_are_at_the_best_threshold_of_all_and_of_the_others(texts):
    generator = np.random.default_rng(3)
    images = random_unit(200, D, 4).astype(np.float64)
    shown, told = generator.random((200, CONCEPTS)) < 0.1, generator.random((200, CONCEPTS)) < 0.9
    trial = prototype_kinds.trial("made", texts, images, shown & told, told)
    for way, vectors in trial.made.items():
        similarities = images @ vectors.T
        for concept, score in enumerate(prototype_quality.scores_of(trial, way)):
            assert score.truth == (shown & told)[:, concept].sum()
            others = [other for other in range(CONCEPTS) if other != concept]
            for which, learn_from in (("hindsight", range(CONCEPTS)), ("learned", others)):
                expected = brute_force(similarities, shown & told, told, concept, learn_from)
                assert getattr(score, which) == expected
    assert list(trial.made) == ["name", "name, centred"]


def test_examples_are_kept_apart_and_every_way_is_as_long_as_it_may_be(texts):
    images = random_unit(120, D, 5).astype(np.float64)
    numbers = np.arange(120) % CONCEPTS
    wanted = np.array([15, 10, 5, 200])
    (trial,) = prototype_kinds._drawn("made", texts, images, numbers, wanted, 0, random_unit(30, D, 6).astype(float))
    assert trial.shown.sum(axis=0).tolist() == [15, 10, 5, 25] and len(trial.images) == 85
    ways = ("{} image{}", "{} image{}, centred", "name + {} image{}", "name + {} image{}, balanced")
    named = [way.format(*number) for number in ((1, ""), (5, "s")) for way in ways]
    assert set(trial.made) >= {"name", "name, centred", *named, "name + 5 images, balanced, centred"}
    for way, vectors in trial.made.items():
        assert (np.linalg.norm(vectors, axis=1) <= MAX_LENGTH).all() or way == "name, centred"
    # The mean of one image is that image: it must not be among those that are counted.
    for example in trial.made["1 image"]:
        assert not np.isclose(trial.images @ example, 1).any()


def test_errors_are_written_as_median_and_ninetieth_percentile():
    scores = [prototype_quality.Score(0.5, 99, 99, 9)] * 9 + [prototype_quality.Score(0.5, 99, 9, 99)]
    assert prototype_quality.error(scores, "hindsight").startswith(".00/")
    assert prototype_quality.error(scores, "learned").startswith("1.02/")


@pytest.mark.parametrize("concepts", [2, 3, 4, 9])
def test_all_thresholds_of_the_others_come_of_one_sorting(concepts):
    generator = np.random.default_rng(concepts)
    rows = generator.multinomial(60, np.full(BINS, 1 / BINS), size=concepts)
    truth, counts = generator.integers(0, 30, concepts), counts_at_edges(rows)
    for concept, edge in enumerate(prototype_quality.edges_of_the_others(counts, truth)):
        others = np.arange(concepts) != concept
        expected = best_edge(rows[others], truth[others])
        assert np.array_equal(counts[others, edge], counts[others, expected])
