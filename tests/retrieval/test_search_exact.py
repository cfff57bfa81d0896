"""Exact search gives what sorting all float64 similarities gives, for any k, ties by offset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import Block
from tailwag.errors import BadInput, SpaceMismatch, TailwagError
from tailwag.retrieval.search import search
from tailwag.retrieval.top_k import exact_top_k

from ..corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, unit


def brute_force(rows: np.ndarray, prototype: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    exact = rows.astype(np.float64) @ prototype.astype(np.float64)
    order = sorted(range(len(rows)), key=lambda offset: (-exact[offset], offset))[:k]
    return order, exact[order].tolist()


def in_blocks(rows: np.ndarray, sizes: list[int]) -> list[Block]:
    blocks, start = [], 0
    for size in [*sizes, len(rows)]:
        if start < len(rows):
            blocks.append(Block(start, rows[start : start + size]))
            start += size
    return blocks


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
    found = exact_top_k(in_blocks(rows, sizes), prototypes, k)
    for prototype, (offsets, exact) in zip(prototypes, found, strict=True):
        assert (offsets.tolist(), exact.tolist()) == brute_force(rows, prototype, k)


@pytest.mark.parametrize("k", [1, 20, 3000, 20_000, 50_000])
def test_it_equals_sorting_everything_on_a_larger_table(k):
    rows = clustered_unit(20_000, 64, spread=0.2)
    rows[5000:9000] = rows[:4000]
    prototypes = np.concatenate([rows[:2], random_unit(1, 64)])
    found = exact_top_k(in_blocks(rows, [8192] * 3), prototypes, k)
    for prototype, (offsets, exact) in zip(prototypes, found, strict=True):
        assert (offsets.tolist(), exact.tolist()) == brute_force(rows, prototype, k)


def test_a_row_that_is_not_a_unit_vector_is_refused():
    rows = random_unit(10, 16)
    rows[7] = np.nan
    with pytest.raises(TailwagError, match="row 7 is not finite"):
        exact_top_k(in_blocks(rows, [4, 6]), random_unit(1, 16), 3)


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
