"""Processes decode what threads decode; one that dies is replaced, and only a picture that kills twice is a failure."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lance import FragmentMetadata, LanceDataset, LanceOperation

from tailwag.embed.corpus import Corpus
from tailwag.embed.decoding import Decoded, InThisThread, Undecodable
from tailwag.embed.encoder import Encoder
from tailwag.embed.failures import Reason
from tailwag.embed.job import plan_embedding
from tailwag.embed.job.groups import Group
from tailwag.embed.job.worker_settings import WorkerSettings
from tailwag.embed.pixel_workers import PixelWorkers
from tailwag.embed.preprocessing import Preprocessing
from tailwag.errors import Caution, TailwagError
from tailwag.progress import NoProgress

from .shards import picture, sound_members, write_tar

SETTINGS = {"size": 24, "mode": "RGB", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
SMALL = Preprocessing.from_json(json.dumps(SETTINGS))
FILES = [picture(1), b"no picture", picture(2, (40, 90)), picture(3)[:300], picture(4, (5, 7), "PNG"), b""]


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def open_memories() -> int:
    files = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return sum("tailwag-pixels" in str(file.readlink()) for file in files)


def same(one, other) -> bool:
    return np.array_equal(one[0], other[0]) and one[1] == other[1]


def test_processes_give_what_threads_give():
    with PixelWorkers(SMALL, processes=2, batch_size=4) as workers:
        for files in ([], FILES, FILES[:2], [b"x"] * 5, [picture(seed) for seed in range(11)]):
            assert same(workers.decode(files), InThisThread(SMALL).decode(files))
        assert workers.lost == 0


def test_many_threads_share_few_processes():
    batches = [[picture(seed), b"", picture(seed + 1, (30, 31))] for seed in range(40)]
    with PixelWorkers(SMALL, processes=2, batch_size=4) as workers, ThreadPoolExecutor(8) as pool:
        for batch, found in zip(batches, pool.map(workers.decode, batches), strict=True):
            assert same(found, InThisThread(SMALL).decode(batch))


def test_nothing_is_left_behind():
    before = children()
    with PixelWorkers(SMALL, processes=2, batch_size=4) as workers:
        workers.decode(FILES)
        assert len(children() - before) == 2
    assert children() == before


def test_a_process_that_is_killed_is_replaced_and_its_batch_done_again():
    before = children()
    with PixelWorkers(SMALL, processes=1, batch_size=8) as workers:
        workers.decode(FILES)
        os.kill((children() - before).pop(), signal.SIGKILL)
        with pytest.warns(Caution, match=r"a decoding process died \(signal 9\) and was replaced, 1 so far"):
            assert same(workers.decode(FILES), InThisThread(SMALL).decode(FILES))
        assert workers.lost == 1


@pytest.mark.filterwarnings("ignore::tailwag.errors.Caution")
def test_where_no_process_can_be_started_for_now_the_next_batch_asks_again(monkeypatch):
    before, memories = children(), open_memories()
    with PixelWorkers(SMALL, processes=1, batch_size=8) as workers:
        os.kill((children() - before).pop(), signal.SIGKILL)
        with monkeypatch.context() as planted:
            planted.setattr(sys, "executable", "/nowhere/python")
            for _ in range(2):
                with pytest.raises(OSError, match="/nowhere/python"):
                    workers.decode(FILES)
        assert same(workers.decode(FILES), InThisThread(SMALL).decode(FILES))
        os.kill((children() - before).pop(), signal.SIGKILL)
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(OSError, match="/nowhere/python"):
            workers.decode(FILES)
    with pytest.raises(OSError, match="/nowhere/python"), PixelWorkers(SMALL, processes=2, batch_size=8):
        pass
    gc.collect()
    assert children() == before and open_memories() == memories


PLANTED = """
import os, signal, time
from dataclasses import dataclass
from tailwag.embed.preprocessing import Preprocessing

@dataclass(frozen=True)
class Planted(Preprocessing):
    def pixels(self, image):
        if image.size == (13, 13):
            os.kill(os.getpid(), signal.{signal})
            time.sleep(30)
        return super().pixels(image)
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A preprocessing that kills its process, by a signal, over pictures of 13 x 13 pixels."""

    def make(name: str) -> Preprocessing:
        (tmp_path / f"planted_{name}.py").write_text(PLANTED.format(signal=name))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        return importlib.import_module(f"planted_{name}").Planted.from_json(json.dumps(SETTINGS))

    return make


@pytest.mark.filterwarnings("ignore::tailwag.errors.Caution")
def test_only_the_picture_that_crashes_its_process_is_a_failure(planted):
    files = [picture(1), picture(2, (13, 13), "PNG"), picture(3), picture(4)]
    with PixelWorkers(planted("SIGSEGV"), processes=1, batch_size=8) as workers:
        pixels, outcomes = workers.decode(files)
        assert workers.lost == 2
    expected, _ = InThisThread(SMALL).decode([files[0], *files[2:]])
    assert np.array_equal(pixels, expected)
    assert [type(outcome) for outcome in outcomes] == [Decoded, Undecodable, Decoded, Decoded]
    assert outcomes[1] == Undecodable(Reason.DAMAGED_IMAGE, "the process that decoded it crashed (signal 11)")


@pytest.mark.filterwarnings("ignore::tailwag.errors.Caution")
def test_a_process_that_the_system_kills_twice_is_an_error(planted):
    """A system without memory kills; that is no picture's fault, and must not become a failure of one."""
    with (
        PixelWorkers(planted("SIGKILL"), processes=1, batch_size=8) as workers,
        pytest.raises(TailwagError, match=r"ended twice over the same pictures \(signal 9\); if the machine ran out"),
    ):
        workers.decode([picture(1), picture(2, (13, 13), "PNG")])


@pytest.mark.filterwarnings("ignore::tailwag.errors.Caution")
def test_a_waiting_thread_gets_the_replacement(planted):
    with PixelWorkers(planted("SIGABRT"), processes=1, batch_size=2) as workers, ThreadPoolExecutor(2) as pool:
        first = pool.submit(workers.decode, [picture(2, (13, 13), "PNG")])
        time.sleep(0.05)
        second = pool.submit(workers.decode, [picture(1)])
        assert isinstance(first.result()[1][0], Undecodable)
        assert isinstance(second.result()[1][0], Decoded)


@pytest.mark.photos
def test_photographs(data):
    encoder = Encoder.load(f"local-dir:{data / 'models' / 'mini'}", device="cpu")
    with tarfile.open(data / "data" / "photos" / "coco" / "00000.tar") as tar:
        files = [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")][:40]
    with PixelWorkers(encoder.preprocessing, processes=2, batch_size=16) as workers:
        assert same(workers.decode(files), InThisThread(encoder.preprocessing).decode(files))


def test_a_worker_that_decodes_in_processes_makes_the_same_rows(tmp_path, tiny_model):
    members = [*sound_members(range(9)), ("bad.jpg", b"no picture"), ("bad.txt", b"a caption " * 40)]
    long = [("long.jpg", picture(50)), ("long.txt", b"so many words " * 20)]
    write_tar(tmp_path / "set" / "00000.tar", members + long)
    made = {}
    for where in ("threads", "processes"):
        plan = plan_embedding([str(tmp_path / "set")], tmp_path / where, "c")
        settings = WorkerSettings(tiny_model, device="cpu", threads=2, batch_size=4, decode_in=where)
        encoder = settings.load()
        assert settings.decodes_in(encoder) == where
        corpus = Corpus.create(tmp_path / where, "c", encoder.space)
        with settings.worker(encoder) as worker:
            done = worker.embed(Group(plan.shards), corpus.database.table_uri("c"), NoProgress())
        ((record, failures),) = done.shards
        assert (record.samples, record.rows, record.failures, record.cut_captions) == (11, 10, 1, 1)
        fragments = [FragmentMetadata.from_json(text) for text in done.fragments]
        table = LanceDataset.commit(
            corpus.database.table_uri("c"), LanceOperation.Append(fragments), read_version=corpus.version
        ).to_table()
        made[where] = (table, failures)
    assert made["threads"][0].equals(made["processes"][0])
    assert made["threads"][1] == made["processes"][1]
