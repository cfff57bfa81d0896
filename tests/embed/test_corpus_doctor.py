"""What is wrong with a corpus is found and told apart: single rows, weights, preprocessing, pictures, sums, lengths."""

from __future__ import annotations

import shutil
from pathlib import Path

import lance
import numpy as np
import pytest

from tailwag.embed.corpus import Corpus, vector_column
from tailwag.embed.corpus_doctor import check_corpus
from tailwag.embed.doctor import Check
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.preprocessing import Preprocessing

from ..conftest import make_tiny_model
from .shards import picture, sound_members, write_tar

ALL = ["sums", "lengths", "space", "pictures", "pictures again", "captions again"]


@pytest.fixture
def source(tmp_path) -> Path:
    write_tar(tmp_path / "set" / "00000.tar", [*sound_members(range(12)), ("bad.jpg", b"none"), ("bad.txt", b"a")])
    write_tar(tmp_path / "set" / "00001.tar", sound_members(range(12, 20)))
    return tmp_path / "set"


def embedded(source: Path, database: Path, encoder: Encoder) -> Corpus:
    run_embedding(plan_embedding([str(source)], database, "c"), encoder)
    return Corpus.open(database, "c")


def checks(corpus: Corpus, rows: int = 64) -> dict[str, Check]:
    return {check.name: check for check in check_corpus(corpus, rows, device="cpu")}


def wrong(found: dict[str, Check]) -> list[str]:
    return [name for name, check in found.items() if check.passed is False]


def test_a_sound_corpus(tmp_path, source, tiny_model):
    found = checks(embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu")))
    assert list(found) == ALL
    assert all(check.passed for check in found.values()), [check.line() for check in found.values()]
    assert found["sums"].said == "20 rows + 1 failures = 21 samples of 2 shards"
    assert found["pictures again"].numbers["rows"] == 20
    assert found["pictures again"].numbers["least"] > 0.99999
    assert len(checks(Corpus.open(tmp_path / "db", "c"), rows=5)) == len(ALL)


def replace_row(corpus: Corpus, key: str, **columns) -> Corpus:
    row = corpus.take([key], corpus.schema.names).select(corpus.schema.names)
    for name, value in columns.items():
        row = row.set_column(corpus.schema.names.index(name), corpus.schema.field(name), value)
    corpus.delete(f"key = '{key}'")
    uri = corpus.database.table_uri(corpus.name)
    lance.write_dataset(row.cast(corpus.schema), uri, mode="append", schema=corpus.schema)
    return Corpus.open(corpus.database, corpus.name)


def test_a_row_with_anothers_vector_is_named(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    other = corpus.take(["set/00001/000000015"], ["image"]).column("image")
    found = checks(replace_row(corpus, "set/00000/000000003", image=negated(other)))
    assert wrong(found) == ["pictures again"]
    said = found["pictures again"].said
    assert said.startswith("1 of 20 vectors made again differ")
    assert "the others agree, so the row's vector is not that of its picture: set/00000/000000003" in said


def negated(column):
    return vector_column(-column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(1, -1))


def test_a_row_with_anothers_caption_is_named(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    import pyarrow as pa

    found = checks(replace_row(corpus, "set/00000/000000003", caption=pa.array(["altogether something else"])))
    assert wrong(found) == ["captions again"]
    assert "not that of its caption: set/00000/000000003" in found["captions again"].said


def test_other_weights_than_are_recorded(tmp_path, source, tiny_model):
    """Planted: vectors of another model, under the name and digest of this one."""
    other = Encoder.load(f"local-dir:{make_tiny_model(tmp_path / 'other', seed=5)}", device="cpu")
    other.space = Encoder.load(tiny_model, device="cpu").space
    found = checks(embedded(source, tmp_path / "db", other))
    assert wrong(found) == ["pictures again", "captions again"]
    assert found["space"].passed
    for name in wrong(found):
        assert "other weights made this corpus than it records" in found[name].said


def test_another_preprocessing_than_is_recorded(tmp_path, source, tiny_model):
    """Planted: pictures squashed where the model crops them."""
    encoder = Encoder.load(tiny_model, device="cpu")
    own = encoder.preprocessing
    encoder.preprocessing = Preprocessing(own.height, own.width, own.mean, own.std, True, "squash", own.fill_color)
    found = checks(embedded(source, tmp_path / "db", encoder))
    assert wrong(found) == ["pictures again"]
    assert "the other side agrees, so these were prepared otherwise" in found["pictures again"].said


def test_a_model_that_has_changed_since_is_another_space(tmp_path, source):
    folder = make_tiny_model(tmp_path / "model")
    corpus = embedded(source, tmp_path / "db", Encoder.load(f"local-dir:{folder}", device="cpu"))
    shutil.rmtree(folder)
    make_tiny_model(folder, seed=9)
    found = checks(corpus)
    assert wrong(found) == ["space"]
    assert "they differ in weights" in found["space"].said


def test_pictures_that_have_gone_are_not_told_of_as_wrong(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    shutil.rmtree(source)
    found = checks(corpus)
    assert wrong(found) == []
    assert found["pictures"].passed is None
    assert "20 of 20 pictures cannot be read again" in found["pictures"].said
    assert found["pictures again"].passed is None
    assert found["captions again"].passed


def test_pictures_that_have_changed_are_wrong(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    members = sound_members(range(12))
    members[0] = (members[0][0], picture(99))
    write_tar(source / "00000.tar", members)
    found = checks(corpus)
    assert wrong(found) == ["pictures"]
    assert "1 of 20 pictures cannot be read again: its picture has changed" in found["pictures"].said


def test_a_row_that_was_removed_shows_in_the_sums(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    corpus.delete("key = 'set/00000/000000003'")
    found = checks(Corpus.open(tmp_path / "db", "c"))
    assert wrong(found) == ["sums"]
    assert "the corpus has 19 rows and 1 failures, its 2 finished shards say 20 and 1" in found["sums"].said


def test_a_vector_that_is_not_of_unit_length_is_named(tmp_path, source, tiny_model):
    corpus = embedded(source, tmp_path / "db", Encoder.load(tiny_model, device="cpu"))
    text = corpus.take(["set/00001/000000015"], ["text"]).column("text").combine_chunks().flatten()
    half = vector_column((text.to_numpy(zero_copy_only=False) / 2).astype(np.float16).reshape(1, -1))
    found = checks(replace_row(corpus, "set/00001/000000015", text=half))
    assert wrong(found) == ["lengths"]
    assert "the text vector of set/00001/000000015 is not of unit length" in found["lengths"].said


def test_an_empty_corpus_has_nothing_to_compare(tmp_path, tiny_model):
    corpus = Corpus.create(tmp_path / "db", "c", Encoder.load(tiny_model, device="cpu").space)
    found = checks(corpus)
    assert [(name, check.passed) for name, check in found.items()] == [("sums", True), ("vectors", None)]


@pytest.mark.photos
def test_photographs_and_a_trained_model(tmp_path, data):
    shutil.copy(data / "data" / "photos" / "pascal-sentences" / "00001.tar", tmp_path / "p.tar")
    encoder = Encoder.load("tailwag:world", device="cpu")
    run_embedding(plan_embedding([str(tmp_path / "p.tar")], tmp_path / "db", "c"), encoder)
    assert all(check.passed for check in checks(Corpus.open(tmp_path / "db", "c")).values())
