"""An import that is killed at any moment ends, by the same command, in the same table."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.imports.job import plan_import, run_import
from tailwag.embed.imports.part_rows import PartRows
from tailwag.embed.ledger import Ledger
from tailwag.embed.space import Space
from tailwag.errors import TailwagError

from .released import vectors_of, write_clip_retrieval, write_matrix

SPACE = Space.by_name("ViT-B-32", "openai", 32)
PARTS = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Parts of three blocks, with a failure in each."""
    root = write_clip_retrieval(tmp_path_factory.mktemp("released") / "set", dict.fromkeys(range(PARTS), 18_000))
    for part in range(PARTS):
        image = vectors_of(part, "image", 18_000)
        image[part] = 0
        write_matrix(root / "img_emb" / f"img_emb_{part}.npy", image)
    return root


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    database = tmp_path_factory.mktemp("whole")
    run_import(plan_import([root], database, "c"), SPACE)
    return contents(database)


def contents(database):
    """Everything the tables hold but times."""
    ledger = Ledger(Database(database), "c")
    rows = Corpus.open(database, "c")._dataset.to_table()
    records = sorted((record.shard, record.rows, record.failures) for record in ledger.records().values())
    return rows, ledger.failures().sort_by("key"), records


def data_files(database):
    return len(list((database / "c.lance" / "data").glob("*.lance")))


SCRIPT = """
import sys
from tailwag.embed.imports.job import plan_import, run_import
from tailwag.embed.space import Space
run_import(plan_import([sys.argv[1]], sys.argv[2], "c"), Space.by_name("ViT-B-32", "openai", 32))
"""


def command(root, database):
    return [sys.executable, "-c", SCRIPT, str(root), str(database)]


def test_killed_at_random_moments_it_ends_in_the_same_table(root, whole, tmp_path):
    chance = random.Random(7)
    start = time.monotonic()
    subprocess.run(command(root, tmp_path / "once"), check=True, capture_output=True)
    takes = time.monotonic() - start
    killed = 0
    for _ in range(8):
        process = subprocess.Popen(command(root, tmp_path / "db"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=takes * chance.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
        else:
            if not killed:  # the machine is quicker now than when it was timed
                takes *= 0.6
                shutil.rmtree(tmp_path / "db")
    assert killed
    last = subprocess.run(command(root, tmp_path / "db"), capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert contents(tmp_path / "db") == whole
    assert data_files(tmp_path / "db") == PARTS


@pytest.mark.parametrize(("part", "block"), [(0, 1), (1, 0), (2, 2), (PARTS - 1, 1)])
def test_what_was_written_of_a_part_before_it_broke_off_is_removed(root, whole, tmp_path, monkeypatch, part, block):
    class Stopped(Exception):
        pass

    sound, blocks = PartRows._block, iter(range(100))

    def breaking(self, *arguments):
        if self._part.name == f"set/{part}" and next(blocks) == block:
            raise Stopped
        return sound(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PartRows, "_block", breaking)
        with pytest.raises(Stopped):
            run_import(plan_import([root], tmp_path / "db", "c"), SPACE)
    assert len(Corpus.open(tmp_path / "db", "c")) == part * 17_999
    run_import(plan_import([root], tmp_path / "db", "c"), SPACE)
    assert contents(tmp_path / "db") == whole
    assert data_files(tmp_path / "db") == PARTS


def test_a_part_that_changes_while_it_is_read_is_not_written(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 5})

    def replacing(captions):
        write_matrix(root / "img_emb" / "img_emb_0.npy", vectors_of(3, "image", 5))
        return vectors_of(0, "text", len(captions))

    (root / "text_emb" / "text_emb_0.npy").unlink()
    (root / "text_emb").rmdir()
    plan = plan_import([root], tmp_path / "db", "c")
    with pytest.raises(TailwagError, match=r"img_emb_0\.npy, .* were changed while they were read, and nothing"):
        run_import(plan, SPACE, encode_captions=replacing)
    assert len(Corpus.open(tmp_path / "db", "c")) == 0


def test_a_second_import_is_refused_while_the_first_runs(root, tmp_path):
    def second(_record):
        with pytest.raises(TailwagError, match="writes to corpus 'c': wait until it is done"):
            run_import(plan, SPACE)

    plan = plan_import([root], tmp_path / "db", "c")
    assert run_import(plan, SPACE, on_part=second).parts == PARTS
    assert run_import(plan, SPACE).samples == 0


def test_parts_come_and_go_as_there_is_room(root, whole, tmp_path):
    names = ("img_emb/img_emb_{}.npy", "text_emb/text_emb_{}.npy", "metadata/metadata_{}.parquet")
    for part in range(PARTS):
        for name in names:
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name.format(part), tmp_path / "set" / name.format(part))
        run_import(plan_import([tmp_path / "set"], tmp_path / "db", "c"), SPACE)
        if part % 2:
            for name in names:
                (tmp_path / "set" / name.format(part)).unlink()
    assert contents(tmp_path / "db") == whole
