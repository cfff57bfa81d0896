"""The Ray engine on a real local cluster of several nodes, one of which is killed in the middle of a job."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tailwag.embed.committing import Committer, only_job
from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.job import plan_embedding, run_embedding, run_job
from tailwag.embed.job.ray_engine import RayEngine
from tailwag.embed.job.worker_settings import WorkerSettings
from tailwag.embed.ledger import Ledger
from tailwag.errors import NotFound

from ..ray_nodes import ray_nodes
from .shards import sound_members, write_tar

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def cluster():
    with ray_nodes(2) as made:
        yield made


@pytest.fixture
def source(tmp_path):
    for shard in range(8):
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", [*sound_members(range(4)), ("z.jpg", b"no picture")])
    return tmp_path / "set"


def rows(database):
    return Corpus.open(database, "c")._dataset.to_table(columns=["key", "image", "text", "u"]).sort_by("key")


def test_a_cluster_makes_the_rows_that_one_process_makes_though_a_node_dies(tmp_path, source, tiny_model, cluster):
    made, nodes = cluster
    settings = WorkerSettings(tiny_model, threads=1)
    run_embedding(plan_embedding([str(source)], tmp_path / "alone", "c"), settings.load(), workers=1)
    engine, killed, workers = RayEngine(settings), [], set()
    assert engine.workers == 2

    def kill_a_node(*_):
        """Once both workers have groups: one alone may be through with all before the other has loaded its model."""
        if killed:
            return
        ray.wait([worker.ready for worker in engine._running], num_returns=2)
        if all(worker.is_ready for worker in engine._running):
            workers.update(worker_processes())
            killed.append(nodes[0])
            made.remove_node(nodes[0], allow_graceful=False)
            with pytest.raises(ray.exceptions.RayActorError):  # its worker goes on for a while
                while True:
                    ray.get([worker.actor.__ray_ready__.remote() for worker in engine._running])
                    time.sleep(0.1)

    report = run_job(
        plan_embedding([str(source)], tmp_path / "db", "c"), engine, on_shard=kill_a_node, group_seconds=1e-9
    )
    assert killed and engine.lost_workers >= 1 and len(workers) == 2
    assert (report.shards, report.samples, report.rows, report.failures) == (8, 40, 32, 8)
    assert rows(tmp_path / "db") == rows(tmp_path / "alone")
    ledger = Ledger(Database(tmp_path / "db"), "c")
    assert len(ledger.failures()) == ledger.failure_count() == 8
    # The dead node's worker may go on writing for a moment after the job's end: the next job removes that.
    wait_for_end_of(workers | worker_processes())
    settle(tmp_path / "db")
    data = list((tmp_path / "db" / "c.lance" / "data").iterdir())
    assert len(data) == len(Corpus.open(tmp_path / "db", "c").fragments())


def worker_processes(parent=None):
    """The processes of engines' workers among those that this process's nodes have started."""
    found = set()
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{parent or os.getpid()}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= {child} if is_worker(child) else worker_processes(child)
    return found


def is_worker(process):
    """Ray calls a process by what it runs; one that has ended has no command any more."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::_Actor")
    except OSError:
        return False


def wait_for_end_of(workers):
    give_up = time.monotonic() + 120
    while left := [process for process in workers if is_worker(process)]:
        assert time.monotonic() < give_up, f"still there: {left}"
        time.sleep(0.1)


def settle(database):
    with only_job(Database(database), "c") as lock:
        assert Committer(Corpus.open(database, "c"), lock).settle() == []


def test_an_answer_that_is_lost_with_its_node_is_made_again(tmp_path, tiny_model, cluster):
    """So large an answer stays on the worker's node until the job takes it."""
    made, nodes = cluster
    bad = [(f"{number:05d}.jpg", b"no picture") for number in range(2000)]
    for shard in range(4):
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", [*sound_members(range(4)), *bad])
    engine, killed = RayEngine(WorkerSettings(tiny_model, threads=1)), []

    def kill_a_node(*_):
        if killed:
            return
        ray.wait([worker.ready for worker in engine._running], num_returns=2)
        answers = [worker.groups[0][1] for worker in engine._running if worker.groups]
        assert answers
        ray.wait(answers, num_returns=len(answers), fetch_local=False)
        locations = ray.experimental.get_object_locations(answers)
        # One that the job has asked for may have come to it already.
        places = [set(locations[answer]["node_ids"]) for answer in answers]
        victim = next(node for node in nodes if {node.node_id} in places)
        killed.append(victim)
        made.remove_node(victim, allow_graceful=False)

    report = run_job(
        plan_embedding([str(tmp_path / "set")], tmp_path / "db", "c"), engine, on_shard=kill_a_node, group_seconds=1e-9
    )
    assert killed and engine.lost_workers >= 1
    assert (report.shards, report.rows, report.failures) == (4, 16, 8000)


def test_a_model_that_is_not_there_is_told_as_without_a_cluster(tmp_path, source, cluster):
    plan = plan_embedding([str(source)], tmp_path / "db", "c")
    with pytest.raises(NotFound, match="model 'local-dir:/nowhere': there is no open_clip_config.json"):
        run_job(plan, RayEngine(WorkerSettings("local-dir:/nowhere")))
