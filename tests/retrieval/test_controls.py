"""Controls leave exactly the rows that they say, and results name them."""

import lance
import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.errors import BadInput
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, sample, similarities, where
from tests.corpora import clustered_unit, make_corpus, make_prototypes, rows_table

ROWS, DIMENSION = 4000, 16


@pytest.fixture
def corpus(tmp_path):
    vectors = clustered_unit(ROWS, DIMENSION)
    labels = [("cat", "dog", None)[row % 3] for row in range(ROWS)]
    corpus = make_corpus(tmp_path, vectors[:2500], labels=labels[:2500])
    corpus.append(rows_table(corpus.space, vectors[2500:], prefix="t/", labels=labels[2500:]))
    corpus.delete("u > 0.45 AND u < 0.5")  # offsets and addresses differ from now on
    return corpus


def rows_of(corpus):
    blocks = list(corpus.scan())
    return np.concatenate([block.vectors for block in blocks]), corpus.column("u").to_numpy()


def counted(corpus, control):
    prototypes = make_prototypes(clustered_unit(3, DIMENSION, seed=5))
    result = count(corpus, CountQuery(prototypes, [0.5, 0.8], control=control))
    return result, prototypes


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.39, 0.41, 0.7, 1.0])
def test_a_sample_has_the_rows_below_its_rate(corpus, rate):
    vectors, numbers = rows_of(corpus)
    result, prototypes = counted(corpus, sample(rate))
    wanted = numbers.astype(np.float64) < rate
    assert result.rows == wanted.sum()
    scores = similarities(vectors[wanted], prototypes.vectors)
    np.testing.assert_array_equal(result.counts, (scores[:, :, None] >= [0.5, 0.8]).sum(axis=0))
    assert result[0].control == result.control == f"u < {rate!r}"
    assert f"among the rows with u < {rate!r}" in str(result[0])


def test_samples_that_adjoin_add_up(corpus):
    parts = [counted(corpus, sample(stop, start))[0] for start, stop in ((0.0, 0.1), (0.1, 0.35), (0.35, 1.0))]
    whole = counted(corpus, None)[0]
    np.testing.assert_array_equal(sum(part.counts for part in parts), whole.counts)
    assert sum(part.rows for part in parts) == whole.rows == len(corpus)
    assert parts[1].control == "0.1 <= u < 0.35"


@pytest.mark.parametrize("condition", ["label = 'cat'", "label IS NULL AND u < 0.5", "u < 0", "width >= 640"])
def test_a_condition_leaves_the_rows_that_fulfil_it(corpus, condition):
    result, _ = counted(corpus, where(condition))
    assert result.rows == corpus.count_rows(condition)
    assert result.control == condition


def test_offsets_of_a_condition_find_its_rows_after_deletions(corpus):
    offsets = corpus.offsets("label = 'dog'")
    assert set(corpus.take_offsets(offsets, ["label"]).column("label").to_pylist()) == {"dog"}
    assert len(offsets) == corpus.count_rows("label = 'dog'")
    assert (np.diff(offsets) > 0).all()


def test_chosen_rows_and_all_controls_together(corpus):
    chosen = np.random.default_rng(0).random(len(corpus)) < 0.5
    control = chosen_rows("no twins", chosen) & sample(0.4) & where("label = 'cat'")
    result, prototypes = counted(corpus, control)
    vectors, numbers = rows_of(corpus)
    labels = np.array(corpus.column("label").to_pylist(), dtype=object)
    wanted = chosen & (numbers < 0.4) & (labels == "cat")
    assert result.rows == wanted.sum() > 0
    scores = similarities(vectors[wanted], prototypes.vectors)
    np.testing.assert_array_equal(result.counts, (scores[:, :, None] >= [0.5, 0.8]).sum(axis=0))
    assert result.control == "no twins and u < 0.4 and label = 'cat'"


def test_the_most_similar_rows_under_a_control_keep_their_places_in_the_corpus(corpus):
    prototypes = make_prototypes(clustered_unit(2, DIMENSION, seed=5))
    top = count(corpus, CountQuery(prototypes, 0.5, control=sample(0.3), top_k=5)).top
    vectors, numbers = rows_of(corpus)
    assert (numbers[top.offsets] < 0.3).all()
    exact = similarities(vectors, prototypes.vectors)
    np.testing.assert_array_equal(top.similarities, np.take_along_axis(exact, top.offsets.T, axis=0).T)


def test_rows_chosen_at_another_version_are_refused(corpus):
    control = chosen_rows("old", np.ones(len(corpus) + 1, dtype=bool))
    with pytest.raises(BadInput, match=r"control 'old' chose from 3,\d+ rows, and corpus 'made' has 3,\d+"):
        counted(corpus, control)


def test_a_condition_that_cannot_be_evaluated_is_one_line(corpus):
    with pytest.raises(BadInput, match="the condition 'colour = 1' cannot be evaluated on corpus 'made': .*colour"):
        counted(corpus, where("colour = 1"))


@pytest.mark.parametrize(("rate", "start"), [(0.0, 0.0), (1.5, 0.0), (0.2, 0.2), (0.5, -0.1), (float("nan"), 0.0)])
def test_a_rate_that_is_none_is_refused(rate, start):
    with pytest.raises(BadInput, match="a sample's rate is above 0 and at most 1"):
        sample(rate, start)


def test_an_empty_sample_counts_nothing(tmp_path):
    corpus = make_corpus(tmp_path, clustered_unit(3, DIMENSION))
    result, _ = counted(corpus, where("u < 0"))
    assert result.rows == 0 and not result.counts.any()
    assert isinstance(lance.dataset(corpus.database.table_uri("made")).version, int)
    assert Corpus.open(tmp_path, "made").version == corpus.version
