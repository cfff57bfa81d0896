"""Grades say how far a frequency may be trusted: rules on single concepts, and what they are worth in simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit import Labelled, audited_frequency
from tailwag.analysis.calibration.grades import (
    LEVELS,
    Grade,
    grade_anchored,
    grade_audited,
    grade_count,
    grade_without_captions,
)
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.benchmarks.similarity_simulation import KINDS, Captions, simulate_histograms


@pytest.fixture(scope="module")
def clear():
    """A concept that captions name often and nothing else."""
    made = simulate_histograms(1e-2, Captions(recall=(0.9, 0.9), look_alikes_named=0.0), concepts=1, rows=200_000)
    (frequency,) = anchored_frequencies(made.rows, made.mentions)
    return made, frequency


def test_a_concept_that_captions_name_clearly_is_sound(clear):
    made, frequency = clear
    assert grade_anchored(frequency, int(made.mentions.sum())) == Grade("sound")


def test_another_estimate_that_differs_by_more_than_a_factor_of_two_makes_it_fragile(clear):
    made, frequency = clear
    mentions = int(made.mentions.sum())
    assert grade_anchored(frequency, mentions, other=1.9 * frequency.estimate).level == "sound"
    for other in (2.1 * frequency.estimate, frequency.estimate / 2.1):
        grade = grade_anchored(frequency, mentions, other=other)
        assert grade.level == "fragile" and "another estimate" in grade.reasons[0]


def test_few_mentions_and_mentions_by_chance_lower_the_grade(clear):
    _, frequency = clear

    def level(excess, mentions):
        less = replace(frequency, excess=replace(frequency.excess, excess=excess))
        return grade_anchored(less, mentions).level

    assert level(9.9, 10) == "unsupported"
    assert level(15.0, 16) == "fragile"
    assert level(15.0, 40) == "unsupported"
    assert level(100.0, 120) == "sound"
    assert level(100.0, 300) == "fragile"


def test_purest_rows_that_seldom_name_it_make_it_fragile(clear):
    made, frequency = clear
    assert frequency.purest is not None
    purest = replace(frequency.purest, mentions=frequency.purest.rows // 2)
    grade = grade_anchored(replace(frequency, purest=purest), int(made.mentions.sum()))
    assert grade.level == "fragile" and "seldom named" in str(grade)


def test_many_similar_rows_that_hardly_ever_name_it_are_unsupported_and_a_few_are_not(clear):
    made, frequency = clear
    assert frequency.purest is not None
    mentions = int(made.mentions.sum())

    def graded(rate, share):
        purest = replace(frequency.purest, mentions=round(rate * 1_000), rows=1_000, share=share)
        return grade_anchored(replace(frequency, purest=purest), mentions)

    assert graded(0.19, 0.003).level == "unsupported" and "look-alikes" in str(graded(0.19, 0.003))
    assert graded(0.19, 0.002).level == graded(0.21, 0.003).level == "fragile"
    assert graded(0.9, 0.3).level == "sound"


def test_look_alikes_that_some_captions_name_are_unsupported():
    levels, errors = [], []
    for seed in range(30, 34):
        captions = Captions(look_alikes_named=0.01)
        made = simulate_histograms(
            1e-4, captions, concepts=10, rows=30_000, look_alikes=500, look_alikes_nearness=2.0, seed=seed
        )
        for one, mentions, truth in zip(
            anchored_frequencies(made.rows, made.mentions), made.mentions.sum(axis=1), made.truth, strict=True
        ):
            levels.append(grade_anchored(one, int(mentions)).level)
            errors.append(one.estimate / truth)
    # Several times too great, and nothing but the grade tells.
    assert np.median(errors) > 3
    assert levels.count("unsupported") >= 0.95 * len(levels)


def test_a_wide_interval_and_a_concept_that_nothing_names_are_unsupported(clear):
    made, frequency = clear
    wide = replace(frequency, upper=17 * frequency.lower)
    assert grade_anchored(wide, int(made.mentions.sum())).level == "unsupported"
    (silent,) = anchored_frequencies(made.rows, np.zeros_like(made.mentions))
    assert grade_anchored(silent, 0) == Grade("unsupported", ("no caption names it",))


@given(st.floats(0.01, 100.0), st.sampled_from(LEVELS))
@settings(max_examples=50, deadline=None)
def test_a_raw_count_is_never_graded_above_its_frequency_nor_better_farther_away(clear, factor, level):
    _, frequency = clear
    near = grade_count(round(frequency.estimate * factor), frequency, Grade(level))
    far = grade_count(round(frequency.estimate * factor**2), frequency, Grade(level))
    assert LEVELS.index(level) <= LEVELS.index(near.level) <= LEVELS.index(far.level)
    if factor > 2.1 or factor < 0.45:
        assert near.level == "unsupported" and near.reasons


def test_nothing_without_captions_is_sound_and_rare_things_are_unsupported():
    assert grade_without_captions(2_000.0, 1_000_000, labels=200).level == "fragile"
    assert grade_without_captions(900.0, 1_000_000, labels=200).level == "unsupported"
    assert grade_without_captions(float("nan"), 1_000_000).level == "unsupported"


def test_an_audit_is_sound_with_labels_that_say_yes_and_unsupported_without_any(clear):
    made, frequency = clear
    strata = lay_strata(made.rows[0], made.mentions[0], frequency)
    none = [Labelled()] * len(strata)
    generator = np.random.default_rng(0)
    some = made.label(0, strata, none, [2] * len(strata), generator)
    enough = made.label(0, strata, none, [8] * len(strata), generator)
    levels = [grade_audited(audited_frequency(strata, one, frequency.recall)).level for one in (none, some, enough)]
    assert levels == ["unsupported", "fragile", "sound"]


@pytest.mark.parametrize("prevalence", [1e-2, 1e-3, 1e-4, 1e-6])
def test_sound_intervals_hold_the_truth_and_what_cannot_be_seen_is_unsupported(prevalence):
    inside, levels = [], []
    for seed, kind in enumerate(("random", "prominence") * 3, start=20):
        made = simulate_histograms(prevalence, KINDS[kind], concepts=40, seed=seed)
        found = anchored_frequencies(made.rows, made.mentions)
        for one, mentions, truth in zip(found, made.mentions.sum(axis=1), made.truth, strict=True):
            levels.append(grade_anchored(one, int(mentions)).level)
            if levels[-1] == "sound":
                inside.append(one.lower <= truth <= one.upper)
    if prevalence == 1e-6:
        assert levels.count("unsupported") >= 0.95 * len(levels)
    else:
        assert len(inside) >= 15 and np.mean(inside) >= 0.9
        assert levels.count("unsupported") <= 0.05 * len(levels)
