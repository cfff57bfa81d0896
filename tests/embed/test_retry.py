"""`--retry-failed`: what failed is read again, what is a row is not, and the list of failures is what is true now."""

from __future__ import annotations

import shutil

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.failures import Reason
from tailwag.embed.job import plan_embedding, plan_retry, run_embedding
from tailwag.embed.ledger import Ledger
from tailwag.errors import NotFound

from .shards import picture, sound_members, write_tar


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


def embed(source, database, encoder):
    return run_embedding(plan_embedding([str(source)], database, "c"), encoder)


def retry(database, encoder, *reasons, sources=()):
    return run_embedding(plan_retry(sources, database, "c", reasons), encoder)


def state(database):
    """Keys of rows, and failures; they add up to the records' samples."""
    corpus, ledger = Corpus.open(database, "c"), Ledger(Database(database), "c")
    rows = sorted(corpus.column("key").to_pylist())
    failures = sorted((row["key"], row["reason"]) for row in ledger.failures().to_pylist())
    samples = sum(record.samples for record in ledger.records().values())
    assert samples == len(rows) + len(failures) and len(set(rows)) == len(rows)
    return rows, failures


def test_a_truncated_shard_that_was_fetched_again_is_completed(tmp_path, encoder):
    tar = write_tar(tmp_path / "set" / "00000.tar", sound_members(range(8)))
    write_tar(tmp_path / "set" / "00001.tar", [*sound_members(range(2)), ("z.jpg", b"no picture")])
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    embed(tmp_path / "set", tmp_path / "db", encoder)
    rows, failures = state(tmp_path / "db")
    assert 2 < len(rows) < 10 and failures[0][1] == "truncated shard"
    tar.write_bytes(whole)
    report = retry(tmp_path / "db", encoder, Reason.TRUNCATED_SHARD)
    assert (report.shards, report.rows, report.failures) == (1, 10 - len(rows), 0)
    rows, failures = state(tmp_path / "db")
    assert len(rows) == 10 and failures == [("set/00001/z", "not an image")]
    # The new file is the shard now: the plain command finds nothing to do.
    assert embed(tmp_path / "set", tmp_path / "db", encoder).samples == 0
    assert state(tmp_path / "db") == (rows, failures)


def test_what_fails_again_is_listed_with_todays_reason(tmp_path, encoder):
    members = [*sound_members(range(3)), ("y.jpg", b"no picture"), ("z.jpg", b"no picture")]
    tar = write_tar(tmp_path / "set" / "00000.tar", members)
    embed(tmp_path / "set", tmp_path / "db", encoder)
    cut = picture(1)
    write_tar(tar, [*sound_members(range(3)), ("y.jpg", picture(9)), ("z.jpg", cut[: len(cut) // 2])])
    report = retry(tmp_path / "db", encoder)
    assert (report.rows, report.failures) == (1, 1)
    rows, failures = state(tmp_path / "db")
    assert rows == [*(f"set/00000/{number:09d}" for number in range(3)), "set/00000/y"]
    assert failures == [("set/00000/z", "truncated image")]
    again = retry(tmp_path / "db", encoder, Reason.NOT_AN_IMAGE)
    assert again.shards == 0 and state(tmp_path / "db") == (rows, failures)


def test_a_duplicate_key_stays_a_failure(tmp_path, encoder):
    write_tar(tmp_path / "set" / "00000.tar", [*sound_members(range(3)), *sound_members(range(1))])
    embed(tmp_path / "set", tmp_path / "db", encoder)
    before = state(tmp_path / "db")
    assert [reason for _, reason in before[1]] == ["duplicate key"]
    retry(tmp_path / "db", encoder)
    assert state(tmp_path / "db") == before


def test_a_picture_of_a_folder_that_was_mended_becomes_a_row(tmp_path, encoder):
    folder = tmp_path / "pets"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jpg").write_bytes(picture(1))
    (folder / "c.jpg").write_bytes(b"no picture")
    embed(folder, tmp_path / "db", encoder)
    (folder / "c.jpg").write_bytes(picture(3))
    assert retry(tmp_path / "db", encoder).rows == 1
    assert state(tmp_path / "db") == (["pets/a.jpg", "pets/b.jpg", "pets/c.jpg"], [])
    assert embed(folder, tmp_path / "db", encoder).samples == 0


@pytest.mark.parametrize("step", ["records", "rows"])
def test_a_retry_that_was_killed_happened_or_did_not(tmp_path, encoder, monkeypatch, step):
    tar = write_tar(tmp_path / "set" / "00000.tar", [*sound_members(range(3)), ("z.jpg", b"no picture")])
    embed(tmp_path / "set", tmp_path / "db", encoder)
    before = state(tmp_path / "db")
    write_tar(tar, [*sound_members(range(3)), ("z.jpg", picture(9))])

    class Stopped(Exception):
        pass

    true_commit = Corpus.commit_fragments

    def dying(self, fragments):
        if step == "rows":
            true_commit(self, fragments)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Corpus, "commit_fragments", dying)
        with pytest.raises(Stopped):
            retry(tmp_path / "db", encoder)
    if step == "records":
        assert state(tmp_path / "db") == before
    retry(tmp_path / "db", encoder)
    assert state(tmp_path / "db") == (sorted([*before[0], "set/00000/z"]), [])


def test_a_shard_that_has_gone_must_be_named_anew(tmp_path, encoder):
    write_tar(tmp_path / "set" / "00000.tar", [*sound_members(range(1)), ("z.jpg", b"no picture")])
    embed(tmp_path / "set", tmp_path / "db", encoder)
    shutil.move(tmp_path / "set", tmp_path / "elsewhere" / "set")
    with pytest.raises(NotFound, match=r"shard 'set/00000' is not at .*set/00000.tar any more: name its folder"):
        retry(tmp_path / "db", encoder)
    report = retry(tmp_path / "db", encoder, sources=[str(tmp_path / "elsewhere" / "set")])
    assert (report.rows, report.failures) == (0, 1)


def test_a_retry_that_was_planned_before_another_one_was_done_adds_nothing_twice(tmp_path, encoder):
    tar = write_tar(tmp_path / "set" / "00000.tar", sound_members(range(8)))
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    embed(tmp_path / "set", tmp_path / "db", encoder)
    tar.write_bytes(whole)
    plan = plan_retry((), tmp_path / "db", "c")
    retry(tmp_path / "db", encoder)
    assert run_embedding(plan, encoder).samples == 0
    rows, failures = state(tmp_path / "db")
    assert len(rows) == 8 and not failures
