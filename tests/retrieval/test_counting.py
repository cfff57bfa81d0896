"""The pass over a corpus: what it adds up, what it says of itself, what it refuses."""

import lance
import numpy as np
import pytest

from tailwag.embed import scanning
from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.failures import Failure, Reason
from tailwag.errors import BadInput, SpaceMismatch, TailwagError
from tailwag.retrieval.counting import CountQuery, count, similarities
from tailwag.retrieval.counting.backends import _PREFERENCE
from tests.corpora import (
    add_failures,
    clustered_unit,
    make_corpus,
    make_prototypes,
    make_space,
    random_unit,
    rows_table,
)
from tests.running import RUNNING

DIMENSION = 24


@pytest.fixture
def prototypes():
    return make_prototypes(random_unit(5, DIMENSION, 9))


def brute_force(rows, prototypes, thresholds):
    exact = similarities(rows, prototypes.vectors)
    return (exact[:, :, None] >= np.broadcast_to(thresholds, (len(prototypes), np.shape(thresholds)[-1]))).sum(axis=0)


@pytest.mark.parametrize("backend", ["auto", *RUNNING])
@pytest.mark.parametrize("rows", [0, 1, 2, 500])
def test_a_corpus_of_any_size_is_counted_whole(tmp_path, prototypes, rows, backend):
    vectors = clustered_unit(rows, DIMENSION)
    result = count(make_corpus(tmp_path, vectors), CountQuery(prototypes, [-1, 0.1, 0.3, 1]), backend)
    assert result.rows == rows
    np.testing.assert_array_equal(result.counts, brute_force(vectors, prototypes, [-1, 0.1, 0.3, 1]))


@pytest.mark.parametrize("rows", [8191, 8192, 8193, 20_000])
def test_block_boundaries_lose_no_row(tmp_path, prototypes, rows):
    vectors = clustered_unit(rows, DIMENSION)
    result = count(make_corpus(tmp_path, vectors), CountQuery(prototypes, [0.2]))
    np.testing.assert_array_equal(result.counts, brute_force(vectors, prototypes, [0.2]))
    assert scanning.DEFAULT_BLOCK_ROWS == 8192


def test_several_appends_are_counted_together(tmp_path, prototypes):
    first, second = clustered_unit(130, DIMENSION, seed=1), clustered_unit(70, DIMENSION, seed=2)
    corpus = make_corpus(tmp_path, first)
    corpus.append(rows_table(corpus.space, second, prefix="t/"))
    result = count(corpus, CountQuery(prototypes, [0.2]))
    np.testing.assert_array_equal(result.counts, brute_force(np.concatenate([first, second]), prototypes, [0.2]))


def test_the_order_of_rows_does_not_matter(tmp_path, prototypes):
    vectors = clustered_unit(3000, DIMENSION)
    query = CountQuery(prototypes, similarities(vectors[:40], prototypes.vectors).T)
    shuffled = np.random.default_rng(0).permutation(vectors)
    one = count(make_corpus(tmp_path, vectors, name="one"), query)
    other = count(make_corpus(tmp_path, shuffled, name="other"), query)
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("backend", RUNNING)
def test_each_concept_can_have_thresholds_of_its_own_in_any_order(tmp_path, prototypes, backend):
    vectors = clustered_unit(700, DIMENSION)
    own = np.random.default_rng(3).uniform(-0.5, 0.9, (5, 6))
    result = count(make_corpus(tmp_path, vectors), CountQuery(prototypes, own), backend)
    np.testing.assert_array_equal(result.counts, brute_force(vectors, prototypes, own))
    assert result.shared_thresholds is None


def test_two_hundred_thresholds_take_one_pass(tmp_path, prototypes):
    vectors = clustered_unit(900, DIMENSION)
    ladder = np.arange(-100, 101) / 100
    result = count(make_corpus(tmp_path, vectors), CountQuery(prototypes, ladder))
    np.testing.assert_array_equal(result.counts, brute_force(vectors, prototypes, ladder))
    assert result.shared_thresholds == tuple(ladder)


def test_the_text_side_compares_the_captions_vectors(tmp_path, prototypes):
    image, text = clustered_unit(300, DIMENSION, seed=1), clustered_unit(300, DIMENSION, seed=2)
    corpus = make_corpus(tmp_path, image, text)
    result = count(corpus, CountQuery(prototypes, [0.2], side="text"))
    np.testing.assert_array_equal(result.counts, brute_force(text, prototypes, [0.2]))
    assert "captions" in str(result[0])


def plant(database, vectors, bad, position):
    """Put a vector into a corpus that `Corpus.append` would refuse, as a damaged or foreign table may hold it."""
    corpus = make_corpus(database, vectors)
    rows = rows_table(corpus.space, vectors[:2], prefix="bad/")
    image = rows.column("image").combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(2, -1).copy()
    image[position] = bad
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(pa.array(image.reshape(-1)), DIMENSION)
    rows = rows.set_column(rows.schema.get_field_index("image"), corpus.schema.field("image"), column)
    lance.write_dataset(rows.cast(corpus.schema), corpus.database.table_uri("made"), mode="append")
    return Corpus.open(database, "made")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 0.5], ids=["nan", "inf", "zero", "too long"])
@pytest.mark.parametrize("backend", RUNNING)
def test_a_row_off_unit_length_is_refused_by_its_key(tmp_path, prototypes, bad, backend):
    corpus = plant(tmp_path, clustered_unit(50, DIMENSION), bad, 1)
    with pytest.raises(TailwagError, match=r"image vector of 'bad/1' is not finite or off unit length by more"):
        count(corpus, CountQuery(prototypes, [0.2]), backend)


def test_all_such_rows_are_counted_in_the_refusal(tmp_path, prototypes):
    corpus = plant(tmp_path, clustered_unit(50, DIMENSION), np.nan, slice(None))
    with pytest.raises(TailwagError, match=r"'bad/0' and 1 others are not finite"):
        count(corpus, CountQuery(prototypes, [0.2]))


def test_prototypes_of_another_space_are_refused(tmp_path):
    corpus = make_corpus(tmp_path, clustered_unit(5, DIMENSION))
    foreign = make_prototypes(random_unit(1, DIMENSION), make_space(DIMENSION, weights="others"))
    with pytest.raises(SpaceMismatch, match=r"corpus 'made' holds.*differ in weights: make the prototypes"):
        count(corpus, CountQuery(foreign, [0.2]))


@pytest.mark.parametrize("value", [3, -1.001, float("nan"), float("inf")])
def test_a_threshold_that_is_no_similarity_is_refused(prototypes, value):
    with pytest.raises(BadInput, match=r"lies between -1 and 1, and \S+ was given; CLIP's usual ones are near 0\.25"):
        CountQuery(prototypes, [0.25, value])


def test_thresholds_of_another_shape_are_refused(prototypes):
    for wrong in (np.zeros((4, 2)), np.zeros((5, 1, 1))):
        with pytest.raises(BadInput, match="do not fit 5 concepts"):
            CountQuery(prototypes, wrong)
    with pytest.raises(BadInput, match="no threshold"):
        CountQuery(prototypes, [])


def test_a_query_keeps_its_own_thresholds(prototypes):
    mine = np.full((5, 1), 0.2)
    query = CountQuery(prototypes, mine)
    mine[:] = 0.9
    assert (query.thresholds == 0.2).all()
    with pytest.raises(ValueError, match="read-only"):
        query.thresholds[0] = 0.5


def test_an_unknown_side_or_backend_is_refused(tmp_path, prototypes):
    with pytest.raises(BadInput, match="no side 'caption'"):
        CountQuery(prototypes, 0.2, side="caption")
    with pytest.raises(BadInput, match="no counting backend 'gpu'; there are auto, cpu, "):
        count(make_corpus(tmp_path, clustered_unit(5, DIMENSION)), CountQuery(prototypes, 0.2), "gpu")


def test_failures_are_told_for_the_newest_version_only(tmp_path, prototypes):
    corpus = make_corpus(tmp_path, clustered_unit(20, DIMENSION))
    old = corpus.version
    add_failures(corpus, [Failure("s/x", "s", Reason.NOT_AN_IMAGE, "text")] * 3)
    assert str(count(corpus, CountQuery(prototypes, 1))[0]).endswith("; 3 more samples could not be embedded.")
    corpus.append(rows_table(corpus.space, clustered_unit(5, DIMENSION), prefix="t/"))
    assert count(corpus, CountQuery(prototypes, 1)).failures == 3
    assert count(Corpus.open(tmp_path, "made", old), CountQuery(prototypes, 1)).failures is None


def test_a_count_prints_as_a_sentence(tmp_path):
    vectors = np.tile(random_unit(1, DIMENSION), (40, 1))
    vectors[3:] = random_unit(1, DIMENSION, 1)
    result = count(make_corpus(tmp_path, vectors), CountQuery(make_prototypes(vectors[:1]), 0.99))
    assert str(result[0]) == (
        "3 of 40 images (7.50 %) have a similarity of at least 0.99 to \"query 0\" in corpus 'made' "
        "(version 2, made), counted exactly."
    )
    assert (result[0].count, result[0].rows, result[0].share) == (3, 40, 0.075)


def test_a_result_becomes_an_arrow_table(tmp_path, prototypes):
    vectors = clustered_unit(100, DIMENSION)
    query = CountQuery(prototypes, [0.3, 0.1], threshold_sources=[f"source {row}" for row in range(5)])
    result = count(make_corpus(tmp_path, vectors), query)
    table = result.to_arrow()
    first, second = "corpus corpus_version concept side control recipe", "threshold threshold_source count rows share"
    assert table.column_names == [*first.split(), *second.split()]
    assert table.num_rows == len(result) == 10
    for row, one in zip(table.to_pylist(), result, strict=True):
        assert (row["concept"], row["threshold"], row["count"]) == (one.concept, one.threshold, one.count)
        assert row["share"] == one.count / 100
        assert (row["corpus"], row["corpus_version"], row["rows"]) == ("made", 2, 100)
    assert table["threshold_source"].to_pylist()[4] == "source 2"


def test_counting_imports_no_torch(tmp_path):
    """Not even to find out that there is no GPU, which is asked first."""
    import os
    import subprocess
    import sys

    assert _PREFERENCE["auto"][0] == "cuda"
    make_corpus(tmp_path, clustered_unit(5, 4), name="small")
    program = (
        "import sys, numpy as np, tailwag; from tailwag.retrieval.prototypes import PrototypeSet\n"
        f"corpus = tailwag.Corpus.open({str(tmp_path)!r}, 'small')\n"
        "one = PrototypeSet(('a',), np.eye(1, 4, dtype=np.float16), corpus.space, ('made',))\n"
        "print(tailwag.count(corpus, tailwag.CountQuery(one, 0.1)).rows, {'torch', 'lancedb'} & set(sys.modules))"
    )
    no_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=no_gpu)
    assert done.stdout.split() == ["5", "set()"]


def test_progress_reaches_the_number_of_rows(tmp_path, prototypes):
    class Adding:
        total = 0

        def advance(self, amount=1):
            self.total += amount

    bar = Adding()
    count(make_corpus(tmp_path, clustered_unit(9000, DIMENSION)), CountQuery(prototypes, 0.2), progress=bar)
    assert bar.total == 9000


def test_a_reader_that_fails_yields_no_count(tmp_path, prototypes):
    corpus = make_corpus(tmp_path, clustered_unit(9000, DIMENSION))
    for file in Database(tmp_path).folder.glob("made.lance/data/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TailwagError):
        count(
            Corpus(corpus.database, "made", lance.dataset(corpus.database.table_uri("made"))),
            CountQuery(prototypes, 0.2),
        )
