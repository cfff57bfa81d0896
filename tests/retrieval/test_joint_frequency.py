"""Joint frequency equals looking at every pair, and says what is to be expected by chance."""

import numpy as np
import pytest

from tailwag.errors import BadInput
from tailwag.retrieval.captions.counting import count_captions
from tailwag.retrieval.captions.joint import JointCount, joint_frequency
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.counting import CountQuery, Mentions, chosen_rows, similarities
from tests.corpora import clustered_unit, make_corpus, make_prototypes, random_unit

from .test_counting_exactness import RUNNING
from .test_joint_overlap import by_looking_at_all, random_mentions

ROWS, CONCEPTS, DIMENSION = 500, 5, 24


def made(tmp_path, seed=1):
    vectors, prototypes = clustered_unit(ROWS, DIMENSION, seed=seed), clustered_unit(CONCEPTS, DIMENSION, seed=2)
    scores = similarities(vectors, prototypes)
    # The second threshold is some row's own similarity: that row is a hit.
    thresholds = np.stack([np.quantile(scores, 0.5, axis=0), np.sort(scores, axis=0)[-40]], axis=1)
    return make_corpus(tmp_path, vectors), vectors, prototypes, thresholds


@pytest.mark.parametrize("backend", RUNNING)
def test_every_number_is_what_all_similarities_say(tmp_path, backend):
    corpus, vectors, prototypes, thresholds = made(tmp_path)
    mentions = random_mentions(ROWS, CONCEPTS, 800)
    query = CountQuery(make_prototypes(prototypes), thresholds)
    found = joint_frequency(corpus, query, mentions, misalignment=True, backend=backend)
    hit = similarities(vectors, prototypes)[:, :, None] >= thresholds
    named = np.zeros((ROWS, CONCEPTS), dtype=bool)
    named[mentions.offsets, mentions.concepts] = True
    np.testing.assert_array_equal(found.image_counts, hit.sum(axis=0))
    np.testing.assert_array_equal(found.caption_counts, named.sum(axis=0))
    np.testing.assert_array_equal(found.joint_counts, (hit & named[:, :, None]).sum(axis=0))
    for position, one in enumerate(found):
        concept, column = divmod(position, 2)
        image, caption, both = hit[:, concept, column], named[:, concept], hit[:, concept, column] & named[:, concept]
        assert (one.image, one.caption, one.joint) == (image.sum(), caption.sum(), both.sum())
        assert one.expected == pytest.approx(image.mean() * caption.mean() * ROWS)
        assert one.lift == pytest.approx(both.mean() / (image.mean() * caption.mean()))
        assert one.unseen_share == pytest.approx((~image[caption]).mean())
        assert one.unnamed_share == pytest.approx((~caption[image]).mean())
    expected = by_looking_at_all(vectors, prototypes, thresholds, mentions)
    for column, one in enumerate(found.misalignment):
        assert one.threshold is None  # each concept has its own
        assert (one.hit_rows, one.both_rows, one.common_rows) == tuple(expected[place][column] for place in (0, 2, 3))
        assert one.named_rows == expected[1]


def test_a_pair_that_is_mentioned_twice_counts_once(tmp_path):
    corpus, _, prototypes, _ = made(tmp_path)
    query = CountQuery(make_prototypes(prototypes), -1.0)
    found = joint_frequency(corpus, query, Mentions(np.array([3, 3, 3, 7]), np.array([1, 0, 1, 1], np.int32)))
    np.testing.assert_array_equal(found.caption_counts, [1, 2, 0, 0, 0])
    np.testing.assert_array_equal(found.joint_counts[:, 0], found.caption_counts)
    assert found.misalignment == ()


CAPTIONS = ["a red dog", "two dogs", "a cat", "a dog and a cat", "", "the sea"]


def test_captions_are_matched_by_words_and_counted_with_their_images(tmp_path):
    # One axis a concept: rows 0 and 3 show the dog, 2 and 3 the cat a little less.
    image = np.zeros((6, 4))
    image[:, 3] = 0.1
    image[[0, 3], 0], image[[2, 3], 1], image[[1, 4, 5], 2] = 1, 1, 1
    image = (image / np.linalg.norm(image, axis=1, keepdims=True)).astype(np.float16)
    corpus = make_corpus(tmp_path, image, captions=CAPTIONS)
    concepts = ConceptSet("pets", (Concept("dog"), Concept("cat")))
    prototypes = make_prototypes(np.eye(2, 4, dtype=np.float16))
    prototypes = type(prototypes)(concepts.names, prototypes.vectors, corpus.space, prototypes.recipes)
    captions = count_captions(corpus, concepts, keep="words")
    found = joint_frequency(corpus, CountQuery(prototypes, 0.5), captions, misalignment=True)
    assert [(one.concept, one.image, one.caption, one.joint) for one in found] == [("dog", 2, 3, 2), ("cat", 2, 2, 2)]
    (one,) = found.misalignment
    assert (one.threshold, one.hit_rows, one.named_rows, one.both_rows, one.common_rows) == (0.5, 3, 4, 3, 3)
    assert "2 of 6 pairs" in str(found[0]) and "names it by words, 2 times as many as by chance" in str(found[0])
    wanted = np.array([1, 1, 1, 0, 1, 1], dtype=bool)
    control = chosen_rows("some", wanted)
    under = joint_frequency(
        corpus, CountQuery(prototypes, 0.5, control=control), count_captions(corpus, concepts, control=control)
    )
    assert [(one.image, one.caption, one.joint, one.rows) for one in under] == [(1, 2, 1, 5), (1, 1, 1, 5)]
    for query, others, message in (
        (CountQuery(prototypes, 0.5), {"keep": None}, "without their rows"),
        (CountQuery(prototypes, 0.5, control=control), {}, "count both alike"),
        (CountQuery(prototypes, 0.5, "text"), {}, "not the text vectors"),
    ):
        with pytest.raises(BadInput, match=message):
            joint_frequency(corpus, query, count_captions(corpus, concepts, **others))
    turned = count_captions(corpus, ConceptSet("pets", (Concept("cat"), Concept("dog"))))
    with pytest.raises(BadInput, match="in another order"):
        joint_frequency(corpus, CountQuery(prototypes, 0.5), turned)


def test_the_table_has_null_where_a_share_is_of_nothing(tmp_path):
    corpus, _, prototypes, thresholds = made(tmp_path)
    mentions = Mentions(np.array([0, 1]), np.array([0, 1], np.int32))
    query = CountQuery(make_prototypes(prototypes), np.concatenate([thresholds[:, :1], np.ones((CONCEPTS, 1))], axis=1))
    table = joint_frequency(corpus, query, mentions).to_arrow()
    rows = table.to_pylist()
    assert len(rows) == CONCEPTS * 2
    assert rows[0]["caption"] == 1 and rows[0]["joint"] in (0, 1) and rows[0]["lift"] is not None
    assert rows[1]["count"] == 0 and rows[1]["lift"] is None and rows[1]["unnamed_share"] is None
    assert rows[4]["caption"] == 0 and rows[4]["unseen_share"] is None
    assert b"tailwag:space" in table.schema.metadata


def test_an_empty_corpus_has_no_shares(tmp_path):
    corpus = make_corpus(tmp_path, random_unit(0, 8))
    none = Mentions(np.zeros(0, np.int64), np.zeros(0, np.int32))
    found = joint_frequency(corpus, CountQuery(make_prototypes(random_unit(2, 8)), 0.2), none, misalignment=True)
    assert found[0].expected == 0
    assert np.isnan([found[0].lift, found[0].unseen_share, found[0].unnamed_share]).all()
    assert "0 of 0 pairs" in str(found[0])
    assert "no misalignment to speak of" in str(found.misalignment[0])


def test_what_is_independent_has_a_lift_of_about_one():
    one = JointCount("dog", 0.3, image=2000, caption=3000, joint=600, rows=10_000, rule="words")
    assert (one.expected, one.lift) == (600, 1)
    assert one.unseen_share == pytest.approx(0.8)
    assert one.unnamed_share == pytest.approx(0.7)
