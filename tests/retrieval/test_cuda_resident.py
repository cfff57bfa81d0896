"""A corpus that stays on a device answers as the table does, and knows what it is."""

import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.errors import BadInput, SpaceMismatch, TailwagError
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, sample
from tailwag.retrieval.counting import cuda as cuda_backend
from tailwag.retrieval.counting.cuda import resident as resident_module
from tailwag.retrieval.counting.cuda import torch_form
from tailwag.retrieval.counting.cuda.driver import why_no_gpu
from tailwag.retrieval.counting.cuda.resident import Resident
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

from .test_counting import plant
from .together import DIMENSION, assert_same_result, everything, five_fragments

DEVICE = "cpu" if why_no_gpu() is not None else "cuda"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return five_fragments(tmp_path_factory.mktemp("resident"))


@pytest.fixture
def whole(corpus):
    return Resident.load(corpus, device=DEVICE, both=True)


@pytest.mark.parametrize(
    "changes",
    [{}, {"top_k": 0}, {"top_k": 0, "other_thresholds": None}, {"margin": None, "other_thresholds": None}],
    ids=["everything", "no top rows", "margin alone", "no margin"],
)
def test_every_answer_is_the_tables(corpus, whole, changes, monkeypatch):
    monkeypatch.setattr(torch_form, "_MOST_ROWS", 500)  # several launches
    query = everything(corpus, partials=False, **changes)
    found = whole.count(query)
    assert_same_result(found, count(corpus, query, "reference"))
    assert (found.corpus, found.corpus_version, found.control) == ("made", corpus.version, "")


def test_it_is_asked_many_times(corpus, whole):
    for seed in range(4):
        query = CountQuery(make_prototypes(random_unit(seed + 1, DIMENSION, seed)), [0.1, 0.3], histogram=seed % 2 == 1)
        assert_same_result(whole.count(query), count(corpus, query, "reference"))


@pytest.mark.parametrize("side", ["image", "text"])
def test_a_sample_answers_as_a_control_does(corpus, side):
    control = sample(0.3)
    query = everything(corpus, partials=False, other_thresholds=None, control=control, side=side)
    expected = count(corpus, query, "reference")
    loaded = Resident.load(corpus, side, device=DEVICE, control=control)
    assert 0 < expected.rows == len(loaded) < len(corpus)
    assert_same_result(loaded.count(query), expected)
    unsaid = everything(corpus, partials=False, other_thresholds=None, side=side)
    assert_same_result(loaded.count(unsaid), expected)
    assert loaded.count(unsaid).control == "u < 0.3"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_corpus_of_hardly_any_rows(tmp_path, rows):
    small = make_corpus(tmp_path, clustered_unit(rows, DIMENSION))
    query = CountQuery(make_prototypes(random_unit(3, DIMENSION)), 0.1, histogram=True, best=1, top_k=2)
    assert_same_result(Resident.load(small, device=DEVICE).count(query), count(small, query, "reference"))


def test_the_fused_kernels_answer_too(corpus, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(cuda_backend, "why_not_fused", lambda device: None)
    control = sample(0.05)
    query = everything(corpus, partials=False, other_thresholds=None, control=control, best=1)
    found = Resident.load(corpus, device=DEVICE, control=control).count(query)
    assert found.backend == "cuda"
    assert_same_result(found, count(corpus, query, "reference"))


def test_another_version_is_refused(tmp_path):
    old = make_corpus(tmp_path, clustered_unit(20, DIMENSION))
    loaded = Resident.load(old, device=DEVICE)
    query = CountQuery(make_prototypes(random_unit(2, DIMENSION)), 0.1)
    assert loaded.count(query, Corpus.open(tmp_path, "made", old.version)).rows == 20
    newer = Corpus.open(tmp_path, "made")
    newer.append(rows_table(newer.space, clustered_unit(5, DIMENSION), prefix="t/"))
    with pytest.raises(BadInput, match=r"'made' at version 2 is on .*'made' at version 3 in .* asked for: load that"):
        loaded.count(query, newer)
    assert loaded.count(query).rows == 20


def test_what_was_not_loaded_is_refused(corpus):
    loaded = Resident.load(corpus, device=DEVICE, control=sample(0.1))
    prototypes = make_prototypes(random_unit(2, DIMENSION))
    cases = [
        (CountQuery(prototypes, 0.1, "text"), "the image vectors of .* not the text ones"),
        (CountQuery(prototypes, 0.1, control=sample(0.2)), "only rows with u < 0.1 are .* those with u < 0.2"),
        (CountQuery(prototypes, 0.1, other_thresholds=0.1), "load with both=True"),
        (CountQuery(prototypes, 0.1, partials=True), "count from the table"),
    ]
    for query, message in cases:
        with pytest.raises(BadInput, match=message):
            loaded.count(query)
    with pytest.raises(SpaceMismatch):
        loaded.count(CountQuery(make_prototypes(random_unit(1, DIMENSION), make_space(DIMENSION, "others")), 0.1))


def test_other_rows_chosen_under_the_same_name_are_refused(corpus):
    wanted = np.arange(len(corpus)) < 50
    loaded = Resident.load(corpus, device=DEVICE, control=chosen_rows("mine", wanted))
    prototypes = make_prototypes(random_unit(2, DIMENSION))
    assert loaded.count(CountQuery(prototypes, 0.1, control=chosen_rows("mine", wanted))).rows == 50
    with pytest.raises(BadInput, match="those with mine were asked for"):
        loaded.count(CountQuery(prototypes, 0.1, control=chosen_rows("mine", ~wanted)))


def test_what_does_not_fit_is_refused_before_anything_is_read(corpus, monkeypatch):
    monkeypatch.setattr(resident_module, "memory_free", lambda device: 300_000_000)
    monkeypatch.setattr(Corpus, "scan", lambda *_, **__: pytest.fail("nothing may be read"))
    monkeypatch.setitem(resident_module._WORKING_ROOM, DEVICE, 299_990_000)
    rows = len(corpus)
    with pytest.raises(
        BadInput, match=rf"{rows:,} rows of corpus 'made' take 0.00 GB on {DEVICE}.*0.30 GB that are free"
    ):
        Resident.load(corpus, device=DEVICE)


def test_bad_rows_are_refused(tmp_path):
    damaged = plant(tmp_path, clustered_unit(50, DIMENSION), np.nan, slice(None))
    with pytest.raises(TailwagError, match=r"'bad/0' and 1 others are not finite"):
        Resident.load(damaged, device=DEVICE)


def test_it_says_what_it_is(whole):
    rows = len(whole)
    assert whole.bytes == 2 * 2 * rows * DIMENSION == resident_module.memory_needed(rows, DIMENSION, both=True)
    assert f"{rows:,} rows, 0.00 GB on " in repr(whole)
