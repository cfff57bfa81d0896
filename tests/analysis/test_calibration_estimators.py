"""Frequencies from captions and from two-way audits, on histograms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit import Labelled, audited_frequency, next_labels
from tailwag.analysis.calibration.excess import find_background, find_excess, find_purest_rows
from tailwag.analysis.calibration.strata import lay_strata
from tailwag.errors import BadInput

BINS = 2048


def made_concept(seed, rows=200_000, true=2_000, recall=0.7, background=1e-4):
    """One concept whose images lie far above the others: rows, mentions, true rows, true mentions by bin."""
    generator = np.random.default_rng(seed)

    def binned(number, mean, deviation):
        return np.bincount(np.clip(generator.normal(mean, deviation, number).astype(int), 0, BINS - 1), minlength=BINS)

    shown, others = binned(true, 1300, 20), binned(rows - true, 1150, 15)
    named = generator.binomial(shown, recall)
    return shown + others, named + generator.binomial(others, background), shown, named


def test_mentions_over_recall_find_the_truth_where_similarity_is_clear():
    made = [made_concept(seed, true=1_000 * (1 + seed)) for seed in range(8)]
    found = anchored_frequencies(np.array([one[0] for one in made]), np.array([one[1] for one in made]))
    for one, frequency in zip(made, found, strict=True):
        assert frequency.lower < one[2].sum() < frequency.upper
        assert abs(np.log10(frequency.estimate / one[2].sum())) < 0.1


def test_the_background_of_false_mentions_is_not_counted():
    rows, mentions, _, named = made_concept(0, background=2e-3)
    excess = find_excess(rows, mentions)
    assert excess.background == pytest.approx(2e-3, rel=0.3)
    assert excess.excess == pytest.approx(named.sum(), rel=0.05)
    assert mentions.sum() > 1.2 * named.sum()


def test_what_half_of_all_images_show_is_not_taken_for_chance():
    rows, mentions, shown, _ = made_concept(0, rows=200_000, true=120_000, recall=0.7, background=1e-3)
    assert mentions.sum() > 0.4 * rows.sum()
    assert find_background(rows, mentions) == pytest.approx(1e-3, rel=0.2)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    assert frequency.estimate == pytest.approx(shown.sum(), rel=0.1)


@given(st.integers(0, 10_000), st.sampled_from([1e-5, 1e-4, 1e-2]))
@settings(max_examples=40, deadline=None)
def test_mentions_by_chance_alone_leave_the_background_at_the_less_similar_half(seed, background):
    rows, mentions, _, _ = made_concept(seed, true=0, background=background)
    half = int(np.searchsorted(np.cumsum(rows), rows.sum() / 2))
    expected = mentions[: half + 1].sum() / rows[: half + 1].sum()
    # One in some 16,000 draws reads it further down.
    assert find_background(rows, mentions) == pytest.approx(expected, rel=0.3)


def test_recall_is_read_in_rows_that_show_the_concept():
    rows, mentions, _, _ = made_concept(0, recall=0.8)
    purest = find_purest_rows(rows, mentions)
    assert purest is not None and purest.rate == pytest.approx(0.8, abs=0.1)


def test_a_concept_that_nothing_names_has_no_frequency_and_no_audit():
    rows, mentions, _, _ = made_concept(0)
    (frequency,) = anchored_frequencies(rows[None], np.zeros_like(mentions)[None])
    assert frequency.estimate == 0 and frequency.purest is None
    strata = lay_strata(rows, np.zeros_like(mentions), frequency)
    assert strata == ()
    with pytest.raises(BadInput, match="synonyms"):
        audited_frequency(strata, [], frequency.recall)


def test_more_mentions_than_rows_are_refused():
    rows, mentions, _, _ = made_concept(0)
    with pytest.raises(BadInput, match="more mentions than rows"):
        anchored_frequencies(mentions[None], rows[None])


@given(st.integers(0, 10_000), st.integers(0, 3_000), st.floats(0.1, 0.9), st.sampled_from([0.0, 1e-5, 1e-3]))
@settings(max_examples=25, deadline=None)
def test_strata_hold_each_named_row_once_and_no_row_twice(seed, true, recall, background):
    rows, mentions, _, _ = made_concept(seed, 20_000, true, recall, background)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    strata = lay_strata(rows, mentions, frequency)
    taken = {True: np.zeros(BINS, int), False: np.zeros(BINS, int)}
    for stratum in strata:
        source = mentions if stratum.named else rows - mentions
        assert stratum.rows == source[stratum.first : stratum.last].sum() > 0
        taken[stratum.named][stratum.first : stratum.last] += 1
    assert all((times <= 1).all() for times in taken.values())
    if strata:
        assert (taken[True][mentions > 0] == 1).all() and (taken[False][rows > mentions] == 1).all()


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0.2, 0.9), st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_no_interval_closes_on_rows_that_nobody_looked_at(seed, true, recall, background):
    """All strata but one are labelled, with no among the unnamed rows: that one's rows stay possible."""
    rows, mentions, _, named = made_concept(seed, 3_000, true, recall, background * 1e-3)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    strata = lay_strata(rows, mentions, frequency)
    below = [position for position, one in enumerate(strata) if not one.named and not one.in_zone]
    if not below:
        return
    open_one = below[0]
    labels = [Labelled(one.rows, int(named[one.first : one.last].sum()) if one.named else 0) for one in strata]
    labels[open_one] = Labelled()
    audited = audited_frequency(strata, labels, frequency.recall)
    assert audited.draws.max() > sum(one.true for one in labels) == audited.draws.min()


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0.2, 0.9))
@settings(max_examples=25, deadline=None)
def test_labels_on_every_row_leave_nothing_open(seed, true, recall):
    rows, mentions, shown, named = made_concept(seed, 5_000, true, recall)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    strata = lay_strata(rows, mentions, frequency)
    if not strata:
        return
    assert sum(one.rows for one in strata) == rows.sum()
    labels = [
        Labelled(one.rows, int((named if one.named else shown - named)[one.first : one.last].sum())) for one in strata
    ]
    audited = audited_frequency(strata, labels, frequency.recall, draws=500)
    assert (audited.draws == sum(one.true for one in labels)).all() and not audited.beside.any()


@given(st.integers(0, 10_000), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_no_more_labels_are_asked_for_than_there_are_rows(seed, number):
    rows, mentions, _, _ = made_concept(seed, 3_000, 20, 0.5)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    strata = lay_strata(rows, mentions, frequency)
    asked = next_labels(strata, [Labelled()] * len(strata), frequency.recall, number)
    assert sum(asked) == min(number, sum(one.rows for one in strata))
    assert all(0 <= some <= one.rows for some, one in zip(asked, strata, strict=True))


def test_labels_narrow_the_interval_and_the_truth_stays_inside():
    inside = {0: 0, 30: 0, 200: 0}
    widths = {labels: [] for labels in inside}
    for seed in range(40):
        rows, mentions, shown, named = made_concept(seed, true=800, recall=0.5)
        (frequency,) = anchored_frequencies(rows[None], mentions[None])
        strata = lay_strata(rows, mentions, frequency)
        labels = [Labelled()] * len(strata)
        generator = np.random.default_rng(seed)
        for wanted in inside:
            more = wanted - sum(one.rows for one in labels)
            for position, some in enumerate(next_labels(strata, labels, frequency.recall, more)):
                stratum, known = strata[position], labels[position]
                source = named if stratum.named else shown - named
                good = int(source[stratum.first : stratum.last].sum()) - known.true
                drawn = generator.hypergeometric(good, stratum.rows - known.rows - good, some)
                labels[position] = Labelled(known.rows + some, known.true + int(drawn))
            audited = audited_frequency(strata, labels, frequency.recall, draws=1_000)
            inside[wanted] += audited.lower <= shown.sum() <= audited.upper
            widths[wanted].append(audited.upper / audited.lower)
    assert np.median(widths[200]) < np.median(widths[30]) < np.median(widths[0])
    assert all(covered >= 34 for covered in inside.values()), inside
