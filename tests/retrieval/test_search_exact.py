"""Exact search gives what sorting all float64 similarities gives, for any k, ties by offset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.errors import BadInput, SpaceMismatch
from tailwag.retrieval.counting import CountQuery, choose_backend
from tailwag.retrieval.counting.tally import Tally
from tailwag.retrieval.search import most_similar, search

from ..corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, unit


def brute_force(rows: np.ndarray, prototype: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    exact = rows.astype(np.float64) @ prototype.astype(np.float64)
    order = sorted(range(len(rows)), key=lambda offset: (-exact[offset], offset))[:k]
    return order, exact[order].tolist()


def found_in_tiles(rows: np.ndarray, prototypes: np.ndarray, k: int, sizes: list[int]):
    """The k most similar rows, as the pass over a corpus finds them when its tiles have these sizes."""
    query = CountQuery(make_prototypes(prototypes), 1.0, top_k=k)
    counter, tally, start = choose_backend("cpu").prepare(prototypes, query.asked()), Tally(query), 0
    for size in [*sizes, len(rows)]:
        tile = rows[start : start + size]
        offsets = np.arange(start, start + len(tile))
        tally.add(offsets, tile, None, counter.count_tile(tile, tally.floors()))
        start += len(tile)
    top = tally.top()
    found = min(k, len(rows))
    assert (top.offsets[:, found:] == -1).all() and np.isnan(top.similarities[:, found:]).all()
    return zip(top.offsets[:, :found].tolist(), top.similarities[:, :found].tolist(), strict=True)


@st.composite
def tables(draw):
    """Rows random, clustered, or few of them many times over, so that ties straddle the k-th place."""
    count = draw(st.integers(0, 200))
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["random", "clustered", "duplicates", "near-duplicates"]))
    if kind == "random":
        rows = random_unit(count, 16, seed)
    elif kind == "clustered":
        rows = clustered_unit(count, 16, clusters=3, spread=0.01, seed=seed)
    else:
        generator = np.random.default_rng(seed)
        rows = random_unit(4, 16, seed)[generator.integers(4, size=count)]
        if kind == "near-duplicates":
            # One float16 step apart in one place: float32 sums cannot always tell them apart in the right order.
            moved = np.nextafter(rows, np.float16(2))
            place = generator.integers(16, size=(count, 1)) == np.arange(16)
            rows = np.where(place, moved, rows)
    return rows


@given(tables(), st.integers(1, 250), st.lists(st.integers(1, 60), max_size=5), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_it_equals_sorting_everything(rows, k, sizes, seed):
    prototypes = np.concatenate([random_unit(2, 16, seed), rows[:1]])
    for prototype, found in zip(prototypes, found_in_tiles(rows, prototypes, k, sizes), strict=True):
        assert found == brute_force(rows, prototype, k)


@pytest.mark.parametrize("k", [1, 20, 3000, 20_000, 50_000])
def test_it_equals_sorting_everything_on_a_larger_table(tmp_path, k):
    rows = clustered_unit(20_000, 64, spread=0.2)
    rows[5000:9000] = rows[:4000]
    prototypes = np.concatenate([rows[:2], random_unit(1, 64)])
    nearest = most_similar(make_corpus(tmp_path, rows), make_prototypes(prototypes), "image", k)
    for prototype, (offsets, exact) in zip(prototypes, nearest, strict=True):
        assert (offsets.tolist(), exact.tolist()) == brute_force(rows, prototype, k)


def test_a_result_carries_the_rows_and_says_that_it_is_exact(tmp_path):
    rows = random_unit(50, 16)
    text = random_unit(50, 16, seed=1)
    corpus = make_corpus(tmp_path, rows, text, labels=["dog"] * 50)
    result = search(corpus, make_prototypes(np.stack([rows[7], text[9]])), k=3)
    first = result.queries[0].hits[0]
    assert (first.rank, first.offset, first.key, first.caption) == (1, 7, "s/7", "caption of s/7")
    assert (first.label, first.width, first.height) == ("dog", 640, 480)
    assert first.similarity == float(rows[7].astype(np.float64) @ rows[7].astype(np.float64))
    assert [len(found.hits) for found in result.queries] == [3, 3]
    assert result.exact and result.method == "exact (all 50 rows compared)" and result.version == corpus.version
    by_caption = search(corpus, make_prototypes(text[9:10]), k=1, side="text")
    assert by_caption.queries[0].hits[0].offset == 9


def test_more_than_all_rows_gives_all_and_an_empty_corpus_none(tmp_path):
    rows = random_unit(5, 16)
    whole = search(make_corpus(tmp_path, rows), make_prototypes(rows[:1]), k=99)
    assert sorted(hit.offset for hit in whole.queries[0].hits) == [0, 1, 2, 3, 4]
    one = search(make_corpus(tmp_path, rows[:1], name="one"), make_prototypes(rows[:1]), k=1)
    assert len(one.queries[0].hits) == 1
    empty = search(make_corpus(tmp_path, rows[:0], name="empty"), make_prototypes(rows[:1]), k=3)
    assert empty.queries[0].hits == () and empty.rows == 0
    assert empty.to_arrow().num_rows == 0


def test_a_result_becomes_a_table(tmp_path):
    rows = random_unit(5, 16)
    table = search(make_corpus(tmp_path, rows), make_prototypes(rows[:2]), k=2).to_arrow()
    assert table.column("rank").to_pylist() == [1, 2, 1, 2]
    assert table.column("query").to_pylist() == ["query 0"] * 2 + ["query 1"] * 2


def test_what_cannot_be_asked_is_refused(tmp_path):
    rows = random_unit(5, 16)
    corpus = make_corpus(tmp_path, rows)
    with pytest.raises(BadInput, match="at least one row"):
        search(corpus, make_prototypes(rows[:1]), k=0)
    with pytest.raises(BadInput, match="no side"):
        search(corpus, make_prototypes(rows[:1]), k=1, side="joint")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="nprobe"):
        search(corpus, make_prototypes(rows[:1]), k=1, nprobe=4)
    with pytest.raises(SpaceMismatch, match="weights"):
        search(corpus, make_prototypes(unit(rows[:1]), make_space(16, weights="others")), k=1)
