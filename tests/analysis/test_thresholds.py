"""Thresholds from labels: what they are worth, where they hold, and what cannot teach one."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.analysis.calibration.threshold_rules import equal_counts
from tailwag.analysis.calibration.thresholds import (
    Thresholds,
    parse_rule,
    thresholds_from_labels,
    thresholds_from_null,
)
from tailwag.errors import BadInput
from tailwag.retrieval.counting.bins import BINS, EDGES, bin_of, counts_at_edges
from tailwag.retrieval.thresholds import read_threshold_table

from ..corpora import make_space

SPACE = make_space(8)


def binned(similarities):
    return np.bincount(bin_of(np.array(similarities, dtype=float)), minlength=BINS)


def labels_of(concepts, shown=40, absent=400, seed=0):
    """Histograms of labelled rows: .3 where the concept shows and .2 where not, concept by concept a little higher."""
    random = np.random.default_rng(seed)
    yes = [binned(random.normal(0.3 + 0.005 * one, 0.03, shown)) for one in range(concepts)]
    no = [binned(random.normal(0.2 + 0.005 * one, 0.03, absent)) for one in range(concepts)]
    return np.array(yes), np.array(no)


def learned(rule, yes, no, names=None) -> Thresholds:
    names = names or [f"concept {number}" for number in range(len(yes))]
    return thresholds_from_labels(parse_rule(rule), names, yes, no, space=SPACE, kind="plain", labels="labels.csv")


def test_a_threshold_travels_with_where_it_came_from_and_what_it_holds_for(tmp_path):
    found = learned("equal-counts", *labels_of(2))
    found.save(tmp_path / "t.csv")
    table = read_threshold_table(tmp_path / "t.csv")
    assert table.concepts == ("concept 0", "concept 1") and table.kind == "plain"
    assert set(table.spaces) == {SPACE.fingerprint}
    assert table.thresholds.tolist() == [one.threshold for one in found]
    assert table.sources[0] == "equal-counts on 440 labelled rows, 40 of them yes; labels.csv; plain prototypes"
    with (tmp_path / "t.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["recall_lower"]) < float(row["recall"]) < float(row["recall_upper"])
    assert float(row["precision_lower"]) < float(row["precision"]) <= float(row["precision_upper"])
    assert (row["shown"], row["labelled"]) == ("40", "440")


def test_recall_and_precision_are_those_of_rows_that_did_not_choose_the_threshold():
    """Labels that say nothing: chosen and judged on the same rows the best F1 would look better than on fresh ones."""
    random = np.random.default_rng(3)
    told, fresh = [], []
    for _ in range(60):
        yes, no = binned(random.normal(0.2, 0.03, 12)), binned(random.normal(0.2, 0.03, 48))
        (one,) = learned("precision=0.5", yes[None], no[None]) if _has_half(yes, no) else (None,)
        if one is None:
            continue
        edge = int(np.searchsorted(EDGES, one.threshold))
        new = counts_at_edges(binned(random.normal(0.2, 0.03, 100_000)))[edge] / 100_000
        told.append(one.recall)
        fresh.append(new)
        at_the_same = counts_at_edges(yes)[edge] / 12
        assert at_the_same >= one.recall - 0.5
    assert len(told) > 20
    assert abs(np.mean(told) - np.mean(fresh)) < 0.06


def _has_half(yes, no):
    found, hits = counts_at_edges(yes), counts_at_edges(yes + no)
    return bool(((found > 0) & (found >= 0.5 * hits)).any())


def test_a_precision_that_is_not_reached_leaves_the_concept_out():
    yes, no = labels_of(2)
    no[1] = yes[1] * 3
    found = learned("precision=0.9", yes, no)
    assert [one.concept for one in found] == ["concept 0"]
    assert found.left_out == (("concept 1", "no threshold has a precision of 0.9"),)
    with pytest.raises(BadInput, match="no concept has a threshold with a precision of 0.9: ask for less"):
        learned("precision=0.9", yes[1:], no[1:])


def test_one_threshold_for_all_lies_between_their_own_and_others_leave_the_concept_out():
    yes, no = labels_of(9)
    own = [one.threshold for one in learned("equal-counts", yes, no)]
    (shared,) = {one.threshold for one in learned("global", yes, no)}
    assert min(own) <= shared <= max(own)
    # A concept whose own labels lie elsewhere does not change what the others teach it.
    yes[0], no[0] = binned(np.full(40, 0.8)), binned(np.full(400, 0.7))
    again = learned("others", yes, no)
    rest = learned("global", yes[1:], no[1:])
    assert again.thresholds[0].threshold == rest.thresholds[0].threshold
    assert again.thresholds[0].recall == 1 and again.thresholds[0].precision == pytest.approx(40 / 440)
    assert "others on 8 concepts" in again.thresholds[0].source


def test_a_concept_without_labels_gets_a_threshold_from_others_and_no_recall():
    yes, no = labels_of(5)
    yes[4] = no[4] = 0
    found = learned("others", yes, no)
    assert len(found) == 5 and not found.left_out
    told = found.thresholds[4].as_dict()
    assert told["recall"] is told["precision"] is None and told["labelled"] == 0
    assert [name for name, _ in learned("equal-counts", yes, no).left_out] == ["concept 4"]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_concepts_changes_no_threshold(order):
    yes, no = labels_of(6)
    names = [f"concept {one}" for one in range(6)]
    for rule in ("equal-counts", "best-f1", "global", "others"):
        found = {one.concept: one for one in learned(rule, yes, no)}
        turned = {one.concept: one for one in learned(rule, yes[order], no[order], [names[one] for one in order])}
        assert found == turned


def test_the_threshold_of_own_labels_uses_all_of_them():
    yes, no = labels_of(1)
    assert learned("equal-counts", yes, no).thresholds[0].threshold == EDGES[equal_counts(yes[0], no[0])]


@pytest.mark.parametrize(
    ("shown", "absent", "said"),
    [
        (0, 0, "0 labels, under 10"),
        (1, 0, "1 label, under 10"),
        (4, 5, "9 labels, under 10"),
        (23, 0, "23 labels that say yes and 0 that say no"),
        (1, 30, "1 labels that say yes and 30 that say no"),
    ],
)
def test_too_few_labels_and_one_class_alone_are_told(shown, absent, said):
    yes, no = labels_of(1, shown, absent)
    with pytest.raises(BadInput, match=said):
        learned("equal-counts", yes, no)


def test_a_shared_threshold_wants_concepts():
    yes, no = labels_of(3)
    assert len(learned("global", yes, no)) == 3
    with pytest.raises(BadInput, match="wants 4 or more"):
        learned("others", yes, no)


def test_the_null_says_that_it_is_a_bad_idea_and_where_it_is_worst():
    random = np.random.default_rng(0)
    many = np.concatenate([random.normal(0.2, 0.02, 50_000), np.full(3000, 0.4)])
    few = np.concatenate([random.normal(0.2, 0.02, 50_000), np.full(10, 0.4)])
    none = random.uniform(-0.1, 0.1, 50_000)
    rows = np.stack([binned(one) for one in (many, few, none)])
    found = thresholds_from_null(
        parse_rule("null"), ["many", "few", "none"], rows, space=SPACE, kind="plain", corpus="corpus 'c'"
    )
    assert [one.concept for one in found] == ["many", "few"]
    assert found.left_out[0][0] == "none"
    assert "thicker than a normal one" in found.notes[0]
    assert "of 1 of 2 concepts fewer than 0.001 of the rows are hits" in found.notes[1] and "'few'" in found.notes[1]
    with pytest.raises(BadInput, match="explains all hits of the 1 concepts"):
        thresholds_from_null(parse_rule("null"), ["none"], rows[2:], space=SPACE, kind="plain", corpus="c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guess", "none of equal-counts"),
        ("precision=2", "a share above 0 and at most 1"),
        ("precision=x", "a share above 0"),
        ("best-f1=0.5", "none of equal-counts"),
        ("null=0", "a share above 0"),
    ],
)
def test_a_rule_that_is_none_is_refused(text, said):
    with pytest.raises(BadInput, match=said):
        parse_rule(text)
