"""Parquet files of pictures, as the Hugging Face hub and img2dataset have them: every row is a sample or a failure."""

from __future__ import annotations

import errno
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tailwag.embed.corpus import Corpus
from tailwag.embed.failures import Failure
from tailwag.embed.image_parquet import find_picture_columns, parquet_shards, read_image_parquet, read_parquet_images
from tailwag.embed.pictures import read_pictures
from tailwag.embed.sources import Sample, tar_shards
from tailwag.embed.storage import StorePath
from tailwag.embed.store_requests import StoreFailure
from tailwag.errors import BadInput
from tailwag.main import group
from tests.object_store import faulty_proxy

from .shards import picture, sound_shard

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ["cat", "red panda"]


def hub_table(images, labels=None, **columns):
    """A table as the hub's library writes it, with the features in the schema's metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    made = {"image": pa.array(images, STRUCT), **columns}
    if labels is not None:
        made["label"] = pa.array(labels, pa.int64())
    table = pa.table(made)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def inside(number):
    return {"bytes": picture(number), "path": f"{number}.jpg"}


def write(path, table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def read(path):
    (shard,) = parquet_shards([path])
    return shard, list(read_image_parquet(shard))


def test_a_hubs_file_is_read_with_the_names_of_its_labels(tmp_path):
    table = hub_table([inside(0), inside(1), inside(2)], [1, 0, -1])
    shard, found = read(write(tmp_path / "wag" / "data" / "train-00000-of-00009-ab.parquet", table))
    assert (shard.name, shard.expected) == ("wag/train-00000-of-00009-ab", 3)
    assert found == [
        Sample(f"{shard.name}/00000000{row}", picture(row), label=label)
        for row, label in enumerate(["red panda", "cat", None])
    ]


def test_many_row_groups_stay_in_order(tmp_path):
    images = [inside(row) for row in range(100)]
    _, found = read(write(tmp_path / "train" / "0000.parquet", hub_table(images, [0] * 100), row_group_size=7))
    assert [sample.image for sample in found] == [image["bytes"] for image in images]
    assert [sample.key for sample in found] == [f"train/0000/{row:09d}" for row in range(100)]


def test_img2datasets_parquet_is_read_by_its_own_keys(tmp_path):
    table = pa.table(
        {
            "key": ["000010000", "000010001", "000010000"],
            "jpg": [picture(0), picture(1), picture(2)],
            "txt": ["a dog", None, "again"],
            "url": ["made/0", "made/1", "made/2"],
        }
    )
    _, found = read(write(tmp_path / "cc3m" / "00001.parquet", table))
    assert found[:2] == [
        Sample("cc3m/00001/000010000", picture(0), "a dog", "made/0"),
        Sample("cc3m/00001/000010001", picture(1), "", "made/1"),
    ]
    assert (found[2].key, found[2].reason) == ("cc3m/00001/000010000", "duplicate key")


def test_of_several_captions_the_first_is_taken(tmp_path):
    captions = pa.array([["one", "two"], [], None], pa.list_(pa.string()))
    _, found = read(write(tmp_path / "set" / "0.parquet", hub_table([inside(0)] * 3, caption=captions)))
    assert [sample.caption for sample in found] == ["one", "", ""]


def test_rows_without_a_picture_are_failures_with_their_reason(tmp_path):
    (tmp_path / "set" / "below").mkdir(parents=True)
    (tmp_path / "set" / "below" / "a.jpg").write_bytes(picture(7))
    (tmp_path / "secret.jpg").write_bytes(picture(8))
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    images = [
        {"bytes": picture(0), "path": None},
        {"bytes": None, "path": "below/a.jpg"},
        {"bytes": None, "path": "gone.jpg"},
        {"bytes": None, "path": "../secret.jpg"},
        {"bytes": None, "path": str(tmp_path / "secret.jpg")},
        {"bytes": None, "path": "link.jpg"},
        {"bytes": None, "path": None},
        {"bytes": b"", "path": None},
        None,
    ]
    shard, found = read(write(tmp_path / "set" / "0.parquet", hub_table(images)))
    assert [sample.image for sample in found[:2]] == [picture(0), picture(7)]
    assert all(isinstance(failure, Failure) and failure.reason == "no image" for failure in found[2:])
    assert len(found) == shard.expected == 9
    assert "only its path, gone.jpg" in found[2].detail


def test_texts_that_are_not_utf8_are_failures_of_their_rows_alone(tmp_path):
    bad = pa.array([b"fine", b"\xff\xfe", b"fine"], pa.binary())
    captions = pa.StringArray.from_buffers(3, bad.buffers()[1], bad.buffers()[2])
    keys = pa.StringArray.from_buffers(3, *pa.array([b"a", b"b", b"\xff"], pa.binary()).buffers()[1:])
    table = hub_table([inside(0)] * 3, caption=captions, key=keys)
    _, found = read(write(tmp_path / "set" / "0.parquet", table))
    assert isinstance(found[0], Sample)
    assert [(failure.key, failure.reason) for failure in found[1:]] == [
        ("set/0/b", "caption not UTF-8"),
        ("set/0/\\udcff", "key not UTF-8"),
    ]


def test_a_file_that_is_damaged_midway_says_so_after_what_came_before(tmp_path):
    images = [{"bytes": picture(row, (200, 200)), "path": None} for row in range(64)]
    path = write(tmp_path / "set" / "0.parquet", hub_table(images), row_group_size=32, compression="gzip")
    (shard,) = parquet_shards([path])
    data = bytearray(path.read_bytes())
    group = pq.read_metadata(path).row_group(1).column(0)
    start = group.dictionary_page_offset or group.data_page_offset
    data[start : start + 2000] = bytes(2000)
    path.write_bytes(data)
    found = list(read_image_parquet(shard))
    assert 0 < len(found) <= 33 and all(isinstance(sample, Sample) for sample in found[:-1])
    assert (found[-1].key, found[-1].reason) == ("set/0", "truncated shard")


@pytest.mark.parametrize("damage", ["cut", "footer", "gone"])
def test_a_file_whose_end_is_lost_after_it_was_planned_is_a_failure(tmp_path, damage):
    path = write(tmp_path / "set" / "0.parquet", hub_table([inside(0)] * 20))
    (shard,) = parquet_shards([path])
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-20], "footer": data[:-60] + bytes(40) + data[-20:], "gone": b""}[damage])
    assert [(each.key, each.reason) for each in read_image_parquet(shard)] == [("set/0", "truncated shard")]


class _Unreadable(io.RawIOBase):
    """A file on a disk, or a mount, that cannot give one byte."""

    def __init__(self, data, bad_byte):
        self._data, self._bad = io.BytesIO(data), bad_byte

    def readable(self):
        return True

    seekable = readable

    def seek(self, *place):
        return self._data.seek(*place)

    def tell(self):
        return self._data.tell()

    def readinto(self, buffer):
        if self._data.tell() <= self._bad < self._data.tell() + len(buffer):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._data.readinto(buffer)


class _OnABadMount(type(Path())):
    bad_byte = 0

    def open(self, mode="r"):
        return io.BufferedReader(_Unreadable(self.read_bytes(), self.bad_byte), 512)

    def read_bytes(self):
        return Path(self).read_bytes()


@pytest.mark.parametrize("where", ["first page", "end"])
def test_a_file_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, where):
    images = [{"bytes": os.urandom(5_000), "path": None} for _ in range(64)]  # more than is read to find the end
    path = write(tmp_path / "set" / "0.parquet", hub_table(images), row_group_size=16)
    (shard,) = parquet_shards([path])
    mount = _OnABadMount(path)
    mount.bad_byte = {"first page": 4, "end": shard.size - 8}[where]
    unreadable = replace(shard, location=mount)
    with pytest.raises(OSError, match="Stale file handle"):
        list(read_image_parquet(unreadable))
    with pytest.raises(OSError, match="Stale file handle"):
        read_parquet_images(mount, ["000000003"])
    if where == "end":
        with pytest.raises(BadInput, match=r"0\.parquet cannot be read: Stale file handle"):
            parquet_shards([mount])
    assert len(list(read_image_parquet(shard))) == 64


def test_a_store_that_fails_midway_is_not_taken_for_damage(tmp_path, object_store, monkeypatch):
    table = hub_table([{"bytes": os.urandom(40_000), "path": None} for _ in range(300)])  # more than is read at once
    write(tmp_path / "set" / "0.parquet", table, row_group_size=50)
    bucket, failing = object_store.new_bucket(), []
    object_store.upload(tmp_path, bucket, "data")
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "1")
    fault = lambda method, path, number: 503 if failing else None  # noqa: E731
    with faulty_proxy(object_store, fault) as address:
        for name, value in object_store.environment(address).items():
            monkeypatch.setenv(name, value)
        (shard,) = parquet_shards([StorePath(f"s3://{bucket}/data/set/0.parquet").known()])
        failing.append(True)
        with pytest.raises(StoreFailure):
            list(read_image_parquet(shard))
        failing.clear()
        assert len(list(read_image_parquet(shard))) == 300


def test_an_empty_file_is_a_failure(tmp_path):
    _, found = read(write(tmp_path / "set" / "0.parquet", hub_table([])))
    assert [(failure.key, failure.reason) for failure in found] == [("set/0", "empty shard")]


def test_pictures_are_found_again_by_key(tmp_path):
    path = write(tmp_path / "set" / "0.parquet", hub_table([inside(row) for row in range(50)]))
    assert read_parquet_images(path, {"000000003", "000000049", "7"}) == {
        "000000003": picture(3),
        "000000049": picture(49),
    }


@pytest.mark.parametrize(
    ("columns", "image", "label", "names"),
    [
        ({"image": STRUCT, "mask": STRUCT}, "image", None, ()),
        ({"img": STRUCT, "fine": pa.int64(), "coarse": pa.int64()}, "img", "fine", ("x", "y")),
        ({"photo": STRUCT, "label": pa.string()}, "photo", "label", ()),
        ({"webp": pa.large_binary(), "data": pa.binary()}, "webp", None, ()),
    ],
)
def test_columns_are_told_apart(columns, image, label, names):
    features = {name: {"_type": "ClassLabel", "names": ["x", "y"]} for name in ("fine", "coarse")}
    schema = pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    found = find_picture_columns(schema)
    assert (found.image, found.label, found.label_names) == (image, label, names)


@pytest.mark.parametrize(
    "columns",
    [{"first": STRUCT, "second": STRUCT}, {"url": pa.string()}, {"audio": STRUCT}, {"data": pa.binary()}],
)
def test_files_without_one_column_of_pictures_are_refused(tmp_path, columns):
    metadata = {"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Audio"}}}})}
    path = write(tmp_path / "set" / "0.parquet", pa.schema(columns, metadata=metadata).empty_table())
    with pytest.raises(BadInput, match=r"0\.parquet holds no column of pictures, or several"):
        parquet_shards([path])


def test_what_is_no_parquet_and_two_of_one_name_are_refused(tmp_path):
    path = tmp_path / "set" / "0.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match=r"0\.parquet cannot be read as parquet .*fetch it again"):
        parquet_shards([path])
    first = write(tmp_path / "a" / "set" / "0.parquet", hub_table([inside(0)]))
    second = write(tmp_path / "b" / "set" / "data" / "0.parquet", hub_table([inside(0)]))
    with pytest.raises(BadInput, match="would both be shard 'set/0'"):
        parquet_shards([first, second])


def test_embed_takes_parquet_files_as_it_takes_tars(tmp_path, tiny_model):
    images = [inside(0), inside(1), {"bytes": b"no picture", "path": None}]
    write(tmp_path / "wag" / "data" / "train-00000.parquet", hub_table(images, [1, 0, 1]))
    write(tmp_path / "wag" / "data" / "train-00001.parquet", hub_table([inside(2)], [0]))
    command = ["embed", str(tmp_path / "wag"), "--corpus", "c", "--model", tiny_model, "--db", str(tmp_path / "db")]
    result = CliRunner().invoke(group, [*command, "--json"], catch_exceptions=False)
    answer = json.loads(result.stdout)
    assert (answer["samples"], answer["rows"], answer["reasons"]) == (4, 3, {"not an image": 1})
    corpus = Corpus.open(tmp_path / "db", "c")
    rows = {row["key"]: row["label"] for row in corpus._dataset.to_table(columns=["key", "label"]).to_pylist()}
    assert rows == {
        "wag/train-00000/000000000": "red panda",
        "wag/train-00000/000000001": "cat",
        "wag/train-00001/000000000": "cat",
    }
    assert read_pictures(corpus, ["wag/train-00001/000000000"])[0].data == picture(2)
    again = CliRunner().invoke(group, [*command, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["samples"] == 0


def test_a_tar_and_a_parquet_of_one_name_are_refused(tmp_path):
    sound_shard(tmp_path / "set" / "0.tar", range(1))
    path = write(tmp_path / "set" / "0.parquet", hub_table([inside(0)]))
    with pytest.raises(BadInput, match="would both be shard 'set/0'"):
        tar_shards([tmp_path / "set" / "0.tar", path])
