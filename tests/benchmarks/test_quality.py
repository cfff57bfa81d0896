"""The ground truth of perf/quality.py: its oracles against brute force, its scores, and a small run of the whole."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from tailwag.benchmarks.similarity_simulation import Captions, simulate_histograms
from tailwag.retrieval.counting.bins import BINS, EDGES

PERF = str(Path(__file__).resolve().parents[2] / "perf")
sys.path.insert(0, PERF)
try:
    import quality
    from ground_truth import estimators, made_captions, protocol, scoring, tables
finally:
    sys.path.remove(PERF)


def answered(truth=100, estimate=100.0, *, rows=10_000, lower=50.0, upper=200.0, grade="sound", **changes):
    fields = {"corpus": "simulation", "kind": "k", "case": 0, "estimator": "anchored", "labels": 0, "concept": "c"}
    return scoring.Answered(
        **{**fields, **changes},
        rows=rows,
        truth=truth,
        estimate=estimate,
        lower=lower,
        upper=upper,
        grade=grade,
        seconds=0.0,
    )


@pytest.fixture(scope="module")
def rows_of_known():
    """Similarities of 300 rows to 4 concepts, what they show and what they are named."""
    generator = np.random.default_rng(3)
    shown = generator.random((300, 4)) < (0.02, 0.1, 0.3, 0.5)
    similarities = np.clip(generator.normal(0.1 + 0.1 * shown, 0.05), -0.9, 0.9)
    return similarities, shown, generator.random((300, 4)) < 0.1 + 0.6 * shown


def test_histograms_hold_every_row_in_the_bin_of_its_similarity(rows_of_known):
    similarities, shown, named = rows_of_known
    made = protocol.histograms_of(similarities, shown, named)
    for concept in range(4):
        for which, rows in zip(
            (made.rows, made.mentions, made.true_rows, made.true_mentions),
            (np.ones(300, bool), named[:, concept], shown[:, concept], shown[:, concept] & named[:, concept]),
            strict=True,
        ):
            own = similarities[rows, concept]
            assert which[concept].sum() == rows.sum()
            filled = np.flatnonzero(which[concept])
            for at in filled:
                assert which[concept, at] == ((own >= EDGES[at]) & (own < EDGES[at + 1])).sum()


def test_rows_that_nobody_could_tell_are_in_no_histogram_of_that_concept(rows_of_known):
    similarities, shown, named = rows_of_known
    unsure = np.zeros_like(shown)
    unsure[:7, 2] = True
    made = protocol.histograms_of(similarities, shown, named, unsure)
    assert made.rows.sum(axis=1).tolist() == [300, 300, 293, 300]
    assert made.truth[2] == shown[7:, 2].sum()


def test_the_best_threshold_in_hindsight_is_the_best_of_all_that_there_are(rows_of_known):
    similarities, shown, named = rows_of_known
    known = protocol.histograms_of(similarities, shown, named)
    truth = shown.sum(axis=0)

    def error(threshold):
        counts = (similarities >= threshold).sum(axis=0)
        return np.median(np.abs(np.log10((counts + 0.5) / (truth + 0.5))))

    edge = estimators.best_edge(known.rows, truth)
    assert error(EDGES[edge]) == pytest.approx(min(map(error, EDGES)))


def test_a_threshold_of_the_other_concepts_never_sees_the_concept_itself(rows_of_known):
    known = protocol.histograms_of(*rows_of_known)
    observed = protocol.Observed(tuple("abcd"), known.rows, known.mentions, False, others_labelled=True)

    class Forgetful(protocol.Oracle):
        def of_others(self, concept):
            rows, truth = super().of_others(concept)
            assert len(rows) == len(truth) == 3
            assert not any((row == self.known.rows[concept]).all() for row in rows)
            return rows, truth

    said = estimators.FromOtherConcepts()(observed, Forgetful(known, np.random.default_rng(0)))
    assert np.isfinite(said[0].estimate).all()


def test_only_audits_take_labels_and_no_more_than_they_say():
    known = simulate_histograms(1e-3, concepts=2, rows=100_000, seed=4)
    observed = protocol.Observed(("a", "b"), known.rows, known.mentions, True, known)
    for estimator in estimators.all_estimators():
        if not estimator.suits(observed):
            continue
        oracle = protocol.Oracle(known, np.random.default_rng(0))
        said = estimator(observed, oracle)
        assert oracle.given.max() <= max(said)
        if max(said):
            assert oracle.given.min() > 0
        for answers in said.values():
            assert len(answers.estimate) == len(answers.grades) == 2


def test_an_estimator_that_takes_more_labels_than_it_says_is_caught():
    class Greedy(estimators.TwoWayAudit):
        def __call__(self, observed, oracle):
            return {10: super().__call__(observed, oracle)[30]}

    known = simulate_histograms(1e-3, concepts=1, rows=100_000, seed=4)
    case = protocol.Case("c", "k", protocol.Observed(("a",), known.rows, known.mentions, True), known)
    with pytest.raises(AssertionError, match="took 30 labels and owns up to 10"):
        scoring.ask([case], [Greedy((30,))])


def test_captions_name_as_often_as_they_are_set_to():
    generator = np.random.default_rng(1)
    shown = generator.random((60_000, 2)) < 0.5
    alike = ~shown & (generator.random(shown.shape) < 0.5)
    prominence = generator.standard_normal(shown.shape)
    captions = Captions((0.6, 0.6), 0.8, false_mentions=0.02, look_alikes_named=0.2)
    named = made_captions.made_mentions(shown, prominence, alike, captions, generator)
    for chosen, share in ((alike, 0.2), (~shown & ~alike, 0.02)):
        assert named[chosen].mean() == pytest.approx(share, abs=0.01)
    odds = math.log(0.6 / 0.4)
    for low, high in ((-0.1, 0.1), (0.9, 1.1)):
        near = shown & (prominence > low) & (prominence < high)
        expected = 1 / (1 + math.exp(-odds - 0.8 * (low + high) / 2))
        assert named[near].mean() == pytest.approx(expected, abs=0.02)


def test_a_near_duplicate_has_the_caption_of_what_it_repeats():
    generator = np.random.default_rng(1)
    shown = np.ones((50, 3), dtype=bool)
    repeats = np.arange(50)
    repeats[25:] = np.arange(25)
    named = made_captions.made_mentions(shown, np.zeros(shown.shape), ~shown, Captions((0.5, 0.5)), generator, repeats)
    assert (named[:25] == named[25:]).all()
    assert not named[:25].all() and named[:25].any()


def test_a_score_counts_errors_coverage_and_grades_by_hand():
    found = scoring.score(
        [
            answered(100, 100.0),
            answered(100, 1004.5, lower=900.0, upper=1100.0, grade="fragile"),
            answered(100, 9.55, lower=5.0, upper=100.0),
            answered(100, float("nan"), lower=float("nan"), upper=float("nan"), grade="unsupported"),
        ]
    )
    assert (found.answers, found.silent) == (3, 1)
    assert found.median == pytest.approx(1.0, abs=1e-6)
    assert found.coverage == pytest.approx(2 / 3)
    assert (found.sound, found.fragile, found.unsupported) == (0.5, 0.25, 0.25)


def test_the_targets_tell_a_shortfall_as_it_is():
    good = [answered(1000, 1000.0, rows=10_000, lower=900.0, upper=1100.0, case=case) for case in range(18)]
    missed = [answered(1000, 2000.0, rows=10_000, lower=1500.0, upper=2500.0, case=case) for case in range(18, 24)]
    hindsight = [answered(1000, 4000.0, estimator=estimators.IN_HINDSIGHT, grade="") for _ in range(3)]
    table = tables.targets([*good, *missed, *hindsight], ["simulation"], ["simulation"])
    reached = {row[0]: row[3:] for row in table.rows}
    assert reached["no labels, captions, ≥ 1e-4, graded sound: error"] == ["simulation .000 (p90 .30)", "aim"]
    assert reached["coverage of 95 % intervals, graded sound, no labels"] == ["simulation 75.0 % of 24", "short"]
    assert reached["30 two-way labels, ≥ 1e-4: error"] == ["–", "–"]


def test_the_verdict_is_that_of_the_worst_corpus_with_concepts_enough():
    easy = [answered(1000, 1000.0, rows=10_000, lower=900.0, upper=1100.0, case=case) for case in range(18)]
    hard = [answered(1000, 1220.0, rows=10_000, lower=900.0, upper=1100.0, corpus="world") for _ in range(20)]
    few = [answered(1000, 9000.0, rows=10_000, corpus="photographs") for _ in range(19)]
    row = tables.targets([*easy, *hard, *few], ["simulation", "world", "photographs"], ["simulation"]).rows[0]
    assert row[3:] == ["simulation .000 (p90 .00); world .086 (p90 .09); photographs .954 (p90 .95)", "at least"]


def test_answers_come_back_as_they_were_saved(tmp_path):
    one = answered(3, 4.5, grade="fragile")
    scoring.save_answers([one], tmp_path / "a.parquet")
    assert scoring.read_answers(tmp_path / "a.parquet") == [one]


def test_a_quick_run_writes_the_table_and_nothing_into_the_repository(tmp_path, capsys):
    results = Path(PERF) / "results"
    before = {path.name: path.stat().st_mtime_ns for path in results.iterdir()}
    assert quality.main(["--quick", "--only", "simulation", "--cache", str(tmp_path)]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in results.iterdir()} == before
    table = json.loads((tmp_path / "quality.json").read_text("utf-8"))["table"]
    assert table["headings"][3] == "reached on each corpus" and len({len(row) for row in table["rows"]}) == 1
    assert "30 two-way labels" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        quality.main(["--only", "sea", "--cache", str(tmp_path)])


@pytest.mark.photos
def test_vectors_of_clip_are_read_with_their_labels(data):
    from ground_truth.clip_vectors import clip_cases

    cases = list(clip_cases(data, quick=True))
    by_eye = next(case for case in cases if case.corpus == "CLIP, 24 names")
    assert len(by_eye.observed.names) == 24 and by_eye.known.truth.sum() == 59
    cifar = next(case for case in cases if case.corpus == "CLIP, CIFAR-10")
    assert cifar.known.truth.max() == 25 and cifar.known.truth.min() == 2
    assert cifar.known.rows.shape == (10, BINS)
    # Nothing is in both parts.
    assert cifar.observed.labelled is not None and cifar.observed.similarities is not None
    drawn = {tuple(row) for row in cifar.observed.similarities}
    assert not drawn & {tuple(row) for row in cifar.observed.labelled.similarities}
