"""Rows where hits and mentions meet, counted in the pass: equal to looking at all similarities, on every backend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.errors import BadInput
from tailwag.retrieval.counting import CountQuery, Mentions, chosen_rows, count, passes, similarities
from tests.corpora import clustered_unit, make_corpus, make_prototypes, random_unit

from .test_counting_exactness import RUNNING
from .together import five_fragments

DIMENSION = 24


def random_mentions(rows, concepts, size, seed=0):
    generator = np.random.default_rng(seed)
    pairs = np.unique(
        np.stack([generator.integers(rows, size=size), generator.integers(concepts, size=size)], 1), axis=0
    )
    return Mentions(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int32))


def by_looking_at_all(vectors, prototypes, thresholds, mentions, wanted=None):
    """The definition: every similarity, every mention."""
    hit = similarities(vectors, prototypes)[:, :, None] >= thresholds
    named = np.zeros((*hit.shape[:2], 1), dtype=bool)
    named[mentions.offsets, mentions.concepts] = True
    if wanted is not None:
        hit, named = hit[wanted], named[wanted]
    both = hit.any(axis=1) & named.any(axis=1)
    return hit.any(axis=1).sum(axis=0), named.any(axis=1).sum(), both.sum(axis=0), (hit & named).any(axis=1).sum(axis=0)


def assert_overlap(found, expected):
    for one, other in zip(
        (found.hit_rows, found.named_rows, found.both_rows, found.common_rows), expected, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def planted_thresholds(scores, shared):
    """Some rows lie exactly on a threshold; one float64 above it they do not reach it."""
    if shared:
        on = np.sort(scores.max(axis=1))[len(scores) // 2]
        return np.array([on, np.nextafter(on, 2), -1.0, 1.0])
    on = np.quantile(scores, 0.9, axis=0, method="nearest")
    return np.stack([on, np.nextafter(on, 2), np.full_like(on, 1.0)], axis=1)


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("shared", [True, False], ids=["shared thresholds", "own thresholds"])
@pytest.mark.parametrize("others", [{}, {"margin": 0.05, "best": 2, "top_k": 3}, {"margin": 0.05}])
def test_the_overlap_is_what_all_similarities_say(tmp_path, monkeypatch, backend, shared, others):
    monkeypatch.setattr(passes, "PAIRS_A_TILE", 700)  # several tiles a block
    vectors, prototypes = clustered_unit(700, DIMENSION, seed=1), clustered_unit(7, DIMENSION, seed=2)
    corpus, mentions = make_corpus(tmp_path, vectors), random_mentions(700, 7, 900)
    thresholds = planted_thresholds(similarities(vectors, prototypes), shared)
    query = CountQuery(make_prototypes(prototypes), thresholds, mentions=mentions, overlap=True, **others)
    result = count(corpus, query, backend)
    assert_overlap(result.overlap, by_looking_at_all(vectors, prototypes, query.thresholds, mentions))
    assert query.overlap_by_best == shared
    without = count(corpus, CountQuery(make_prototypes(prototypes), thresholds, mentions=mentions, **others), backend)
    np.testing.assert_array_equal(result.counts, without.counts)
    np.testing.assert_array_equal(result.mention_counts, without.mention_counts)
    assert without.overlap is None
    if others:
        np.testing.assert_array_equal(result.margin_counts, without.margin_counts)


@pytest.mark.parametrize("shared", [True, False])
def test_a_control_leaves_rows_out_of_all_four_numbers(tmp_path, shared):
    corpus = five_fragments(tmp_path)
    vectors = np.concatenate([block.vectors for block in corpus.scan("image")])
    wanted = np.random.default_rng(2).random(len(corpus)) < 0.3
    prototypes, mentions = clustered_unit(6, DIMENSION, seed=3), random_mentions(len(corpus), 6, 3000)
    thresholds = planted_thresholds(similarities(vectors, prototypes), shared)
    query = CountQuery(
        make_prototypes(prototypes), thresholds, mentions=mentions, overlap=True, control=chosen_rows("some", wanted)
    )
    expected = by_looking_at_all(vectors, prototypes, query.thresholds, mentions, wanted)
    assert_overlap(count(corpus, query).overlap, expected)


@given(
    rows=st.integers(0, 30),
    concepts=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    shared=st.booleans(),
    mentioned=st.integers(0, 60),
)
@settings(max_examples=25, deadline=None)
def test_the_numbers_contain_each_other(tmp_path_factory, rows, concepts, seed, shared, mentioned):
    vectors, prototypes = random_unit(rows, 8, seed), random_unit(concepts, 8, seed + 1)
    corpus = make_corpus(tmp_path_factory.mktemp("overlap"), vectors)
    mentions = random_mentions(rows, concepts, mentioned if rows else 0, seed)
    thresholds = [0.1, 0.3] if shared else np.random.default_rng(seed).uniform(-0.5, 0.5, size=(concepts, 2))
    query = CountQuery(make_prototypes(prototypes), thresholds, mentions=mentions, overlap=True)
    result = count(corpus, query, "reference")
    found = result.overlap
    assert_overlap(found, by_looking_at_all(vectors, prototypes, query.thresholds, mentions))
    assert (found.common_rows <= found.both_rows).all()
    assert (found.both_rows <= np.minimum(found.hit_rows, found.named_rows)).all()
    assert (result.mention_counts.max(axis=0) <= found.common_rows).all()
    assert (found.common_rows <= result.mention_counts.sum(axis=0)).all()


def test_an_overlap_needs_mentions():
    with pytest.raises(BadInput, match="give the mentions too"):
        CountQuery(make_prototypes(random_unit(2, 8)), 0.2, overlap=True)
