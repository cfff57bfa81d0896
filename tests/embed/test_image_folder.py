"""A folder of images becomes rows: labels from sub-folders, captions from files beside them."""

from __future__ import annotations

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.ledger import Ledger
from tailwag.embed.pictures import read_pictures
from tailwag.errors import BadInput

from .shards import picture, sound_shard


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / "pets"
    for name in ("cats/tom.jpg", "cats/kit.png", "dogs/rex.jpg", "alone.webp"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(len(name), format={"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[1]]))
    (folder / "cats" / "tom.txt").write_text("a cat called Tom\n")
    (folder / "dogs" / "gone.txt").write_text("its picture is gone")
    (folder / "captions.csv").write_text("file_name,caption\ndogs/rex.jpg,a dog\ndogs/lost.jpg,a lost dog\n")
    (folder / "more.jsonl").write_text('{"file_name": "cats/kit.png", "text": "a kitten"}\n')
    (folder / ".hidden.jpg").write_bytes(b"no picture")
    return folder


def embed(folder, database, encoder):
    return run_embedding(plan_embedding([str(folder)], database, "c"), encoder)


def rows(database):
    table = Corpus.open(database, "c")._dataset.to_table(columns=["key", "label", "caption", "shard"])
    return {row.pop("key"): tuple(row.values()) for row in table.to_pylist()}


def test_labels_and_captions(tmp_path, pets, encoder):
    report = embed(pets, tmp_path / "db", encoder)
    assert rows(tmp_path / "db") == {
        "pets/alone.webp": (None, "", "pets#00000"),
        "pets/cats/kit.png": ("cats", "a kitten", "pets#00000"),
        "pets/cats/tom.jpg": ("cats", "a cat called Tom", "pets#00000"),
        "pets/dogs/rex.jpg": ("dogs", "a dog", "pets#00000"),
    }
    corpus = Corpus.open(tmp_path / "db", "c")
    failures = {row["key"]: row["reason"] for row in Ledger(corpus.database, "c").failures().to_pylist()}
    assert failures == {"pets/dogs/gone.txt": "no image", "pets/dogs/lost.jpg": "no image"}
    assert (report.samples, report.rows, report.failures) == (6, 4, 2)


def test_only_new_pictures_are_embedded(tmp_path, pets, encoder):
    embed(pets, tmp_path / "db", encoder)
    assert embed(pets, tmp_path / "db", encoder).samples == 0
    (pets / "dogs" / "ace.jpg").write_bytes(picture(77))
    report = embed(pets, tmp_path / "db", encoder)
    assert (report.rows, report.samples) == (1, 1)
    assert rows(tmp_path / "db")["pets/dogs/ace.jpg"] == ("dogs", "", "pets#00001")


def test_another_folder_of_the_same_name_is_refused(tmp_path, pets, encoder):
    embed(pets, tmp_path / "db", encoder)
    other = tmp_path / "other" / "pets"
    other.mkdir(parents=True)
    (other / "a.jpg").write_bytes(picture(1))
    with pytest.raises(BadInput, match="with the same keys"):
        embed(other, tmp_path / "db", encoder)


def test_pictures_are_found_again_and_missing_ones_say_so(tmp_path, pets, encoder):
    sound_shard(tmp_path / "set" / "00000.tar", range(5))
    run_embedding(plan_embedding([str(pets), str(tmp_path / "set")], tmp_path / "db", "c"), encoder)
    corpus = Corpus.open(tmp_path / "db", "c")
    keys = ["set/00000/000000003", "pets/dogs/rex.jpg", "set/00000/000000000"]
    found = read_pictures(corpus, keys)
    assert [each.key for each in found] == keys
    assert [each.data for each in found] == [picture(3), (pets / "dogs" / "rex.jpg").read_bytes(), picture(0)]
    (pets / "dogs" / "rex.jpg").write_bytes(picture(99))
    assert read_pictures(corpus, keys)[1].missing == "its picture has changed since it was embedded"
    (pets / "dogs" / "rex.jpg").unlink()
    sound_shard(tmp_path / "set" / "00000.tar", range(1)).write_bytes(b"no tar any more" * 100)
    assert "cannot be read" in read_pictures(corpus, keys)[0].missing
    (tmp_path / "set" / "00000.tar").unlink()
    gone = read_pictures(corpus, keys)
    assert all(each.data is None for each in gone)
    assert "00000.tar cannot be read" in gone[0].missing
    assert "any more" in gone[1].missing
