"""One odd sample never stops a job, and a source's mistakes are one line."""

from __future__ import annotations

import io
import json
import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.corpus import Corpus
from tailwag.embed.decoding import UndecodableImage, _ignore_bomb_warnings, decode_image
from tailwag.embed.encoder import Encoder
from tailwag.embed.failures import Failure
from tailwag.embed.image_folders import ImageFolder
from tailwag.embed.pictures import read_pictures
from tailwag.embed.sources import Sample, find_tars, tar_shards
from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.concepts import load_concepts
from tailwag.retrieval.thresholds import read_thresholds

from .shards import picture, sound_members, sound_shard, write_tar
from .test_failures import embed


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("bad.jpg", picture(1)), ("bad.json", json.dumps({"caption": "half \ud83d"}).encode())], "caption not UTF-8"),
        ([("bad.jpg", picture(1)), ("bad.json", b"[" * 100_000)], "metadata not JSON"),
        ([("bad.jpg", picture(1)), ("bad.json", b"[1]")], "metadata not JSON"),
        ([("b\udce9d.jpg", picture(1))], "key not UTF-8"),
    ],
    ids=["half a character", "deep JSON", "a list", "a name in Latin-1"],
)
def test_an_odd_sample_is_a_failure_and_the_rest_lands(tmp_path, encoder, members, reason):
    shard = write_tar(tmp_path / "set" / "0.tar", [*sound_members(range(2)), *members, *sound_members(range(2, 4))])
    keys, reasons, _ = embed(shard, tmp_path / "db", encoder)
    assert len(keys) == 4 and list(reasons.values()) == [reason]


def test_links_are_failures_and_macos_companions_are_passed_over(tmp_path, encoder):
    path = write_tar(
        tmp_path / "set" / "0.tar", [("._a.jpg", b"x"), ("a.jpg", picture(1)), ("._a.txt", b"x"), ("a.txt", b"hi")]
    )
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(link)
    keys, reasons, failures = embed(path, tmp_path / "db", encoder)
    assert keys == ["set/0/a"] and reasons == {"set/0/b": "no image"}
    assert failures[0]["detail"] == "jpg: a link, not a file"


def test_hard_links_are_what_they_lead_to_and_captions_behind_links_are_not_lost(tmp_path, encoder):
    path = tmp_path / "set" / "0.tar"
    path.parent.mkdir()
    kinds = {"hard": tarfile.LNKTYPE, "soft": tarfile.SYMTYPE}
    with tarfile.open(path, "w") as tar:

        def add(name, data=b"", kind=None, target=""):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind:
                info.type, info.linkname = kinds[kind], target
            tar.addfile(info, io.BytesIO(data))

        add("a.jpg", picture(1))
        add("a.txt", b"hi")
        add("b.jpg", kind="hard", target="a.jpg")
        add("b.txt", kind="hard", target="a.txt")
        add("c.jpg", picture(2))
        add("c.txt", kind="soft", target="a.txt")
        add("d.jpg", kind="hard", target="z.jpg")  # comes after, which no archive has
        add("e.jpg", kind="hard", target="b.jpg")
        add("z.jpg", picture(3))
    keys, reasons, _ = embed(path, tmp_path / "db", encoder)
    assert keys == ["set/0/a", "set/0/b", "set/0/e", "set/0/z"]
    assert reasons == {"set/0/c": "cannot be read", "set/0/d": "no image"}
    corpus = Corpus.open(tmp_path / "db", "c")
    assert corpus.column("caption").to_pylist() == ["hi", "hi", "", ""]
    assert read_pictures(corpus, ["set/0/e"])[0].data == picture(1)


@pytest.mark.parametrize("read", [lambda root: ImageFolder(root), lambda root: find_tars([str(root)])])
def test_a_sub_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch, read):
    (tmp_path / "closed").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.jpg").write_bytes(picture(1))
    true_scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return true_scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(BadInput, match=r"closed cannot be read \(Permission denied\)"):
        read(tmp_path)


def test_a_picture_that_cannot_be_read_is_a_failure(tmp_path, encoder, monkeypatch):
    (tmp_path / "pets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "pets" / f"{name}.jpg").write_bytes(picture(1))
    true_read = type(tmp_path).read_bytes

    def refusing(path):
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied")
        return true_read(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", refusing)
    keys, reasons, _ = embed(tmp_path / "pets", tmp_path / "db", encoder)
    assert keys == ["pets/b.jpg"] and reasons == {"pets/a.jpg": "cannot be read"}


def test_a_file_name_that_is_not_utf8_is_a_failure(tmp_path, encoder):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "a.jpg").write_bytes(picture(1))
    with open(os.fsencode(tmp_path / "pets") + b"/b\xe9.jpg", "wb") as file:  # noqa: PTH123
        file.write(picture(2))
    keys, reasons, _ = embed(tmp_path / "pets", tmp_path / "db", encoder)
    assert keys == ["pets/a.jpg"] and reasons == {"pets/b\\udce9.jpg": "key not UTF-8"}
    assert ImageFolder(tmp_path / "pets").shards({*keys, *reasons}, 1) == []  # told once, not with every command


def test_half_a_character_in_a_tables_file_name_is_a_failure(tmp_path, encoder):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "pets" / "c.jsonl").write_text(
        json.dumps({"file_name": "\ud83d.jpg", "text": "x"})
        + "\n"
        + json.dumps({"file_name": "a.jpg", "text": "\ud83d"})
    )
    _, reasons, _ = embed(tmp_path / "pets", tmp_path / "db", encoder)
    assert sorted(reasons.values()) == ["caption not UTF-8", "key not UTF-8"]


def test_a_source_whose_path_is_not_utf8_is_refused(tmp_path):
    odd = tmp_path / "caf\udce9"
    sound = sound_shard(odd / "0.tar", range(1))
    with pytest.raises(BadInput, match=r"caf\\udce9/0.tar: the path is not UTF-8"):
        tar_shards([sound])
    with pytest.raises(BadInput, match="the path is not UTF-8"):
        ImageFolder(odd)


def test_a_caption_may_hold_any_character(tmp_path, encoder):
    caption = "nul \0 and \U0001f43e"
    shard = write_tar(tmp_path / "set" / "0.tar", [("a.jpg", picture(1)), ("a.txt", caption.encode())])
    embed(shard, tmp_path / "db", encoder)
    assert Corpus.open(tmp_path / "db", "c").column("caption").to_pylist() == [caption]


def test_a_picture_that_has_gone_since_is_told_apart_from_a_caption_without_one(tmp_path):
    pets = tmp_path / "pets"
    pets.mkdir()
    for name in ("a", "b", "dir"):
        (pets / f"{name}.jpg").write_bytes(picture(1))
    long = "x" * 300 + ".jpg"
    (pets / "c.csv").write_text(f"file_name,caption\nlost.jpg,x\n{long},x\n")
    folder = ImageFolder(pets)
    (shard,) = folder.shards((), 0)
    (pets / "a.jpg").unlink()
    (pets / "dir.jpg").unlink()
    os.mkfifo(pets / "dir.jpg")
    found = {each.key: each for each in folder.read(shard)}
    told = {key: (each.reason, each.detail) for key, each in found.items() if isinstance(each, Failure)}
    assert told == {
        "pets/a.jpg": ("cannot be read", "its file has gone"),
        "pets/dir.jpg": ("cannot be read", "not a regular file"),
        "pets/lost.jpg": ("no image", "a caption without an image"),
        f"pets/{long}": ("no image", "a caption without an image"),
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", "[1]\n", "record 1: expected an object, found list"),
        ("c.jsonl", "{}\n{oops\n", "record 2: cannot be read as jsonl"),
        ("c.jsonl", '{"file_name": 5, "text": "x"}\n', "record 1: 5 is no path"),
        ("c.jsonl", '{"file_name": "a.jpg", "text": "x"}\n{"text": "y"}\n', "record 2: needs a column 'file_name'"),
        ("metadata.jsonl", '{"epoch": 1}\n', "record 1: needs a column 'file_name'"),
        ("metadata.csv", "epoch,loss\n1,2\n", "record 1: needs a column 'file_name'"),
        ("c.csv", "file_name,caption\n../secret.png,x\n", r"record 1: '../secret.png' lies outside the folder"),
        ("c.csv", "file_name,caption\n/etc/passwd,x\n", "lies outside the folder"),
        ("c.csv", "file_name,caption\nx/../../secret.png,x\n", "lies outside the folder"),
        ("c.csv", "file_name,caption\na.jpg," + "x" * 200_000 + "\n", "record 1: cannot be read as csv"),
    ],
)
def test_a_broken_caption_table_is_one_line(tmp_path, name, content, message):
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=message) as told:
        ImageFolder(tmp_path)
    assert str(told.value).startswith(str(tmp_path / name)) and "\n" not in str(told.value)


def test_a_caption_table_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "captions.csv").symlink_to("nowhere")
    with pytest.raises(BadInput, match="captions.csv cannot be read"):
        ImageFolder(tmp_path)


def test_tables_of_other_things_are_passed_over(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "weights.csv").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    assert ImageFolder(tmp_path).files == ("a.jpg",)


def test_of_several_captions_for_one_file_the_first_is_kept(tmp_path):
    (tmp_path / "..a.jpg").write_bytes(picture(1))
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "C.CSV").write_text("file_name,caption\na.jpg,first\n./a.jpg,second\n..a.jpg,hidden\n")
    folder = ImageFolder(tmp_path)
    (_, found) = folder.read(folder.shards((), 0)[0])
    assert isinstance(found, Sample) and found.caption == "first"


def test_a_folder_is_called_by_its_true_name(tmp_path, monkeypatch):
    (tmp_path / "pets" / "cats").mkdir(parents=True)
    (tmp_path / "pets" / "a.jpg").write_bytes(picture(1))
    monkeypatch.chdir(tmp_path / "pets" / "cats")
    assert ImageFolder(Path("..")).name == "pets"
    with pytest.raises(BadInput, match="name a folder below it"):
        ImageFolder(Path("/"))


def test_captions_of_a_table_are_found_under_any_spelling_of_the_path(tmp_path, encoder):
    pets = tmp_path / "pets"
    pets.mkdir()
    (pets / "a.jpg").write_bytes(picture(1))
    (pets / "b.jpg").write_bytes(picture(2))
    (pets / "b.TXT").write_text("in capitals")
    (pets / "c.jsonl").write_text('{"file_name": "x/../a.jpg", "text": "first\u2028line"}\n')
    (pets / "._c.csv").write_bytes(b"\x00\x05\x16\x07")
    folder = ImageFolder(pets)
    found = {each.key: each for each in folder.read(folder.shards((), 0)[0])}
    assert found["pets/a.jpg"].caption == "first\u2028line"
    assert found["pets/b.jpg"].caption == "in capitals"


def test_a_folder_that_is_called_like_a_tar_and_a_dangling_link_are_no_tars(tmp_path):
    (tmp_path / "set" / "x.tar").mkdir(parents=True)
    (tmp_path / "set" / "y.tar").symlink_to("nowhere")
    (tmp_path / "set" / "._z.tar").write_bytes(b"of macOS")
    sound = sound_shard(tmp_path / "set" / "z.tar", range(1))
    assert find_tars([str(tmp_path / "set")]) == [sound]


def test_a_path_with_braces_that_exists_is_taken_as_it_is(tmp_path):
    sound = sound_shard(tmp_path / "x{1}" / "0.tar", range(1))
    assert find_tars([str(tmp_path / "x{1}")]) == [sound]
    with pytest.raises(NotFound, match="100 of the sources do not exist"):
        find_tars(["{" + ",".join(f"{number:04d}" for number in range(100)) + "}.tar"])


def test_grey_of_sixteen_bits_is_scaled_and_not_cut_off():
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    pixels = np.asarray(decode_image(buffer.getvalue()).convert("RGB"))[..., 0]
    assert np.array_equal(pixels, (ramp / 257).round().astype(np.uint8))
    buffer = io.BytesIO()
    Image.fromarray(ramp.astype(np.float32)).save(buffer, "TIFF")
    with pytest.raises(UndecodableImage, match="unsupported pixels: mode F"):
        decode_image(buffer.getvalue())


@pytest.mark.parametrize(("format", "bits"), [("PNG", 16), ("PPM", 16), ("TIFF", 16), ("TIFF", 32)])
def test_grey_of_many_bits_is_scaled_by_what_its_format_means(format, bits):
    top = 65535 if bits == 16 else 255
    ramp = np.linspace(0, top, 64).astype(np.uint16 if bits == 16 else np.int32).reshape(8, 8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, format)
    image = decode_image(buffer.getvalue())
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), (ramp / top * 255).round().astype(np.uint8))


@pytest.mark.parametrize("values", [(-1, 5), (0, 256), (0, 70_000)])
def test_integers_that_are_no_grey_are_unsupported(values):
    buffer = io.BytesIO()
    Image.fromarray(np.array([values], dtype=np.int32)).save(buffer, "TIFF")
    with pytest.raises(UndecodableImage, match=f"unsupported pixels: mode I, {values[0]} to {values[1]}"):
        decode_image(buffer.getvalue())


def test_filters_of_warnings_are_set_once_for_all_threads(monkeypatch):
    calls = []
    _ignore_bomb_warnings.cache_clear()
    monkeypatch.setattr(warnings, "filterwarnings", lambda *_, **__: calls.append(1))
    for _ in range(3):
        decode_image(picture(1))
    _ignore_bomb_warnings.cache_clear()
    assert len(calls) == 1


def test_values_too_long_for_a_path_are_read_as_what_they_are():
    assert len(read_thresholds(",".join(["0.2500"] * 60))) == 60
    with pytest.raises(NotFound):
        load_concepts("x" * 300)
