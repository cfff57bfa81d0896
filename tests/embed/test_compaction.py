"""Compaction keeps rows, order and what is done; old versions stay until they are dropped, tagged ones after that."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from contextlib import suppress

import numpy as np
import pytest
from lance.fragment import write_fragments

from tailwag.embed import compaction
from tailwag.embed.compaction import compact
from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.ledger import Ledger
from tailwag.embed.locking import Lease
from tailwag.embed.store_requests import PreconditionFailed
from tailwag.errors import BadInput, NotFound, TailwagError

from ..corpora import make_corpus, random_unit, rows_table
from .shards import sound_members, write_tar


@pytest.fixture
def corpus(tmp_path):
    made = make_corpus(tmp_path / "db", random_unit(100, 16))
    for number in range(9):
        made.append(rows_table(made.space, random_unit(100, 16, seed=number + 1), prefix=f"{number}/"))
    return made


@pytest.mark.parametrize("step_bytes", [1, 1 << 30])
def test_rows_keep_their_order(tmp_path, corpus, monkeypatch, step_bytes):
    monkeypatch.setattr(compaction, "_STEP_BYTES", step_bytes)
    keys, vectors = corpus.column("key").to_pylist(), np.concatenate([block.vectors.copy() for block in corpus.scan()])
    done = compact(corpus, target_rows=250)
    assert (done.fragments_before, done.is_complete) == (10, True) and done.fragments <= 5
    assert done.bytes_rewritten > 0
    for opened in (corpus, Corpus.open(tmp_path / "db", "made")):
        assert opened.column("key").to_pylist() == keys
        assert np.array_equal(np.concatenate([block.vectors for block in opened.scan()]), vectors)
    again = compact(corpus, target_rows=250)
    assert (again.fragments_before, again.bytes_rewritten) == (done.fragments, 0)


def test_it_goes_in_steps(corpus):
    keys = sorted(corpus.column("key").to_pylist())
    sizes = [size for _, size in corpus.compaction_tasks(250)]
    first = compact(corpus, target_rows=250, most_bytes=sizes[0])
    assert not first.is_complete and first.bytes_rewritten == sizes[0]
    with pytest.raises(BadInput, match="more than may be rewritten: allow more, or a smaller target"):
        compact(corpus, target_rows=250, most_bytes=10)
    assert compact(corpus, target_rows=250).is_complete
    assert sorted(corpus.column("key").to_pylist()) == keys


def test_what_was_put_together_stays_when_the_rest_fails(corpus, monkeypatch):
    monkeypatch.setattr(compaction, "_STEP_BYTES", 1)
    keys = sorted(corpus.column("key").to_pylist())
    sound, calls = Corpus.rewrite, []

    def full_after_two(self, task):
        done = sound(self, task)
        calls.append(task)
        if len(calls) == 3:  # its files are there, and nobody refers to them
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return done

    with monkeypatch.context() as planted:
        planted.setattr(Corpus, "rewrite", full_after_two)
        with pytest.raises(
            TailwagError, match=r"'made' cannot be compacted: .*No space left.*put together before stays"
        ):
            compact(corpus, target_rows=250)
    corpus = Corpus.open(corpus.database, "made")
    assert len(corpus.fragments()) == 6  # 2 x 3 and 4 of 10
    assert sorted(corpus.column("key").to_pylist()) == keys
    files = {file.name for file in (corpus.database.folder / "made.lance" / "data").iterdir()}
    known = set()
    for version, _, _ in corpus.versions():
        fragments = Corpus.open(corpus.database, "made", version)._dataset.get_fragments()
        known |= {file.path for fragment in fragments for file in fragment.metadata.files}
    assert files == known
    assert compact(corpus, target_rows=250).is_complete
    assert sorted(corpus.column("key").to_pylist()) == keys


def test_files_of_a_commit_that_was_broken_off_are_left(corpus, monkeypatch):
    """A store may make the commit after all, and the table would lack them."""
    sound = Corpus.commit_rewritten

    def broken_off(self, rewritten):
        sound(self, rewritten)
        raise KeyboardInterrupt

    with monkeypatch.context() as planted:
        planted.setattr(Corpus, "commit_rewritten", broken_off)
        planted.setattr(Corpus, "remove_unreferenced", lambda *_: pytest.fail("files were deleted"))
        with pytest.raises(KeyboardInterrupt):
            compact(corpus, target_rows=250)
    assert compact(Corpus.open(corpus.database, "made"), target_rows=250).is_complete


def test_what_was_put_together_is_on_the_disk_before_what_it_was_made_of_is_gone(corpus, monkeypatch):
    data = corpus.database.folder / "made.lance" / "data"
    old, synced, sound = {path.name for path in data.iterdir()}, set(), os.fsync

    def noted(descriptor):
        if old <= {path.name for path in data.iterdir()}:
            synced.add(os.fstat(descriptor).st_ino)
        sound(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    compact(corpus, target_rows=250, drop_old_versions=True)
    now = {path.name: path.stat().st_ino for path in data.iterdir()}
    assert now and not now.keys() & old and set(now.values()) <= synced


def test_a_job_that_ends_between_opening_and_compacting(tmp_path, tiny_model):
    encoder = Encoder.load(tiny_model)

    def embed(shard):
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", sound_members(range(4)))
        run_embedding(plan_embedding([str(tmp_path / "set")], tmp_path / "db", "c"), encoder)

    embed(0)
    embed(1)
    opened = Corpus.open(tmp_path / "db", "c")
    embed(2)
    done = compact(opened)
    assert (done.fragments_before, done.fragments, len(opened)) == (3, 1, 12)


@pytest.mark.parametrize("step", ["records", "fragments", "versions"])
def test_who_was_overtaken_puts_together_and_deletes_nothing_more(object_store, monkeypatch, step):
    """As if this machine had slept just before the step: another job took the lease, and has files to be committed."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{object_store.new_bucket()}/db"
    made = make_corpus(uri, random_unit(10, 16))
    made.append(rows_table(made.space, random_unit(10, 16, seed=1), prefix="1/"))
    place, other, written, calls = made.database.lock_place("made"), [], [], []

    def overtaken(sound):
        def call(*arguments):
            done = sound(*arguments)
            lease = Lease(place, seconds=600)
            while not other:
                with suppress(PreconditionFailed):  # renewed in between
                    lease._write(IfMatch=lease._look().etag)
                    other.append(lease)
            held[0]._trusted_until = float("-inf")
            rows = made._dataset.to_table()
            written.extend(write_fragments(rows, made.database.table_uri("made"), schema=rows.schema, mode="append"))
            return done

        return call

    held = []
    sound_take = Lease.take

    def take(self, refusal):
        sound_take(self, refusal)
        held.append(self)

    monkeypatch.setattr(Lease, "take", take)
    before = {"records": "compaction_tasks", "fragments": "rewrite", "versions": "commit_rewritten"}[step]
    monkeypatch.setattr(Corpus, before, overtaken(getattr(Corpus, before)))
    monkeypatch.setattr(Ledger, "forget_files", lambda *_: calls.append("records"))
    with pytest.raises(TailwagError, match="was taken over by another job"):
        compact(made, drop_old_versions=True)
    assert calls == ([] if step == "records" else ["records"])
    now = Corpus.open(uri, "made")
    assert len(now.fragments()) == (1 if step == "versions" else 2)
    now.commit_fragments([json.dumps(fragment.to_json()) for fragment in written])
    assert len(now._dataset.to_table()) == 40
    other[0].require_held()


def test_it_is_refused_where_the_disk_is_too_full(corpus, monkeypatch):
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    version = corpus.version
    with pytest.raises(BadInput, match=r"would be rewritten and 0.00 GB are free in .*: make room"):
        compact(corpus)
    assert corpus.version == version


def test_tagged_versions_survive(tmp_path, corpus):
    old = Corpus.open(tmp_path / "db", "made", 3)
    old.tag("as-published")
    rows = len(old)
    with pytest.raises(BadInput, match="version 3 cannot be called 'as-published'"):
        old.tag("as-published")
    done = compact(corpus, drop_old_versions=True)
    assert done.fragments == 1 and done.bytes_removed > 0
    assert [(number, tags) for number, _, tags in corpus.versions()] == [
        (3, ("as-published",)),
        (corpus.version, ()),
    ]
    assert len(Corpus.open(tmp_path / "db", "made", "as-published")) == rows
    corpus.untag("as-published")
    with pytest.raises(NotFound, match="no version of corpus 'made' is called 'as-published'"):
        corpus.untag("as-published")
    assert len(corpus) == 1000


def test_an_embedded_corpus_grows_after_it(tmp_path, tiny_model):
    encoder = Encoder.load(tiny_model)
    for shard in range(3):
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", [*sound_members(range(4)), ("z.jpg", b"no picture")])

    def embed():
        plan = plan_embedding([str(tmp_path / "set")], tmp_path / "db", "c")
        return run_embedding(plan, encoder, group_seconds=0)

    embed()
    corpus = Corpus.open(tmp_path / "db", "c")
    assert compact(corpus, drop_old_versions=True).fragments_before == 3
    assert len(corpus.fragments()) == 1
    assert embed().shards == 0
    write_tar(tmp_path / "set" / "00003.tar", sound_members(range(4)))
    assert embed().rows == 4
    assert len(Corpus.open(tmp_path / "db", "c")) == 16
