"""The misalignment degree: planted pairs, and an interval that covers the rate they were drawn with."""

import numpy as np
import pytest

from tailwag.retrieval.captions.joint import joint_frequency
from tailwag.retrieval.captions.misalignment import Misalignment, misalignments
from tailwag.retrieval.counting import CountQuery, Mentions, Overlap
from tests.corpora import make_corpus, make_prototypes

# What each of 100 rows shows and names, by concept 0 to 3; None is nothing.
PLANTED = [
    *[((0,), (0,))] * 40,  # aligned
    *[((0, 1), (1, 2))] * 10,  # one in common is enough
    *[((0,), (1,))] * 7,  # misaligned
    *[((2, 3), (0, 1))] * 3,  # misaligned
    *[((1,), ())] * 15,  # nothing is named
    *[((), (3,))] * 20,  # nothing is seen
    *[((), ())] * 5,
]


def planted(tmp_path, own_thresholds):
    image = np.zeros((len(PLANTED), 6))
    offsets, concepts = [], []
    for row, (shown, named) in enumerate(PLANTED):
        image[row, list(shown)] = 1
        image[row, 4 if shown else 5] = 0.1
        offsets += [row] * len(named)
        concepts += named
    image = (image / np.linalg.norm(image, axis=1, keepdims=True)).astype(np.float16)
    thresholds = np.array([[0.5], [0.55], [0.6], [0.65]]) if own_thresholds else 0.5
    query = CountQuery(make_prototypes(np.eye(4, 6, dtype=np.float16)), thresholds)
    mentions = Mentions(np.array(offsets), np.array(concepts, np.int32))
    return joint_frequency(make_corpus(tmp_path, image), query, mentions, misalignment=True)


@pytest.mark.parametrize("own_thresholds", [False, True])
def test_planted_misalignments_are_found(tmp_path, own_thresholds):
    found = planted(tmp_path, own_thresholds)
    (one,) = found.misalignment
    assert one.threshold == (None if own_thresholds else 0.5)
    assert (one.rows, one.hit_rows, one.named_rows, one.both_rows, one.common_rows) == (100, 75, 80, 60, 50)
    assert one.misaligned_rows == 10
    assert one.degree == 0.1
    assert one.degree_of_both == pytest.approx(10 / 60)
    assert "10 of 100 pairs (10.0 %) are misaligned" in str(one)
    assert "16.7 % of the 60 pairs" in str(one)
    unseen = {count.concept: count.unseen_share for count in found}
    assert unseen["query 0"] == pytest.approx(3 / 43)
    assert unseen["query 3"] == 1
    unnamed = {count.concept: count.unnamed_share for count in found}
    assert unnamed["query 0"] == pytest.approx(17 / 57)


def test_an_aligned_corpus_has_degree_zero_and_one_that_shares_nothing_has_one():
    def one(both, common):
        overlap = Overlap(np.array([both]), both, np.array([both]), np.array([common]))
        return misalignments(overlap, np.full((2, 1), 0.3), both)[0]

    assert (one(10, 10).degree, one(10, 10).degree_of_both) == (0, 0)
    assert (one(10, 0).degree, one(10, 0).degree_of_both) == (1, 1)


def test_where_no_pair_has_hits_on_both_sides_nothing_is_claimed():
    none = Misalignment(0.3, rows=10, hit_rows=2, named_rows=3, both_rows=0, common_rows=0)
    assert none.degree == 0
    assert np.isnan(none.degree_of_both)
    assert none.interval() == (0.0, 1.0)
    assert "no misalignment to speak of" in str(none)


def test_the_interval_covers_the_rate_of_what_the_pairs_came_from():
    generator, rate, covered = np.random.default_rng(0), 0.17, 0
    for misaligned in generator.binomial(400, rate, size=500):
        lower, upper = Misalignment(0.3, 1000, 400, 400, 400, 400 - int(misaligned)).interval()
        covered += lower <= rate <= upper
    assert covered >= 0.95 * 500 - 3 * np.sqrt(500 * 0.95 * 0.05)
    wide = Misalignment(0.3, 1000, 400, 400, 400, 332)
    assert wide.interval(0.99)[0] < wide.interval(0.95)[0] < 0.17 < wide.interval(0.95)[1] < wide.interval(0.99)[1]
