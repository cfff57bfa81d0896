"""Everything that one pass answers beside counts: each against its definition, over a whole corpus."""

import numpy as np
import pytest

from tailwag.errors import BadInput, TailwagError
from tailwag.retrieval.counting import CountQuery, Mentions, count, engine, passes, sample, similarities, where
from tailwag.retrieval.counting.backends import why_not
from tailwag.retrieval.counting.bins import BINS, EDGES, bin_of, counts_at_edges, edge_of
from tests.corpora import clustered_unit, make_corpus, make_prototypes, rows_table
from tests.running import RUNNING

DIMENSION, ROWS, CONCEPTS = 32, 3000, 7
THRESHOLDS = np.array([0.3, 0.55, 0.8])


@pytest.fixture(scope="module")
def vectors():
    image = clustered_unit(ROWS, DIMENSION, clusters=12, seed=1)
    image[100:140] = image[99]  # ties
    return image, clustered_unit(ROWS, DIMENSION, clusters=12, seed=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, vectors):
    corpus = make_corpus(tmp_path_factory.mktemp("database"), vectors[0][:1300], vectors[1][:1300])
    corpus.append(rows_table(corpus.space, vectors[0][1300:], vectors[1][1300:], prefix="t/"))
    return corpus


@pytest.fixture(scope="module")
def prototypes():
    return make_prototypes(clustered_unit(CONCEPTS, DIMENSION, clusters=12, seed=3))


@pytest.fixture(scope="module")
def scores(vectors, prototypes):
    return similarities(vectors[0], prototypes.vectors)


def test_histograms_hold_every_similarity_in_its_bin(corpus, prototypes, scores):
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, histogram=True))
    expected = [np.bincount(bin_of(column), minlength=BINS) for column in scores.T]
    np.testing.assert_array_equal(result.histogram, expected)


def test_a_histogram_answers_every_threshold_of_three_decimals(corpus, prototypes, scores):
    histogram = count(corpus, CountQuery(prototypes, THRESHOLDS, histogram=True)).histogram
    at_edges = counts_at_edges(histogram)
    for thousandth in range(-1000, 1001, 7):
        threshold = float(f"{thousandth / 1000:.3f}")
        edge = edge_of(threshold)
        assert edge is not None and EDGES[edge] == threshold
        np.testing.assert_array_equal(at_edges[:, edge], (scores >= threshold).sum(axis=0))
    assert edge_of(0.2705) is None and edge_of(2.0) is None


def test_rows_that_name_a_concept_are_counted_and_binned_apart(corpus, prototypes, scores):
    generator = np.random.default_rng(0)
    offsets = np.sort(generator.integers(ROWS, size=500))
    concepts = generator.integers(CONCEPTS, size=500).astype(np.int32)
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, mentions=Mentions(offsets, concepts)))
    for concept in range(CONCEPTS):
        own = scores[offsets[concepts == concept], concept]
        np.testing.assert_array_equal(result.mention_counts[concept], (own[:, None] >= THRESHOLDS).sum(axis=0))
        np.testing.assert_array_equal(result.mention_histogram[concept], np.bincount(bin_of(own), minlength=BINS))


def test_mentions_of_rows_outside_a_control_are_left_out(corpus, prototypes, scores):
    every = np.arange(ROWS)
    control = sample(0.3)
    mask = control.mask(corpus).between(0, ROWS)
    mentions = Mentions(every, np.zeros(ROWS, np.int32))
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, mentions=mentions, control=control))
    expected = (scores[mask, :1] >= THRESHOLDS).sum(axis=0)
    np.testing.assert_array_equal(result.mention_counts[0], expected)
    np.testing.assert_array_equal(result.counts[0], expected)


def test_conjunctions_of_both_sides_are_counted(corpus, prototypes, scores, vectors):
    others = similarities(vectors[1], prototypes.vectors)
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, other_thresholds=[0.6, 0.4, -1]))
    both = (scores[:, :, None] >= THRESHOLDS) & (others[:, :, None] >= np.array([0.6, 0.4, -1]))
    np.testing.assert_array_equal(result.both_counts, both.sum(axis=0))
    swapped = count(corpus, CountQuery(prototypes, [0.6, 0.4, -1], side="text", other_thresholds=THRESHOLDS))
    np.testing.assert_array_equal(swapped.both_counts, result.both_counts)


@pytest.mark.parametrize("margin", [0.0, 0.02, 3.0])
@pytest.mark.parametrize("more", [{}, {"top_k": 2}, {"other_thresholds": 0.5}])
def test_the_margin_rule_counts_rows_near_their_best_concept(corpus, prototypes, scores, margin, more):
    thresholds = THRESHOLDS if "other_thresholds" not in more else THRESHOLDS[:1]
    result = count(corpus, CountQuery(prototypes, thresholds, margin=margin, **more))
    near = scores.max(axis=1, keepdims=True) - scores <= margin
    expected = ((scores[:, :, None] >= thresholds) & near[:, :, None]).sum(axis=0)
    np.testing.assert_array_equal(result.margin_counts, expected)
    np.testing.assert_array_equal(result.counts, (scores[:, :, None] >= thresholds).sum(axis=0))


@pytest.mark.parametrize("best", [1, 3, 100])
def test_each_rows_best_concepts_come_in_order(corpus, prototypes, scores, best):
    result = count(corpus, CountQuery(prototypes, 0.5, best=best))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    np.testing.assert_array_equal(result.best.offsets, np.arange(ROWS))
    np.testing.assert_array_equal(result.best.concepts, order)
    np.testing.assert_array_equal(result.best.similarities, np.take_along_axis(scores, order, axis=1))


@pytest.mark.parametrize("k", [1, 50, 5000])
def test_the_most_similar_rows_come_in_order_and_ties_by_position(corpus, prototypes, scores, k):
    top = count(corpus, CountQuery(prototypes, 0.5, top_k=k)).top
    for concept in range(CONCEPTS):
        order = np.lexsort((np.arange(ROWS), -scores[:, concept]))[:k]
        np.testing.assert_array_equal(top.offsets[concept, : len(order)], order)
        np.testing.assert_array_equal(top.similarities[concept, : len(order)], scores[order, concept])
        assert (top.offsets[concept, len(order) :] == -1).all()
        assert np.isnan(top.similarities[concept, len(order) :]).all()


def test_tiles_are_cut_so_that_pairs_stay_few(corpus, prototypes, scores, monkeypatch):
    monkeypatch.setattr(passes, "PAIRS_A_TILE", 1)
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, top_k=9, margin=0.05, best=2, histogram=True))
    order = np.lexsort((np.arange(ROWS), -scores[:, 3]))[:9]
    np.testing.assert_array_equal(result.top.offsets[3], order)
    assert result.histogram.sum() == ROWS * CONCEPTS
    assert result.best.concepts.shape == (ROWS, 2)


@pytest.mark.parametrize("backend", RUNNING)
def test_everything_at_once_is_the_same_on_every_backend(corpus, prototypes, backend):
    if why_not(backend) is not None:
        pytest.skip(f"{backend}: {why_not(backend)}")
    query = CountQuery(
        prototypes,
        THRESHOLDS,
        control=where("u < 0.8"),
        histogram=True,
        mentions=Mentions(np.arange(0, ROWS, 7), np.zeros(len(range(0, ROWS, 7)), np.int32)),
        other_thresholds=[0.5, 0.5, 0.5],
        margin=0.03,
        best=2,
        top_k=5,
        partials=True,
    )
    found, expected = count(corpus, query, backend), count(corpus, query, "reference")
    for name in ("counts", "histogram", "mention_counts", "mention_histogram", "both_counts", "margin_counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for part in ("best", "top"):
        for name, column in vars(getattr(expected, part)).items():
            np.testing.assert_array_equal(getattr(getattr(found, part), name), column, err_msg=name)
    for one, other in zip(found.partials, expected.partials, strict=True):
        assert (one.states, one.rows, one.digest) == (other.states, other.rows, other.digest)
        np.testing.assert_array_equal(one.counts, other.counts)


def test_partial_counts_add_up_and_name_their_fragments(corpus, prototypes, scores):
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, partials=True))
    assert [one.rows for one in result.partials] == [1300, 1700]
    np.testing.assert_array_equal(sum(one.counts for one in result.partials), result.counts)
    np.testing.assert_array_equal(result.partials[0].counts, (scores[:1300, :, None] >= THRESHOLDS).sum(axis=0))
    assert [one.states for one in result.partials] == [(fragment.state,) for fragment in corpus.fragments()]


def test_many_small_fragments_become_few_parts(tmp_path, prototypes, monkeypatch):
    monkeypatch.setattr(engine, "MOST_PARTS", 4)
    vectors = clustered_unit(90, DIMENSION)
    corpus = make_corpus(tmp_path, vectors[:10])
    for start in range(10, 90, 10):
        corpus.append(rows_table(corpus.space, vectors[start : start + 10], prefix=f"{start}/"))
    result = count(corpus, CountQuery(prototypes, THRESHOLDS, partials=True))
    assert len(result.partials) <= 4
    assert sum(one.rows for one in result.partials) == 90
    assert [state for one in result.partials for state in one.states] == [one.state for one in corpus.fragments()]
    np.testing.assert_array_equal(sum(one.counts for one in result.partials), result.counts)


def test_a_bad_row_of_the_other_side_is_refused_too(tmp_path, prototypes):
    from tests.retrieval.test_counting import plant

    corpus = plant(tmp_path, clustered_unit(50, 24), np.nan, 1)
    query = make_prototypes(clustered_unit(2, 24))
    assert count(corpus, CountQuery(query, 0.5, side="text")).rows == 52
    with pytest.raises(TailwagError, match="the image vector of 'bad/1' is not finite"):
        count(corpus, CountQuery(query, 0.5, side="text", other_thresholds=0.5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"margin": -0.1}, "a margin is a distance of at least 0"),
        ({"margin": float("nan")}, "a margin is a distance"),
        ({"best": -1}, "best and top_k say how many"),
        ({"other_thresholds": [0.1, 0.2]}, "2 thresholds of the other side do not fit 1"),
        ({"mentions": (np.arange(2), np.array([0, 7]))}, "names prototype 7 of 7"),
        ({"mentions": (np.arange(2), np.array([-1, 0]))}, "names prototype -1 of 7"),
        ({"mentions": (np.array([2, 1]), np.array([0, 0]))}, "must ascend"),
        ({"mentions": (np.arange(2), np.array([0]))}, "are no pairs"),
    ],
)
def test_questions_that_make_no_sense_are_refused(prototypes, wrong, message):
    with pytest.raises(BadInput, match=message):
        if "mentions" in wrong:
            wrong = {"mentions": Mentions(*wrong["mentions"])}
        CountQuery(prototypes, 0.5, **wrong)
