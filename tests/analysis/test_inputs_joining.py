"""Accuracies meet frequencies by name: never by position, nothing lost without a line about it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.analysis.inputs import KnownNames, join, pool
from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.concepts import fold

from .tables import accuracies, both, frequencies


def reasons(result):
    return sorted((exclusion.name, exclusion.reason) for exclusion in result.exclusions)


def pairs(points):
    return dict(zip(points.table["concept"], points.table["frequency"], strict=True))


def test_names_meet_whatever_their_case_underscores_and_hyphens():
    points = join(
        accuracies(("Hot-Air_Balloon", 0.5), ("Crested_Auklet", 0.1)),
        frequencies(("crested auklet", 7), ("hot air balloon", 9)),
    )
    assert pairs(points) == {"hot air balloon": 9, "crested auklet": 7}
    assert points.table["value"].tolist() == [0.5, 0.1]
    assert points.exclusions == ()


@given(st.dictionaries(st.text("abc_- A", min_size=1), st.integers(0, 50), max_size=12), st.randoms())
def test_a_join_equals_a_loop_over_folded_names_in_any_order(counts, shuffler: random.Random):
    by_name: dict[str, list[int]] = {}
    for name, count in counts.items():
        by_name.setdefault(fold(name), []).append(count)
    expected = {n: c[0] for n, c in by_name.items() if n and len(set(c)) == 1}
    evaluated = [(name, 0.5) for name in (*expected, "never counted")]
    shuffled = list(counts.items())
    shuffler.shuffle(shuffled)
    if not expected:
        with pytest.raises(BadInput):
            join(accuracies(*evaluated), frequencies(*shuffled, ("other", 1)))
        return
    points = join(accuracies(*evaluated), frequencies(*shuffled, ("other", 1)))
    assert pairs(points) == expected
    assert ("never counted", "no count of this name") in reasons(points)
    assert ("other", "no accuracy of this name") in reasons(points)
    # Every count is a point, or in the list.
    listed = {exclusion.name for exclusion in points.exclusions}
    assert all(name in listed or fold(name) in expected for name in counts)


def test_every_name_without_a_partner_is_listed_once_and_not_once_a_model():
    two = both(accuracies(("a", 0.1), ("b", 0.2)), accuracies(("a", 0.3), ("b", 0.4), model="n"))
    points = join(two, frequencies(("a", 5), ("c", 6)))
    assert len(points) == 2
    assert reasons(points) == [("b", "no count of this name"), ("c", "no accuracy of this name")]


def test_the_known_traps_of_the_release():
    evaluated = both(
        accuracies(("plane", 0.8), task="cifar10"),
        accuracies(("Alder_Flycatcher_bird", 0.2), ("A310_aircraft", 0.3), task="let-it-wag"),
    )
    counted = both(
        frequencies(("airplane", 3), task="cifar10"),
        frequencies(("Alder_Flycatcher", 4), ("A310", 5), task="let-it-wag"),
    )
    points = join(evaluated, counted)
    assert pairs(points) == {"airplane": 3, "alder flycatcher": 4, "a310": 5}
    # A plane of another test set is not renamed.
    assert KnownNames.load().canonical("caltech101", "plane") == "plane"
    assert KnownNames.load().repeated(["imagenet", "imagenet-sketch", "cub"]) == {"imagenet-sketch": "imagenet"}
    assert KnownNames.load().repeated(["imagenet-sketch", "cub"]) == {}


def test_two_spellings_with_one_value_count_once_and_with_two_values_not_at_all():
    points = join(accuracies(("a b", 0.1), ("a_b", 0.1), ("c d", 0.1), ("c-d", 0.2), ("e", 0.3)),
                  frequencies(("a b", 1), ("c d", 2), ("e", 3), ("E", 3)))  # fmt: skip
    assert pairs(points) == {"a b": 1, "e": 3}
    assert ("a_b", "the same value under one name") in reasons(points)
    assert ("E", "the same value under one name") in reasons(points)
    assert [name for name, reason in reasons(points) if reason == "several values under one name"] == ["c d", "c-d"]


def test_a_count_of_the_test_set_goes_before_one_for_all():
    counted = both(frequencies(("a", 1), task=""), frequencies(("a", 2), task="t"), frequencies(("b", 3), task=""))
    points = join(accuracies(("a", 0.5), ("b", 0.5)), counted)
    assert pairs(points) == {"a": 2, "b": 3}
    # A general count that serves one test set is not unmatched because another test set lacks the concept.
    two = both(accuracies(("a", 0.5)), accuracies(("b", 0.5), task="u"))
    points = join(two, frequencies(("a", 1), ("b", 2), ("c", 3), task=""))
    assert pairs(points) == {"a": 1, "b": 2}
    assert reasons(points) == [("c", "no accuracy of this name")]


def test_the_frequency_is_the_estimate_where_there_is_one():
    counted = both(frequencies(("a", 10), estimate=12.0, lower=9.0, upper=15.0), frequencies(("b", 7)))
    points = join(accuracies(("a", 0.5), ("b", 0.6)), counted)
    assert pairs(points) == {"a": 12, "b": 7}
    assert points.table["count"].tolist() == [10, 7]
    assert points.table["lower"].tolist()[0] == 9
    assert math.isnan(points.table["lower"].tolist()[1])


def test_sides_and_models_each_give_their_points():
    two = both(accuracies(("a", 0.1)), accuracies(("a", 0.3), model="n"))
    points = join(two, both(frequencies(("a", 5)), frequencies(("a", 2), side="joint")))
    found = points.table[["model", "side", "frequency", "value"]].itertuples(index=False, name=None)
    assert set(found) == {
        ("m", "image", 5, 0.1),
        ("n", "image", 5, 0.3),
        ("m", "joint", 2, 0.1),
        ("n", "joint", 2, 0.3),
    }


def test_pretraining_sets_meet_by_name_unless_there_is_one_of_each():
    one = join(accuracies(("a", 0.1), pretraining="laion400m_e32"), frequencies(("a", 5), pretraining="laion400m"))
    assert one.table["pretraining"].tolist() == ["laion400m_e32"]
    unnamed = join(accuracies(("a", 0.1), pretraining=""), frequencies(("a", 5), pretraining="laion400m"))
    assert unnamed.table["pretraining"].tolist() == ["laion400m"]

    counted = both(frequencies(("a", 5), pretraining="x"), frequencies(("a", 6), pretraining="y"))
    evaluated = both(accuracies(("a", 0.1), pretraining="y"), accuracies(("a", 0.2), pretraining="z", model="n"))
    points = join(evaluated, counted)
    assert points.table["frequency"].tolist() == [6]
    assert ("n/z", "no counts of this pretraining set") in reasons(points)
    points = join(evaluated, counted, pretraining={"z": "x"})
    assert points.table["frequency"].tolist() == [6, 5]
    with pytest.raises(BadInput, match="each must be named"):
        join(accuracies(("a", 0.1), pretraining=""), counted)
    with pytest.raises(BadInput, match="'z' and 'q' cannot go together"):
        join(evaluated, counted, pretraining={"z": "q"})


def test_values_of_whole_test_sets_are_refused_alone_and_listed_among_others():
    with pytest.raises(BadInput, match="of whole test sets .'t' first.*accuracies per class"):
        join(accuracies(("", 0.5)), frequencies(("a", 1)))
    points = join(accuracies(("", 0.5), ("a", 0.1)), frequencies(("a", 1), ("-", 2)))
    assert len(points) == 1
    assert [exclusion.reason for exclusion in points.exclusions] == [
        "a value of a whole test set",
        "a name without a letter or digit",
    ]


def test_nothing_in_common_is_an_error_that_shows_both():
    with pytest.raises(BadInput, match="not one of 1 accuracies and 1 counts.*'cat' against 'dog'"):
        join(accuracies(("cat", 0.5)), frequencies(("dog", 1)))


def test_test_sets_that_only_one_side_has_are_one_line_each():
    evaluated = both(accuracies(("a", 0.1)), accuracies(("b", 0.1), ("c", 0.1), task="u"))
    counted = both(frequencies(("a", 1)), frequencies(("b", 1), ("c", 1), task="v"))
    points = join(evaluated, counted)
    assert {(e.name, e.reason, e.detail) for e in points.exclusions} == {
        ("u", "no counts of this test set", "2 names, p image"),
        ("v", "no accuracies of this test set", "2 counts, p image"),
    }


def test_pooled_counts_stand_once_a_name_and_say_where_they_differ():
    counted = both(frequencies(("Golden_Gate", 3), ("a", 1)), frequencies(("golden gate", 5), ("a", 1), task="u"))
    found = pool(counted)
    assert dict(zip(found.table["concept"], found.table["count"], strict=True)) == {"a": 1, "golden gate": 5}
    assert set(found.table["task"]) == {""}
    assert [(e.name, e.detail) for e in found.exclusions] == [("golden gate", "3 to 5")]
    assert set(pool(counted, as_spelt=True).table["concept"]) == {"Golden_Gate", "golden gate", "a"}


def test_known_names_from_a_file(tmp_path):
    path = tmp_path / "names.toml"
    path.write_text('[renamed.pets]\n"Tabby_Cat" = "tabby"\n')
    assert KnownNames.load(path).canonical("pets", "tabby-cat") == "tabby"
    path.write_text("[renames]\n")
    with pytest.raises(BadInput, match="renamed, endings, repeats, not 'renames'"):
        KnownNames.load(path)
    path.write_text("[renamed.pets]\ntabby = 3\n")
    with pytest.raises(BadInput, match="not written as text"):
        KnownNames.load(path)
    path.write_text("[")
    with pytest.raises(BadInput, match="no TOML"):
        KnownNames.load(path)
    with pytest.raises(NotFound):
        KnownNames.load(tmp_path / "nothing.toml")
