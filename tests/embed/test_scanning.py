"""The reader: ahead of the counting, whole or not at all, and small however large the table is."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.embed import scanning
from tailwag.embed.scanning import Ahead, RowMask
from tailwag.errors import BadInput, TailwagError
from tests.corpora import clustered_unit, make_corpus, make_space, rows_table

# What a scan may hold beside the interpreter and its modules, whatever the table's size; docs/counting.md states it.
MEMORY_BOUND = 256 << 20


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "tailwag-reader"]


def wait_for_no_readers():
    for _ in range(3000):
        if not readers():
            return True
        time.sleep(0.02)
    return False


def test_items_come_whole_and_in_order():
    with Ahead(iter(range(1000)), depth=3) as items:
        assert list(items) == list(range(1000))
    assert wait_for_no_readers()


def test_no_more_items_wait_than_were_asked_for():
    taken = []

    def numbers():
        for number in range(100):
            taken.append(number)
            yield number

    with Ahead(numbers(), depth=3) as items:
        next(items)
        time.sleep(0.2)
        assert len(taken) <= 1 + 3 + 1  # taken, waiting, and in the reader's hand
    assert wait_for_no_readers()


def test_what_the_reader_raises_is_raised_where_items_are_taken():
    def failing():
        yield 1
        raise TailwagError("the disk is gone")

    with pytest.raises(TailwagError, match="the disk is gone"), Ahead(failing()) as items:
        list(items)
    assert wait_for_no_readers()


def test_a_reader_is_stopped_by_whoever_takes_no_more():
    def endless():
        while True:
            yield np.zeros(10)

    with pytest.raises(KeyboardInterrupt), Ahead(endless()) as items:
        next(items)
        raise KeyboardInterrupt
    assert wait_for_no_readers()


def test_a_scan_that_is_left_early_leaves_no_reader(tmp_path):
    corpus = make_corpus(tmp_path, clustered_unit(5000, 8))
    for _ in corpus.scan(block_rows=100):
        break
    assert wait_for_no_readers()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.39, 0.41, 0.99, 1.0])
def test_rows_are_picked_the_same_way_one_by_one_and_out_of_blocks(tmp_path, share):
    image, text = clustered_unit(3001, 8, seed=1), clustered_unit(3001, 8, seed=2)
    corpus = make_corpus(tmp_path, image[:1700], text[:1700])
    corpus.append(rows_table(corpus.space, image[1700:], text[1700:], prefix="t/"))
    wanted = np.random.default_rng(0).random(3001) < share
    blocks = list(corpus.scan("text", block_rows=500, both=True, mask=RowMask(wanted)))
    offsets = np.concatenate([block.offsets for block in blocks] or [np.zeros(0, int)])
    np.testing.assert_array_equal(offsets, np.flatnonzero(wanted))
    if len(blocks):
        np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks]), text[wanted])
        np.testing.assert_array_equal(np.concatenate([block.other for block in blocks]), image[wanted])
    assert all(len(block.vectors) <= 500 for block in blocks)


def test_a_mask_of_another_length_is_refused(tmp_path):
    corpus = make_corpus(tmp_path, clustered_unit(50, 8))
    with pytest.raises(BadInput, match="49 rows were chosen from, and corpus 'made' has 50"):
        list(corpus.scan(mask=RowMask(np.ones(49, bool))))


def test_single_fragments_can_be_read(tmp_path):
    vectors = clustered_unit(300, 8)
    corpus = make_corpus(tmp_path, vectors[:100])
    for start in (100, 200):
        corpus.append(rows_table(corpus.space, vectors[start : start + 100], prefix=f"{start}/"))
    fragments = corpus.fragments()
    assert [(one.offset, one.rows) for one in fragments] == [(0, 100), (100, 100), (200, 100)]
    (block,) = corpus.scan(fragments=fragments[1:2])
    np.testing.assert_array_equal(block.vectors, vectors[100:200])
    np.testing.assert_array_equal(block.offsets, np.arange(100, 200))


def test_a_fragment_changes_its_state_with_its_rows_and_only_then(tmp_path):
    vectors = clustered_unit(200, 8)
    corpus = make_corpus(tmp_path, vectors[:100])
    corpus.append(rows_table(corpus.space, vectors[100:], prefix="t/"))
    before = corpus.fragments()
    corpus.delete("key = 't/7'")
    after = corpus.fragments()
    assert before[0].state == after[0].state
    assert before[1].state != after[1].state
    assert (after[1].rows, after[1].number) == (99, before[1].number)


@pytest.mark.parametrize("wanted", [None, 0.1])
def test_a_file_that_is_lost_ends_the_scan_with_an_error(tmp_path, wanted):
    vectors = clustered_unit(4000, 8)
    corpus = make_corpus(tmp_path, vectors[:2000])
    corpus.append(rows_table(corpus.space, vectors[2000:], prefix="t/"))
    newest = max((tmp_path / "made.lance" / "data").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    newest.unlink()
    mask = None if wanted is None else RowMask(np.random.default_rng(0).random(4000) < wanted)
    rows = 0
    with pytest.raises(TailwagError, match=r"corpus 'made' \(version 3\) cannot be read past row 2"):
        for block in corpus.scan(mask=mask):
            rows += len(block.vectors)
    assert rows < 2001
    assert wait_for_no_readers()


def test_memory_does_not_grow_with_the_table(tmp_path):
    """Counts a table of 660 MB, twice the bound, in a process of its own, and looks at its greatest size."""
    rows, dimension = 645_000, 512
    some = clustered_unit(5000, dimension)
    corpus = make_corpus(tmp_path, some, space=make_space(dimension))
    # Written as one fragment from a few repeated rows: making half a million different ones would take longer.
    import lance
    import pyarrow as pa

    table = rows_table(corpus.space, some, prefix="t/")
    batches = pa.RecordBatchReader.from_batches(table.schema, (b for _ in range(128) for b in table.to_batches()))
    lance.write_dataset(batches, corpus.database.table_uri("made"), mode="append", schema=corpus.schema)
    program = f"""
import resource, numpy as np, tailwag
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.counting import CountQuery, count
corpus = tailwag.Corpus.open({str(tmp_path)!r}, "made")
vectors = next(iter(corpus.scan())).vectors[:40].copy()
names = tuple(map(str, range(40)))
query = CountQuery(PrototypeSet(names, vectors, corpus.space, names), [0.6, 0.7])
count(corpus, query, fragments=corpus.fragments()[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = count(corpus, query)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(result.rows, (after - before) * 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    counted, grown = map(int, done.stdout.split())
    assert counted == rows
    assert rows * dimension * 2 > 2 * MEMORY_BOUND
    assert grown < MEMORY_BOUND
    assert scanning.BLOCKS_AHEAD == 4


@given(
    pieces=st.lists(st.lists(st.booleans(), max_size=20).map(lambda piece: np.array(piece, dtype=bool)), max_size=6),
    data=st.data(),
)
def test_a_mask_is_the_same_whole_in_pieces_and_of_offsets(pieces, data):
    wanted = np.concatenate([np.zeros(0, bool), *pieces])
    start = data.draw(st.integers(0, len(wanted)))
    stop = data.draw(st.integers(start, len(wanted)))
    for mask in (RowMask(wanted), RowMask(iter(pieces)), RowMask.of_offsets(len(wanted), np.flatnonzero(wanted))):
        assert (mask.length, mask.count) == (len(wanted), wanted.sum())
        np.testing.assert_array_equal(mask.between(start, stop), wanted[start:stop])
