"""Whatever is wrong with a sample, it becomes a row of failures with its reason, and the rest lands."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections import Counter

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.decoding import MAX_PIXELS
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.ledger import Ledger

from .shards import picture, sound_members, sound_shard, write_tar


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


def embed(source, database, encoder):
    """Embed and return what the tables hold, after checking that nothing is unaccounted for."""
    report = run_embedding(plan_embedding([str(source)], database, "c"), encoder, batch_size=4)
    corpus, ledger = Corpus.open(database, "c"), Ledger(plan_embedding([str(source)], database, "c").database, "c")
    failures = ledger.failures().to_pylist()
    assert report.samples == report.rows + report.failures
    assert (report.rows, report.failures) == (len(corpus), len(failures))
    assert sum(record.samples for record in ledger.records().values()) == len(corpus) + len(failures)
    return corpus.column("key").to_pylist(), {failure["key"]: failure["reason"] for failure in failures}, failures


def bomb_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few kilobytes whose header promises 900 million pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4096))) + chunk(b"IEND", b"")
    )


def damaged_png() -> bytes:
    data = bytearray(picture(1, format="PNG"))
    data[60] ^= 0xFF  # inside the compressed pixels
    return bytes(data)


FAULTS = {
    "truncated image": [("bad.jpg", picture(0, (200, 200))[:3000]), ("bad.txt", b"cut")],
    "not an image": [("bad.jpg", b"this is no picture\n" * 20), ("bad.txt", b"text")],
    "decompression bomb": [("bad.png", bomb_png()), ("bad.txt", b"bomb")],
    "caption not UTF-8": [("bad.jpg", picture(1)), ("bad.txt", b"caf\xe9")],
    "no image": [("bad.txt", b"a caption without an image")],
    "several images": [("bad.jpg", picture(1)), ("bad.png", picture(1, format="PNG"))],
    "metadata not JSON": [("bad.jpg", picture(1)), ("bad.txt", b"x"), ("bad.json", b"{'single': 'quotes'}")],
    "damaged image": [("bad.png", damaged_png()), ("bad.txt", b"x")],
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_planted_fault_is_listed_and_the_rest_lands(tmp_path, encoder, reason):
    members = sound_members(range(5)) + FAULTS[reason] + sound_members(range(5, 9))
    shard = write_tar(tmp_path / "set" / "00000.tar", members)
    keys, reasons, failures = embed(shard, tmp_path / "db", encoder)
    assert reasons == {"set/00000/bad": reason}
    assert keys == [f"set/00000/{number:09d}" for number in range(9)]
    assert failures[0]["shard"] == "set/00000"
    assert failures[0]["detail"]


def test_a_bomb_of_few_pixels_and_one_long_side_is_one_too(tmp_path, encoder):
    members = [("thin.png", bomb_png(1, 80_000)), *sound_members(range(2))]
    assert MAX_PIXELS > 80_000
    _, reasons, _ = embed(write_tar(tmp_path / "set" / "0.tar", members), tmp_path / "db", encoder)
    assert reasons == {"set/0/thin": "decompression bomb"}


def test_an_image_without_a_caption_is_a_row_with_an_empty_one(tmp_path, encoder):
    shard = write_tar(tmp_path / "set" / "0.tar", [("a.jpg", picture(1)), ("b.jpg", picture(2)), ("b.txt", b"")])
    keys, reasons, _ = embed(shard, tmp_path / "db", encoder)
    assert keys == ["set/0/a", "set/0/b"] and not reasons
    assert Corpus.open(tmp_path / "db", "c").column("caption").to_pylist() == ["", ""]


@pytest.mark.parametrize("apart", [False, True], ids=["as neighbours", "apart"])
def test_a_key_that_comes_twice_is_one_row_and_one_failure(tmp_path, encoder, apart):
    between = sound_members(range(2)) if apart else []
    members = [("k.jpg", picture(1)), *between, ("k.jpg", picture(2))]
    keys, reasons, _ = embed(write_tar(tmp_path / "set" / "0.tar", members), tmp_path / "db", encoder)
    assert reasons == {"set/0/k": "duplicate key"}
    assert keys.count("set/0/k") == 1 and len(keys) == 1 + len(between) // 3


@pytest.mark.parametrize("content", [b"", bytes(10240)], ids=["of no bytes", "of an end marker"])
def test_an_empty_tar_is_a_failure_of_the_shard(tmp_path, encoder, content):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "0.tar").write_bytes(content)
    sound_shard(tmp_path / "set" / "1.tar", range(3))
    keys, reasons, _ = embed(tmp_path / "set", tmp_path / "db", encoder)
    assert reasons == {"set/0": "empty shard"} and len(keys) == 3


def test_a_tar_that_is_none_is_a_failure_of_the_shard(tmp_path, encoder):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "0.tar").write_bytes(b"<html>not found</html>" * 100)
    sound_shard(tmp_path / "set" / "1.tar", range(3))
    keys, reasons, _ = embed(tmp_path / "set", tmp_path / "db", encoder)
    assert reasons == {"set/0": "empty shard"} and len(keys) == 3


def test_wherever_a_tar_is_cut_what_came_whole_before_lands(tmp_path, encoder):
    """Every member boundary and some places within members: one failure, and no sample that might lack a part."""
    whole = sound_shard(tmp_path / "whole" / "0.tar", range(4)).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        starts = [(member.offset, member.offset_data, member.name.partition(".")[0]) for member in tar]
    end = starts[-1][1] + 512  # the last member is a small JSON: one block
    cuts = (
        {offset for offset, _, _ in starts[1:]}
        | {data for _, data, _ in starts}
        | {data + 100 for _, data, _ in starts}
    )
    for number, cut in enumerate(sorted(cuts | {end})):
        shard = tmp_path / f"cut{number}" / "0.tar"
        shard.parent.mkdir()
        shard.write_bytes(whole[:cut])
        begun = list(dict.fromkeys(stem for offset, data, stem in starts if data <= cut))
        keys, reasons, _ = embed(shard, tmp_path / f"db{number}", encoder)
        complete = begun[:-1]
        assert [key.rpartition("/")[2] for key in keys] == complete, cut
        expected = "truncated shard" if begun else "empty shard"
        assert Counter(reasons.values()) == Counter([expected]), cut
        assert reasons == {f"cut{number}/0/{begun[-1]}": expected}, cut


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path, encoder):
    shard = sound_shard(tmp_path / "set" / "0.tar", range(4))
    data = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        third = next(member for member in tar if member.name == "000000002.jpg")
    data[third.offset : third.offset + 512] = b"\xff" * 512
    shard.write_bytes(data)
    keys, reasons, _ = embed(shard, tmp_path / "db", encoder)
    assert keys == ["set/0/000000000"]
    assert reasons == {"set/0/000000001": "truncated shard"}


def test_a_model_that_gives_no_number_is_a_failure(tmp_path, encoder, monkeypatch):
    import numpy as np

    shard = sound_shard(tmp_path / "set" / "0.tar", range(6))
    true_encode = encoder.encode_pixels

    def overflowing(pixels):
        vectors = true_encode(pixels)
        vectors[1] = np.nan
        return vectors

    monkeypatch.setattr(encoder, "encode_pixels", overflowing)
    keys, reasons, _ = embed(shard, tmp_path / "db", encoder)
    assert set(reasons.values()) == {"embedding not finite"}
    assert len(keys) == 4 and len(reasons) == 2
