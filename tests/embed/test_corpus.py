"""The corpus keeps what is given to it, shows it without copying, and never shows less than it holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.embed.corpus import Corpus, corpus_schema, is_unit, sampling_number, vector_column
from tailwag.embed.database import Database
from tailwag.embed.space import Space
from tailwag.errors import BadInput, NotFound, TailwagError

SPACE = Space("made", "", "a", "w", "{}", "t", 16)


def unit_rows(count: int, seed: int = 0, dimension: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def table(image: np.ndarray, text: np.ndarray | None = None, prefix: str = "s/") -> pa.Table:
    keys = [f"{prefix}{number}" for number in range(len(image))]
    columns = {
        "key": keys,
        "shard": ["s"] * len(keys),
        "caption": ["it's a row"] * len(keys),
        "url": [""] * len(keys),
        "width": [1] * len(keys),
        "height": [1] * len(keys),
        "sha256": [""] * len(keys),
        "u": [sampling_number(key) for key in keys],
        "label": [None] * len(keys),
        "image": vector_column(image),
        "text": vector_column(image if text is None else text),
    }
    return pa.table(columns, schema=corpus_schema(SPACE))


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return Corpus.create(tmp_path / "db", "made", SPACE)


def test_scan_gives_every_row_in_order_without_copying(corpus):
    image, text = unit_rows(5000, 1), unit_rows(5000, 2)
    corpus.append(table(image[:3000], text[:3000]))
    corpus.append(table(image[3000:], text[3000:], "r/"))
    for side, expected in (("image", image), ("text", text)):
        blocks = list(corpus.scan(side, block_rows=1024))
        assert np.array_equal(np.concatenate([block.vectors for block in blocks]), expected)
        assert [block.offset for block in blocks] == list(np.cumsum([0, *(len(b.vectors) for b in blocks)])[:-1])
        assert not any(block.vectors.flags.owndata for block in blocks)


def test_rows_are_taken_by_key_and_by_offset_in_the_order_asked_for(corpus):
    corpus.append(table(unit_rows(10), prefix="it's/"))
    assert corpus.take(["it's/7", "it's/2", "it's/7"], ["caption"]).column("key").to_pylist() == [
        "it's/7",
        "it's/2",
        "it's/7",
    ]
    assert corpus.take_offsets([9, 0], ["key"]).column("key").to_pylist() == ["it's/9", "it's/0"]
    with pytest.raises(NotFound, match="corpus 'made' has no key 'nine'"):
        corpus.take(["nine"], [])


def test_an_old_version_stays_readable(corpus):
    corpus.append(table(unit_rows(10)))
    old = corpus.version
    corpus.append(table(unit_rows(5), prefix="r/"))
    assert len(Corpus.open(corpus.database, "made")) == 15
    assert len(Corpus.open(corpus.database, "made", old)) == 10
    with pytest.raises(NotFound, match=f"has no version 99; its newest is {corpus.version}"):
        Corpus.open(corpus.database, "made", 99)


@pytest.mark.parametrize("bad", [0.0, 1.002, np.nan, np.inf])
@pytest.mark.parametrize("side", ["image", "text"])
def test_a_vector_that_is_not_of_unit_length_is_refused_by_key(corpus, bad, side):
    sound, broken = unit_rows(4), unit_rows(4)
    broken[2] *= np.float16(bad)
    rows = table(broken, sound) if side == "image" else table(sound, broken)
    with pytest.raises(BadInput, match=f"the {side} vector of 's/2' is not finite or not of unit length"):
        corpus.append(rows)
    assert len(Corpus.open(corpus.database, "made")) == 0


def test_rounding_to_float16_stays_within_the_tolerance():
    assert is_unit(unit_rows(2000, dimension=16)).all()


def test_it_is_a_table_that_lancedb_opens(corpus):
    corpus.append(table(unit_rows(300)))
    opened = lancedb.connect(corpus.database.uri).open_table("made")
    assert opened.count_rows() == 300
    assert opened.search(unit_rows(1)[0].tolist(), vector_column_name="image").limit(3).to_arrow().num_rows == 3


def test_a_missing_corpus_names_those_that_are_there(corpus):
    with pytest.raises(NotFound, match="no corpus 'other' in .*; it has made"):
        Corpus.open(corpus.database, "other")
    with pytest.raises(NotFound, match="it has none: make one with `tailwag embed`, or pass --db"):
        Corpus.open(Path(corpus.database.uri) / "nowhere", "other")
    with pytest.raises(BadInput, match="exists already"):
        Corpus.create(corpus.database, "made", SPACE)
    with pytest.raises(BadInput, match="cannot name a corpus"):
        Corpus.open(corpus.database, "../made")


def test_a_table_of_something_else_is_no_corpus(tmp_path):
    lancedb.connect(tmp_path).create_table("other", pa.table({"a": [1]}))
    assert Database(tmp_path).corpora() == []
    with pytest.raises(BadInput, match="is no corpus"):
        Corpus.open(tmp_path, "other")


def test_a_lost_data_file_is_an_error_and_never_a_smaller_corpus(corpus):
    for part in range(3):
        corpus.append(table(unit_rows(100, part), prefix=f"{part}/"))
    files = sorted((Path(corpus.database.uri) / "made.lance" / "data").rglob("*.lance"))
    assert len(files) == 3
    files[1].unlink()
    with pytest.raises(TailwagError, match="cannot be read"):
        list(Corpus.open(corpus.database, "made").scan())


def test_a_table_copied_without_its_data_is_an_error(corpus, tmp_path):
    corpus.append(table(unit_rows(100)))
    shutil.rmtree(Path(corpus.database.uri) / "made.lance" / "data")
    with pytest.raises(TailwagError, match="cannot be read"):
        list(Corpus.open(corpus.database, "made").scan())


@given(st.text())
def test_the_sampling_number_is_below_one_even_as_float32(key):
    assert 0 <= np.float32(sampling_number(key)) < 1


def test_the_sampling_numbers_sample():
    numbers = np.array([sampling_number(f"shard/{number:09d}") for number in range(20_000)])
    for rate in (0.01, 0.1, 0.5):
        assert abs(np.mean(numbers < rate) - rate) < 4 * np.sqrt(rate * (1 - rate) / len(numbers))
