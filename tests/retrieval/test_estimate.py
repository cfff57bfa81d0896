"""Estimates of a corpus's counts: what is read, when it stops, what is said of it."""

import json
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import lance
import numpy as np
import pytest

from tailwag.embed.corpus import Corpus, sampling_number
from tailwag.embed.space import Space
from tailwag.errors import BadInput, SpaceMismatch, TailwagError
from tailwag.progress import NoProgress
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, sample, similarities
from tailwag.retrieval.estimates import (
    EstimateResult,
    GrowingSample,
    Within,
    estimate,
    estimates,
    hypergeometric_interval,
    looks,
    plan_looks,
    scheduled_interval,
    sequence_interval,
)
from tailwag.retrieval.estimates.result import rounded
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table, unit

DIMENSION, ROWS = 16, 6000


@pytest.fixture(scope="module")
def vectors():
    return clustered_unit(ROWS, DIMENSION, clusters=6)


@pytest.fixture(scope="module")
def corpus(vectors, tmp_path_factory):
    """6,000 rows in an order that a sample must not depend on: sorted by what is asked for."""
    prototype = random_unit(1, DIMENSION, 3)
    order = np.argsort(similarities(vectors, prototype)[:, 0])
    return make_corpus(tmp_path_factory.mktemp("estimates"), vectors[order], vectors)


@pytest.fixture(scope="module")
def query():
    return CountQuery(make_prototypes(random_unit(4, DIMENSION, 3)), [-0.1, 0.2, 0.6])


@pytest.fixture
def small_looks(monkeypatch):
    """Begin with 200 rows, so that a small corpus has several looks."""
    monkeypatch.setattr(looks, "FIRST_ROWS", 200)


def numbers():
    return np.array([sampling_number(f"s/{row}") for row in range(ROWS)])


def test_one_look_counts_the_sample_and_no_other_row(corpus, query):
    result = estimate(corpus, query, rate=0.1)
    found = count(corpus, CountQuery(query.prototypes, query.thresholds, control=sample(0.1)))
    np.testing.assert_array_equal(result.hits, found.counts)
    assert (result.sampled, result.rows, result.rate) == ((numbers() < 0.1).sum(), ROWS, 0.1)
    lower, upper = hypergeometric_interval(found.counts, result.sampled, ROWS)
    np.testing.assert_array_equal([result.lower, result.upper], [lower, upper])
    assert result.approximate.all()
    assert set(result.methods.flat) == {"one look"}


@pytest.mark.parametrize("side", ["image", "text"])
def test_the_truth_lies_inside(corpus, query, side):
    query = CountQuery(query.prototypes, query.thresholds, side)
    truth = count(corpus, query).counts
    for rate in (0.02, 0.1, 0.5):
        result = estimate(corpus, query, rate=rate, confidence=0.9999)
        assert ((result.lower <= truth) & (truth <= result.upper)).all()
        assert (result.upper - result.lower < ROWS).all()


def test_a_sample_of_everything_is_exact(corpus, query):
    truth = count(corpus, query).counts
    result = estimate(corpus, query, rate=1.0)
    for counts in (result.estimates, result.lower, result.upper, result.hits):
        np.testing.assert_array_equal(counts, truth)
    assert not result.approximate.any()
    assert str(result[0]) == str(count(corpus, query)[0])


def test_a_growing_sample_reads_each_row_once_and_forgets_nothing(corpus, query):
    class Bar:
        def __init__(self):
            self.rows = 0

        def advance(self, amount=1):
            self.rows += amount

    growing, bar = GrowingSample(corpus, query), Bar()
    for rate in (1 / 16, 0.1, 0.11, 0.7, 1.0):
        growing.widen(rate, bar)
        found = count(corpus, CountQuery(query.prototypes, query.thresholds, control=sample(rate)))
        np.testing.assert_array_equal(growing.hits, found.counts)
        assert growing.sampled == found.rows == bar.rows
    assert bar.rows == ROWS


def test_every_look_is_told_and_shows_its_progress(corpus, query, small_looks):
    shown = []

    @contextmanager
    def bar(description, total):
        shown.append((description, total))
        yield NoProgress()

    results = list(estimates(corpus, query, within="0.0001", bar=bar))
    assert [result.rate for result in results] == [1 / 16, 1]
    assert shown == [("sampling 6.25 %", 375), ("sampling 100 %", 5625)]
    assert not results[-1].approximate.any()
    assert set(results[-1].methods.flat) == {"whole corpus"}


def test_planned_looks_share_the_error(corpus, query, small_looks):
    first = next(iter(estimates(corpus, query, within="0.0001")))
    expected = scheduled_interval(first.hits, first.sampled, ROWS, 0.95, looks=2)  # the last is exact
    np.testing.assert_array_equal([first.lower, first.upper], expected)
    assert first[0].method == "2 planned looks"
    only = next(iter(estimates(corpus, query, within="0.0001", rate=0.05)))
    np.testing.assert_array_equal(
        [only.lower, only.upper], hypergeometric_interval(only.hits, only.sampled, ROWS, 0.95)
    )


def test_it_stops_when_every_interval_is_narrow(corpus, query, small_looks):
    truth = count(corpus, query).counts
    for within in ("0.05", "30%"):
        parsed = Within.parse(within)
        *before, last = estimates(corpus, query, within=within)
        assert parsed.reached(last).all()
        assert not any(parsed.reached(result).all() for result in before)
        allowed = 0.05 * ROWS if within == "0.05" else 0.3 * last.estimates
        for end in (last.lower, last.upper):
            assert (abs(end - last.estimates) <= allowed).all()
        assert ((last.lower <= truth) & (truth <= last.upper)).all()
    assert estimate(corpus, query, within="0.05").sampled < ROWS


@pytest.mark.parametrize("ends", [(900, 1150), (850, 1100)])
def test_both_ends_must_lie_near_the_estimate(ends):
    """Half the width of 250 would do for 12.5 %; the farther end lies 15 % off."""
    lower, upper = (np.array([[end]]) for end in ends)
    one = made_result(estimates=np.array([[1000]]), lower=lower, upper=upper)
    reached = [bool(Within.parse(text).reached(one).all()) for text in ("13%", "15%", "0.000000375", "0.0000003")]
    assert reached == [False, True, True, False]


def test_looks_that_cannot_be_narrow_enough_are_passed_over(corpus, query, small_looks):
    frequent = CountQuery(query.prototypes, -1.0)
    assert [result.rate for result in estimates(corpus, frequent, within="5%")] == [1 / 16]
    rare = CountQuery(make_prototypes(random_unit(1, DIMENSION, 3)), 1.0)
    assert [result.rate for result in estimates(corpus, rare, within="10%")] == [1 / 16, 1]
    truth = estimate(corpus, rare, within="10%")
    assert (truth.estimates, truth.approximate) == (count(corpus, rare).counts, False)


def test_no_more_is_read_than_is_allowed(corpus, query, small_looks):
    results = list(estimates(corpus, query, within="0.0001", rate=0.3))
    assert results[-1].rate == 0.3
    assert results[-1].approximate.all()
    assert not Within.parse("0.0001").reached(results[-1]).any()


def test_a_sample_that_is_broken_off_is_as_before(corpus, query):
    class Impatient:
        def advance(self, amount=1):
            raise KeyboardInterrupt

    growing = GrowingSample(corpus, query)
    growing.widen(0.1)
    before = growing.hits.copy()
    with pytest.raises(KeyboardInterrupt):
        growing.widen(0.5, Impatient())
    assert (growing.rate, growing.sampled) == (0.1, (numbers() < 0.1).sum())
    np.testing.assert_array_equal(growing.hits, before)
    growing.widen(0.5)
    found = count(corpus, CountQuery(query.prototypes, query.thresholds, control=sample(0.5)))
    np.testing.assert_array_equal(growing.hits, found.counts)


def test_looks_at_any_time_are_a_sequence(corpus, query):
    growing = GrowingSample(corpus, query)
    for rate in (0.01, 0.0317, 0.4, 1.0):
        growing.widen(rate)
        result = growing.estimate(looks=None)
        np.testing.assert_array_equal(
            [result.lower, result.upper], sequence_interval(growing.hits, growing.sampled, ROWS)
        )
    assert not result.approximate.any()
    with pytest.raises(BadInput, match="above 0 and at most 1"):
        growing.widen(0.2)


def test_a_control_is_what_is_sampled(corpus, query, small_looks):
    kept = np.arange(ROWS) % 3 > 0
    query = CountQuery(query.prototypes, query.thresholds, control=chosen_rows("two of three", kept))
    *_, last = estimates(corpus, query, within="0.0001")
    np.testing.assert_array_equal(last.estimates, count(corpus, query).counts)
    result = estimate(corpus, query, rate=0.25)
    assert (result.rows, result.sampled) == (4000, (numbers()[kept] < 0.25).sum())
    assert "of 4,000 images" in str(result[0])
    assert "of the rows with two of three." in str(result[0])


def test_an_empty_corpus_is_known_exactly(tmp_path, query):
    empty = make_corpus(tmp_path, random_unit(0, DIMENSION))
    for result in (estimate(empty, query, within="10%"), estimate(empty, query, rate=0.1)):
        assert (result.rows, result.sampled, result.estimates.sum(), result.upper.sum()) == (0, 0, 0, 0)
        assert not result.approximate.any()
        assert "0 of 0 images" in str(result[0])


def test_rows_that_are_no_vectors_are_refused_in_a_sample_too(tmp_path, query):
    corpus = make_corpus(tmp_path, random_unit(50, DIMENSION))
    table = rows_table(corpus.space, random_unit(1, DIMENSION) * np.float16(0.5), prefix="half/")
    lance.write_dataset(table, corpus.database.table_uri("made"), mode="append")
    corpus = Corpus.open(corpus.database, "made")
    number = sampling_number("half/0")
    with pytest.raises(TailwagError, match="'half/0'"):
        estimate(corpus, query, rate=number + 2**-24)
    assert estimate(corpus, query, rate=number).sampled < 51


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "how narrow an interval is wanted"),
        ({"rate": 0.0}, "a sample's rate is above 0"),
        ({"rate": 1.5}, "at most 1, and 1.5 was given"),
        ({"rate": 1.5, "within": "10%"}, "at most 1, and 1.5 was given"),
        ({"rate": 1e-7}, "no row of corpus 'made' (6,000 rows) is in the sample u < 1e-07"),
        ({"within": "ten"}, "'ten' does not say how narrow"),
        ({"within": "10"}, "write 10% for a tenth"),
        ({"within": "0"}, "does not say how narrow"),
        ({"within": "100%"}, "does not say how narrow"),
        ({"within": "nan"}, "does not say how narrow"),
        ({"within": "10%", "confidence": 95}, "a confidence lies between 0 and 1"),
        ({"rate": 0.1, "backend": "abacus"}, "no counting backend 'abacus'"),
    ],
)
def test_what_cannot_be_estimated_is_refused(corpus, query, options, message):
    with pytest.raises(BadInput) as refused:
        estimate(corpus, query, **options)
    assert message in str(refused.value)


def test_what_a_sample_does_not_answer_is_refused(corpus, query):
    for more in ({"histogram": True}, {"top_k": 3}, {"margin": 0.1}, {"best": 1}, {"partials": True}):
        with pytest.raises(BadInput, match=f"not {next(iter(more))}: use `count`"):
            estimate(corpus, replace(query, **more), rate=0.1)
    other = CountQuery(make_prototypes(random_unit(1, DIMENSION), make_space(DIMENSION, "other")), 0.2)
    with pytest.raises(SpaceMismatch):
        estimate(corpus, other, rate=0.1)


def test_looks_are_planned_by_the_number_of_rows():
    assert plan_looks(0) == plan_looks(159_999) == (1.0,)
    assert plan_looks(160_000) == (0.125, 1.0)
    assert plan_looks(5_000_000_000, 0.01)[-2:] == (2.0**-10, 0.01)
    many = plan_looks(5_000_000_000)
    assert len(many) == 16
    assert 20_000 <= many[0] * 5_000_000_000 < 40_000
    assert all(later == 2 * earlier for earlier, later in pairwise(many[:-1]))


def made_result(hits=12, sampled=4_801_482, rows=400_123_456, **changes) -> EstimateResult:
    hits = np.array([[hits]])
    lower, upper = hypergeometric_interval(hits, sampled, rows)
    fields = {
        "corpus": "laion",
        "corpus_version": 7,
        "space": Space("ViT-B-32", "openai", "a", "w", "{}", "t", 512),
        "side": "image",
        "rows": rows,
        "sampled": sampled,
        "rate": 0.012,
        "failures": None,
        "concepts": ("red panda",),
        "recipes": ('text "a photo of a red panda"',),
        "thresholds": np.array([[0.27]]),
        "threshold_sources": ("given",),
        "hits": hits,
        "estimates": np.rint(hits * rows / sampled).astype(np.int64),
        "lower": lower,
        "upper": upper,
        "approximate": np.array([[True]]),
        "methods": np.array([["one look"]], dtype=object),
        "confidence": 0.95,
        "backend": "reference",
        "seconds": 1.5,
    }
    return EstimateResult(**{**fields, **changes})


def test_an_estimate_prints_as_a_sentence():
    assert str(made_result(14_808)[0]) == (
        "about 1,234,000 (95 % interval 1,214,000 to 1,254,000) of 400,123,456 images have a similarity of at least "
        "0.27 to \"red panda\" in corpus 'laion' (version 7, ViT-B-32/openai), estimated from a sample of 1.20 % "
        "(4,801,482 rows)."
    )
    told = str(made_result(0, 1, 3, side="text", failures=2, control="width >= 256")[0])
    assert told.startswith("about 0 (95 % interval 0 to 2) of 3 captions have")
    assert told.endswith(
        "a sample of 33.3 % (1 row) of the rows with width >= 256; 2 more samples could not be embedded."
    )


def test_digits_that_mean_nothing_are_left_out_and_ends_go_outward():
    generator = np.random.default_rng(0)
    for _ in range(300):
        lower, middle, upper = sorted(int(value) for value in 10 ** generator.uniform(0, 9, 3))
        about, low, high = rounded(middle, lower, upper, 10**10)
        assert low <= lower <= upper <= high
        assert low <= about <= high
        assert high - low <= 1.25 * (upper - lower) + 2
    assert rounded(7, 7, 7, 10) == (7, 7, 7)
    assert rounded(95, 12, 99, 99) == (95, 12, 99)


def test_a_result_becomes_a_table_that_says_what_is_approximate(corpus, query):
    result = estimate(corpus, query, rate=0.1)
    table = result.to_arrow()
    assert table.column_names == [
        *("corpus", "corpus_version", "concept", "side", "control", "recipe", "threshold", "threshold_source"),
        *("estimate", "lower", "upper", "confidence", "approximate", "method", "hits", "sampled", "rows"),
    ]
    assert table.num_rows == len(result) == 12
    for row, one in zip(table.to_pylist(), result, strict=True):
        for column in table.column_names:
            assert row[column] == getattr(one, column), column
    assert json.loads(table.schema.metadata[b"tailwag:space"]) == json.loads(corpus.space.to_json())
    assert table.schema.metadata[b"tailwag:rate"] == b"0.1"


@pytest.mark.photos
def test_true_clip_vectors_lie_inside(tmp_path, data):
    """Concepts of a large vocabulary in 541 photographs: as many truths lie outside as the confidence lets."""
    folder = data / "data" / "clip-vectors"
    photos, texts = (np.load(folder / f"{name}.npy") for name in ("image_vectors", "text_vectors_lvis"))
    space = Space("ViT-B-32", "openai", "made elsewhere", "openai", "{}", "tokenizer", 512)
    corpus = make_corpus(tmp_path, photos, name="photos", space=space)
    names = tuple(f"name {number}" for number in range(len(texts)))
    query = CountQuery(PrototypeSet(names, unit(texts), space, names), [0.16, 0.18, 0.2, 0.22])
    truth = count(corpus, query).counts
    result = estimate(corpus, query, rate=0.3)
    inside = (result.lower <= truth) & (truth <= result.upper)
    # One sample serves all names, so whether it covers them hangs together: this is no test of the confidence.
    assert inside.mean() > 0.9
    assert (result.hits <= truth).all()
