"""The same command again embeds nothing twice, and goes on where it was stopped, wherever that was."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import IncompleteJob, plan_embedding, run_embedding
from tailwag.embed.ledger import Ledger
from tailwag.embed.reading import ShardReader
from tailwag.errors import BadInput, SpaceMismatch, TailwagError

from ..conftest import make_tiny_model
from .shards import picture, sound_members, sound_shard, write_tar


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.fixture
def source(tmp_path):
    """Three shards of five samples, the last of each broken."""
    for shard in range(3):
        members = [*sound_members(range(4)), ("z.jpg", b"no picture")]
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", members)
    return tmp_path / "set"


def run(source, database, encoder):
    return run_embedding(plan_embedding([str(source)], database, "c"), encoder)


def contents(database):
    """Everything the tables hold but times: what must not depend on how often the job was stopped."""
    corpus = Corpus.open(database, "c")
    ledger = Ledger(corpus.database, "c")
    rows = corpus._dataset.to_table().sort_by("key")
    records = [(record.shard, record.rows, record.failures) for record in ledger.records().values()]
    return rows, ledger.failures().sort_by("key"), sorted(records)


def test_the_same_command_again_does_nothing(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    before, version = contents(tmp_path / "db"), Corpus.open(tmp_path / "db", "c").version
    again = run(source, tmp_path / "db", encoder)
    assert (again.samples, again.shards) == (0, 0)
    assert contents(tmp_path / "db") == before
    assert Corpus.open(tmp_path / "db", "c").version == version


def test_new_shards_are_added(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    sound_shard(source / "00003.tar", range(2))
    report = run(source, tmp_path / "db", encoder)
    assert (report.shards, report.rows) == (1, 2)
    assert len(Corpus.open(tmp_path / "db", "c")) == 14


class Stopped(Exception):
    """Stands for the process's death at a chosen place."""


def dies_after(monkeypatch, step, batch):
    """Let the process die after one of a batch's three writes; every shard is a batch of its own."""
    written = {"failures": 0, "records": 0, "rows": 0}

    def count(kind):
        written[kind] += 1
        if (kind, written[kind] - 1) == (step, batch):
            raise Stopped

    true_append, true_commit = Ledger._append, Corpus.commit_fragments

    def append(self, table, rows, schema):
        true_append(self, table, rows, schema)
        count("failures" if table.endswith("failures") else "records")

    def commit(self, fragments):
        true_commit(self, fragments)
        count("rows")

    monkeypatch.setattr(Ledger, "_append", append)
    monkeypatch.setattr(Corpus, "commit_fragments", commit)


@pytest.mark.parametrize("step", ["failures", "records", "rows"])
@pytest.mark.parametrize("batch", [0, 2])
def test_a_job_stopped_between_any_two_writes_ends_in_the_same_tables(
    tmp_path, source, encoder, monkeypatch, step, batch
):
    def run_by_shard(database):
        return run_embedding(plan_embedding([str(source)], database, "c"), encoder, group_seconds=0)

    run_by_shard(tmp_path / "whole")
    with monkeypatch.context() as patch:
        dies_after(patch, step, batch)
        with pytest.raises(Stopped):
            run_by_shard(tmp_path / "db")
    # Nobody is shown what did not happen, before any job has cleaned up.
    done = batch + (step == "rows")
    assert len(Ledger(Database(tmp_path / "db"), "c").records()) == done
    assert Ledger(Database(tmp_path / "db"), "c").failure_count() == done
    assert len(Ledger(Database(tmp_path / "db"), "c").failures()) == done
    report = run_by_shard(tmp_path / "db")
    assert report.shards == 3 - done
    assert report.undone == ([f"set/{batch:05d}"] if step == "records" else [])
    assert contents(tmp_path / "db") == contents(tmp_path / "whole")


def test_a_compaction_by_another_tool_is_not_taken_for_an_interrupted_job(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    sound_shard(source / "00003.tar", range(2))
    run(source, tmp_path / "db", encoder)
    before = contents(tmp_path / "db")
    assert len(Corpus.open(tmp_path / "db", "c").fragments()) > 1
    Corpus.open(tmp_path / "db", "c")._dataset.optimize.compact_files()
    assert len(Corpus.open(tmp_path / "db", "c").fragments()) == 1
    assert run(source, tmp_path / "db", encoder).samples == 0
    assert contents(tmp_path / "db") == before


def test_files_that_nobody_refers_to_are_removed(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    orphan = tmp_path / "db" / "c.lance" / "data" / "orphan.lance"
    shutil.copy(next(orphan.parent.iterdir()), orphan)
    run(source, tmp_path / "db", encoder)
    sound_shard(source / "00003.tar", range(2))
    run(source, tmp_path / "db", encoder)
    assert not orphan.exists()
    assert len(list(orphan.parent.iterdir())) == len(Corpus.open(tmp_path / "db", "c").fragments())


def test_a_file_that_is_still_being_written_does_not_stop_a_commit(tmp_path, source, encoder):
    """Another worker's file has a passing name until it is whole: listed, and gone before it can be opened."""
    run(source, tmp_path / "db", encoder)
    sound_shard(source / "00003.tar", range(2))
    listed = [folder for table in (tmp_path / "db").glob("*.lance") for folder in table.iterdir() if folder.is_dir()]
    assert len(listed) >= 9
    for folder in listed:
        (folder / ".tmpPqIRbq").symlink_to(folder / "gone")
    assert run(source, tmp_path / "db", encoder).rows == 2


def test_a_shard_that_changed_is_not_taken_for_done(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    sound_shard(source / "00001.tar", range(9))
    with pytest.raises(BadInput, match=r"shard 'set/00001' was embedded from .* is another file"):
        run(source, tmp_path / "db", encoder)


def test_a_moved_shard_is_recognised(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    (tmp_path / "elsewhere").mkdir()
    source.rename(tmp_path / "elsewhere" / "set")
    assert run(tmp_path / "elsewhere" / "set", tmp_path / "db", encoder).samples == 0


def test_rows_that_something_else_wrote_are_not_passed_over(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    corpus = Corpus.open(tmp_path / "db", "c")
    corpus.append(corpus._dataset.to_table().slice(0, 2))
    with pytest.raises(TailwagError, match="something else wrote to it"):
        run(source, tmp_path / "db", encoder)


def test_another_space_is_refused_before_anything_is_written(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    before = contents(tmp_path / "db")
    other = Encoder.load(f"local-dir:{make_tiny_model(tmp_path / 'other', seed=1)}")
    sound_shard(source / "00003.tar", range(2))
    with pytest.raises(SpaceMismatch, match="corpus 'c' holds .* they differ in weights: pass --model"):
        run(source, tmp_path / "db", other)
    assert contents(tmp_path / "db") == before


def test_a_second_job_on_the_same_corpus_is_refused_while_the_first_runs(tmp_path, source, encoder):
    def second(*_):
        with pytest.raises(TailwagError, match="another job writes to corpus 'c': wait until it is done"):
            run(source, tmp_path / "db", encoder)

    plan = plan_embedding([str(source)], tmp_path / "db", "c")
    assert run_embedding(plan, encoder, on_shard=second).rows == 12
    assert run_embedding(plan, encoder).samples == 0
    assert run(source, tmp_path / "db", encoder).samples == 0


def test_a_folders_last_part_is_read_again_when_the_job_died_before_its_record(tmp_path, encoder, monkeypatch):
    folder = tmp_path / "pets"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    with monkeypatch.context() as patch:
        dies_after(patch, "records", 0)
        with pytest.raises(Stopped):
            run(folder, tmp_path / "db", encoder)
    report = run(folder, tmp_path / "db", encoder)
    assert (report.undone, report.rows) == (["pets#00000"], 5)
    assert len(Corpus.open(tmp_path / "db", "c")) == 5


def test_a_folder_goes_on_though_a_part_in_the_middle_was_not_done(tmp_path, encoder, monkeypatch):
    """Of parts that are under way at once a later one may be committed first."""
    monkeypatch.setattr("tailwag.embed.image_folders.FILES_PER_SHARD", 2)
    folder = tmp_path / "pets"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    plan = plan_embedding([str(folder)], tmp_path / "db", "c")
    assert [shard.name for shard in plan.shards] == ["pets#00000", "pets#00001", "pets#00002"]
    run_embedding(replace(plan, shards=(plan.shards[0], plan.shards[2])), encoder)
    assert run(folder, tmp_path / "db", encoder).rows == 2
    assert len(set(Corpus.open(tmp_path / "db", "c").column("key").to_pylist())) == 6


@pytest.mark.parametrize("commits", [False, True])
def test_files_of_a_commit_that_was_broken_off_are_left_for_the_next_job(
    tmp_path, source, encoder, monkeypatch, commits
):
    """A store may make the commit after all; the next job sees whether it did."""
    true_commit = Corpus.commit_fragments

    def broken_off(self, fragments):
        if commits:
            true_commit(self, fragments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Corpus, "commit_fragments", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "db", encoder)
    data = tmp_path / "db" / "c.lance" / "data"
    assert len(list(data.iterdir())) == 1
    assert run(source, tmp_path / "db", encoder).rows == (8 if commits else 12)
    assert len(list(data.iterdir())) == len(Corpus.open(tmp_path / "db", "c").fragments())
    assert len(Corpus.open(tmp_path / "db", "c")) == 12


def test_rows_without_a_record_are_never_removed_by_a_command_that_would_not_read_them_again(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    shutil.rmtree(tmp_path / "db" / "c.shards.lance")
    sound_shard(tmp_path / "more" / "00000.tar", range(2))
    with pytest.raises(TailwagError, match="holds shard 'set/00000' without a record .*and 2 more"):
        run(tmp_path / "more", tmp_path / "db", encoder)
    assert len(Corpus.open(tmp_path / "db", "c")) == 12


def test_a_damaged_ledger_is_not_taken_for_none(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    shutil.rmtree(tmp_path / "db" / "c.shards.lance" / "_versions")
    with pytest.raises(TailwagError, match="c.shards.lance cannot be opened"):
        run(source, tmp_path / "db", encoder)


def test_a_shard_that_changes_while_it_is_read_is_not_written(tmp_path, source, encoder, monkeypatch):
    true_read = ShardReader.read

    def replacing(reader, shard):
        yield from true_read(reader, shard)
        if shard.name == "set/00001":
            write_tar(shard.location, [("other.jpg", picture(1)), *sound_members(range(9))])

    with monkeypatch.context() as patch:
        patch.setattr(ShardReader, "read", replacing)
        with pytest.raises(
            IncompleteJob, match=r"shard 'set/00001' was left out: .* was changed .* 2 are done"
        ) as left:
            run(source, tmp_path / "db", encoder)
    assert left.value.report.rows == len(Corpus.open(tmp_path / "db", "c")) == 8
    assert run(source, tmp_path / "db", encoder).rows == 10


def test_a_caption_vector_that_is_no_number_is_a_failure(tmp_path, source, encoder, monkeypatch):
    true_encode, spoilt = encoder.encode_tokens, encoder.tokenize(["picture number 2"]).ids[0]

    def overflowing(tokens):
        vectors = true_encode(tokens)
        vectors[(tokens.ids == spoilt).all(axis=1)] = np.nan
        return vectors

    monkeypatch.setattr(encoder, "encode_tokens", overflowing)
    report = run(source, tmp_path / "db", encoder)
    assert (report.samples, report.rows) == (15, 9)
    assert report.reasons == {"not an image": 3, "embedding not finite": 3}


@pytest.mark.parametrize("twice", [["pets", "pets"], ["pets", "./pets"]])
def test_a_folder_that_is_named_twice_is_read_once(tmp_path, encoder, monkeypatch, twice):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "a.jpg").write_bytes(picture(1))
    monkeypatch.chdir(tmp_path)
    assert run_embedding(plan_embedding(twice, tmp_path / "db", "c"), encoder).rows == 1


def test_two_folders_of_one_name_are_refused(tmp_path):
    for parent in ("one", "two"):
        (tmp_path / parent / "pets").mkdir(parents=True)
        (tmp_path / parent / "pets" / "a.jpg").write_bytes(picture(1))
    with pytest.raises(BadInput, match="would hold two folders 'pets'"):
        plan_embedding([str(tmp_path / "one" / "pets"), str(tmp_path / "two" / "pets")], tmp_path / "db", "c")


def test_a_pattern_finds_folders_of_images_too_and_images_beside_tars_are_told(tmp_path, source):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "a.jpg").write_bytes(picture(1))
    (source / "cover.jpg").write_bytes(picture(1))
    plan = plan_embedding([str(tmp_path / "*")], tmp_path / "db", "c")
    assert [shard.name for shard in plan.shards] == ["set/00000", "set/00001", "set/00002", "pets#00000"]
    assert plan.images_beside_tars == 1
