"""Compaction keeps rows, order and what is done; old versions stay until they are dropped, tagged ones after that."""

from __future__ import annotations

import shutil
from collections import namedtuple

import numpy as np
import pytest

from tailwag.embed.compaction import compact
from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.errors import BadInput, NotFound

from ..corpora import make_corpus, random_unit, rows_table
from .shards import sound_members, write_tar


@pytest.fixture
def corpus(tmp_path):
    made = make_corpus(tmp_path / "db", random_unit(100, 16))
    for number in range(9):
        made.append(rows_table(made.space, random_unit(100, 16, seed=number + 1), prefix=f"{number}/"))
    return made


def test_rows_keep_their_order(tmp_path, corpus):
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
    sizes = [size for _, size in corpus.compaction_tasks(250)]
    first = compact(corpus, target_rows=250, most_bytes=sizes[0])
    assert not first.is_complete and first.bytes_rewritten == sizes[0]
    with pytest.raises(BadInput, match="more than may be rewritten: allow more, or a smaller target"):
        compact(corpus, target_rows=250, most_bytes=10)
    assert compact(corpus, target_rows=250).is_complete


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
