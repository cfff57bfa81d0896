"""Released vectors become rows: every layout, every column, keys and vectors as they were."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tailwag.embed.corpus import Corpus, is_unit, sampling_number
from tailwag.embed.database import Database
from tailwag.embed.imports.job import plan_import, run_import
from tailwag.embed.ledger import Ledger
from tailwag.embed.space import Space

from .released import captions_of, vectors_of, with_columns, write_clip_retrieval, write_datacomp, write_matrix


def take_in(root, database, *, name="c", **options):
    vectors = options.pop("vectors", None)
    plan = plan_import([root], database, name, vectors=vectors)
    return run_import(plan, Space.by_name("ViT-B-32", "openai", plan.dimension), **options)


def rows_of(database, name="c"):
    return Corpus.open(database, name)._dataset.to_table()


def vectors_in(table, side):
    column = table.column(side).combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)


def test_a_row_says_what_the_files_say(tmp_path):
    root = write_clip_retrieval(tmp_path / "laion", {0: 3, 7: 2})
    report = take_in(root, tmp_path / "db")
    assert (report.samples, report.rows, report.failures, report.parts) == (5, 5, 0, 2)
    table = rows_of(tmp_path / "db")
    row = table.slice(4, 1).to_pylist()[0]
    vectors = {side: row.pop(side) for side in ("image", "text")}
    assert row == {
        "key": "laion/7/000070001",
        "shard": "laion/7",
        "caption": "a photo of thing 1 in part 7",
        "url": "made/7/1.jpg",
        "width": 256,
        "height": 192,
        "sha256": "",
        "u": sampling_number("laion/7/000070001"),
        "label": None,
    }
    for side, vector in vectors.items():
        np.testing.assert_allclose(vector, vectors_of(7, side, 2)[1], atol=1e-3)


def test_vectors_are_the_stored_ones_at_unit_length(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 50})
    stored = vectors_of(0, "image", 50)
    write_matrix(root / "img_emb" / "img_emb_0.npy", stored * np.float16(1.005))
    take_in(root, tmp_path / "db")
    image = vectors_in(rows_of(tmp_path / "db"), "image")
    assert is_unit(image).all()
    wide = (stored * np.float16(1.005)).astype(np.float32)
    twin = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    np.testing.assert_allclose(image, twin, rtol=2**-10)


@pytest.mark.parametrize("folders", [("img_emb", "text_emb"), ("images", "texts")])
@pytest.mark.parametrize("digits", [1, 4])
def test_files_are_paired_by_number_however_it_is_written(tmp_path, folders, digits):
    root = write_clip_retrieval(tmp_path / "set", {2: 3, 10: 4, 1: 2}, folders=folders, digits=digits)
    take_in(root, tmp_path / "db")
    table = rows_of(tmp_path / "db")
    assert table.column("shard").to_pylist() == ["set/1"] * 2 + ["set/2"] * 3 + ["set/10"] * 4
    assert table.column("caption").to_pylist() == captions_of(1, 2) + captions_of(2, 3) + captions_of(10, 4)


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f2"])
def test_wider_numbers_and_other_byte_orders_are_read(tmp_path, kind):
    root = write_clip_retrieval(tmp_path / "set", {0: 20})
    write_matrix(root / "text_emb" / "text_emb_0.npy", vectors_of(0, "text", 20).astype(kind))
    take_in(root, tmp_path / "db")
    text = vectors_in(rows_of(tmp_path / "db"), "text")
    np.testing.assert_allclose(text, vectors_of(0, "text", 20), atol=1e-3)


def test_more_rows_than_a_block_stay_in_order(tmp_path):
    rows = 20_000
    root = write_clip_retrieval(tmp_path / "set", {0: rows}, dimension=8)
    take_in(root, tmp_path / "db")
    table = rows_of(tmp_path / "db")
    assert table.column("caption").to_pylist() == captions_of(0, rows)
    np.testing.assert_allclose(vectors_in(table, "image"), vectors_of(0, "image", rows, 8), atol=1e-3)
    assert table.column("u").to_pylist() == [sampling_number(key) for key in table.column("key").to_pylist()]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("vectors", "dimension"), [("b32", 32), ("l14", 48)])
def test_datacomp_is_read_with_either_models_vectors(tmp_path, compressed, vectors, dimension):
    root = write_datacomp(tmp_path / "metadata", {"00ab": 6, "part_1/00cd": 3}, compressed=compressed)
    report = take_in(root, tmp_path / "db", vectors=vectors)
    assert (report.rows, report.failures) == (9, 0)
    table = rows_of(tmp_path / "db")
    row = table.slice(6, 1).to_pylist()[0]
    assert row["key"] == f"metadata/part_1/00cd/{1:016x}{0:016x}"
    assert (row["width"], row["height"], row["sha256"]) == (640, 480, "0" * 64)
    assert row["caption"] == "a photo of thing 0 in part 1"
    np.testing.assert_allclose(
        vectors_in(table, "text"),
        np.concatenate([vectors_of(0, "text", 6, dimension), vectors_of(1, "text", 3, dimension)]),
        atol=2e-3,
    )


def test_columns_may_be_missing_null_or_of_pandas_kinds(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 3})
    with_columns(
        root / "metadata" / "metadata_0.parquet",
        caption=None,
        key=None,
        TEXT=["one", None, "drei"],
        width=[300.0, None, float("nan")],
        height=None,
        url=None,
        original_height=pa.array([10, 20, None], pa.int64()),
        label=pa.array(["cat", None, "dog"]).dictionary_encode(),
    )
    take_in(root, tmp_path / "db")
    table = rows_of(tmp_path / "db")
    assert table.column("caption").to_pylist() == ["one", "", "drei"]
    assert table.column("width").to_pylist() == [300, 0, 0]
    assert table.column("height").to_pylist() == [10, 20, 0]
    assert table.column("url").to_pylist() == [""] * 3
    assert table.column("label").to_pylist() == ["cat", None, "dog"]


def test_captions_without_vectors_are_encoded_when_asked(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 5}, text=False)
    given = []

    def encode(captions):
        given.extend(captions)
        return vectors_of(9, "text", len(captions))

    take_in(root, tmp_path / "db", encode_captions=encode)
    assert given == captions_of(0, 5)
    np.testing.assert_allclose(vectors_in(rows_of(tmp_path / "db"), "text"), vectors_of(9, "text", 5), atol=1e-3)


def test_an_empty_part_is_done_without_rows(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 0, 1: 2})
    report = take_in(root, tmp_path / "db")
    assert (report.parts, report.samples, report.rows) == (2, 2, 2)
    assert take_in_again(root, tmp_path / "db") == ()


def take_in_again(root, database):
    return plan_import([root], database, "c").parts


def test_rows_and_failures_are_all_samples(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 12})
    image, text = vectors_of(0, "image", 12), vectors_of(0, "text", 12)
    image[1] = 0
    image[2, 5] = np.nan
    image[3] *= 2
    text[4] = np.inf
    text[5] /= 2
    text[1] = np.nan  # one row has one reason
    write_matrix(root / "img_emb" / "img_emb_0.npy", image)
    write_matrix(root / "text_emb" / "text_emb_0.npy", text)
    keys = [f"k{row}" for row in range(12)]
    keys[7], keys[8], keys[9] = "k6", "", None
    caption = pa.array([b"fine"] * 10 + [b"\xff\xfe", b"fine"])
    with_columns(root / "metadata" / "metadata_0.parquet", image_path=keys, caption=caption)
    report = take_in(root, tmp_path / "db")
    assert (report.samples, report.rows) == (12, 3)
    assert report.reasons == {
        "embedding zero": 1,
        "embedding not finite": 2,
        "embedding off unit length": 2,
        "duplicate key": 1,
        "no key": 2,
        "caption not UTF-8": 1,
    }
    listed = Ledger(Database(tmp_path / "db"), "c").failures().to_pylist()
    failures = {row["key"]: row["reason"] for row in listed}
    assert failures["set/0/k1"] == "embedding zero"
    assert failures["set/0/k6"] == "duplicate key"
    assert failures["set/0/#8"] == failures["set/0/#9"] == "no key"
    assert rows_of(tmp_path / "db").column("key").to_pylist() == ["set/0/k0", "set/0/k6", "set/0/k11"]
    np.testing.assert_allclose(vectors_in(rows_of(tmp_path / "db"), "image"), image[[0, 6, 11]], atol=1e-3)


def test_a_part_of_failures_alone_is_done_and_all_of_it_is_told(tmp_path):
    class Told:
        amount = 0

        def advance(self, amount=1):
            self.amount += amount

    root, told = write_clip_retrieval(tmp_path / "set", {0: 3, 1: 4}), Told()
    write_matrix(root / "img_emb" / "img_emb_0.npy", np.zeros((3, 32), np.float16))
    report = take_in(root, tmp_path / "db", progress=told)
    assert (report.samples, report.rows, report.reasons) == (7, 4, {"embedding zero": 3})
    assert told.amount == 7
    assert take_in_again(root, tmp_path / "db") == ()
