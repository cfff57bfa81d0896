"""Counters that answer late, and several counters at once, come to what one counter comes to tile by tile."""

import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.errors import TailwagError
from tailwag.retrieval.counting import BACKENDS, CountQuery, chosen_rows, count, passes
from tests.corpora import clustered_unit, make_corpus, make_prototypes, rows_table

from .test_counting import plant
from .together import DIMENSION, PARTS, assert_same_result, everything, five_fragments

BACKENDS_HERE = {
    "late": "LateBackend",
    "three": "ThreeCounters",
    "failing": "OneFails",
    "two devices": "TwoDevices",
}


@pytest.fixture(autouse=True)
def backends(monkeypatch):
    for name, attribute in BACKENDS_HERE.items():
        monkeypatch.setitem(BACKENDS, name, f"tests.retrieval.together:{attribute}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return five_fragments(tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("backend", ["late", "three", "two devices"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"partials": False},
        {"top_k": 0},
        {"top_k": 0, "other_thresholds": None},
        {"top_k": 0, "other_thresholds": None, "margin": None, "best": 0},
    ],
    ids=["everything", "no partials", "no top rows", "margin alone", "no pairs"],
)
def test_every_answer_is_the_same(corpus, monkeypatch, backend, changes):
    monkeypatch.setattr(passes, "PAIRS_A_TILE", 6 * 100)  # several tiles a block
    query = everything(corpus, **changes)
    assert_same_result(count(corpus, query, backend), count(corpus, query, "reference"))


@pytest.mark.parametrize("backend", ["late", "three", "two devices"])
def test_a_control_leaves_the_same_rows(corpus, backend):
    wanted = np.random.default_rng(1).random(len(corpus)) < 0.3
    wanted[PARTS[0] : PARTS[0] + 1 + PARTS[2]] = False  # a fragment of which nothing is left
    query = everything(corpus, control=chosen_rows("some", wanted))
    expected = count(corpus, query, "reference")
    assert expected.rows == wanted.sum()
    assert_same_result(count(corpus, query, backend), expected)


def test_parts_that_are_given_are_kept(corpus):
    first, *others = corpus.fragments()
    parts = [[first], others]
    query = everything(corpus)
    expected = count(corpus, query, "reference", parts=parts)
    assert len(expected.partials) == 2
    assert_same_result(count(corpus, query, "three", parts=parts), expected)


def test_an_empty_corpus_is_counted_by_several_counters(tmp_path):
    corpus = make_corpus(tmp_path, clustered_unit(0, DIMENSION))
    query = everything(corpus, mentions=None)
    assert_same_result(count(corpus, query, "three"), count(corpus, query, "reference"))


@pytest.mark.parametrize("backend", ["late", "three", "two devices"])
def test_the_first_bad_row_is_named_and_all_are_counted(tmp_path, backend):
    corpus = plant(tmp_path, clustered_unit(50, DIMENSION), np.nan, slice(None))
    corpus.append(rows_table(corpus.space, clustered_unit(20, DIMENSION), prefix="t/"))
    query = CountQuery(make_prototypes(clustered_unit(3, DIMENSION)), 0.2, histogram=True)
    with pytest.raises(TailwagError, match=r"'bad/0' and 1 others are not finite"):
        count(corpus, query, backend)


def test_a_counter_that_fails_fails_the_count(corpus):
    with pytest.raises(RuntimeError, match="the device has gone"):
        count(corpus, everything(corpus), "failing")


@pytest.mark.parametrize("backend", ["late", "three", "two devices"])
def test_progress_reaches_the_number_of_rows(corpus, backend):
    class Adding:
        total = 0

        def advance(self, amount=1):
            self.total += amount

    bar = Adding()
    count(corpus, everything(corpus), backend, bar)
    assert bar.total == sum(PARTS)


def test_a_user_who_will_not_wait_stops_all_counters(corpus, monkeypatch):
    class Interrupting:
        def advance(self, amount=1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count(corpus, everything(corpus), "three", Interrupting())
