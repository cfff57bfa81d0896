"""A Ray cluster whose source and database lie on an object store: rows, counts, faults and secrets as without it."""

from __future__ import annotations

import json
import re
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.job import plan_embedding, run_embedding, run_job
from tailwag.embed.job.ray_engine import RayEngine
from tailwag.embed.job.worker_settings import WorkerSettings
from tailwag.embed.ledger import Ledger
from tailwag.errors import TailwagError
from tailwag.main import main

from ..object_store import ACCESS_KEY, SECRET, faulty_proxy
from ..ray_nodes import ray_nodes
from .shards import sound_members, write_tar

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)

SHARDS, DONE_BEFORE = 8, 3
TOKEN = "a-session-token-that-must-not-be-written"
# What workers and this process ask of a store that is down: not for minutes.
IMPATIENT = {"TAILWAG_STORE_ATTEMPTS": "3", "OBJECT_STORE_CLIENT_RETRY_TIMEOUT": "20"}


@dataclass
class Jobs:
    """A job on a cluster whose store fails every request once, and its sources for good in the end; and the next job.

    Attributes
    ----------
    alone
        The same embedded from a folder into a folder.
    told
        What ended the first job.
    done_before
        How many shards were done then.
    logs
        The cluster's.
    """

    bucket: str
    alone: Database
    on_store: Database
    told: str
    done_before: int
    logs: Path


def tables(database):
    ledger = Ledger(database, "c")
    records = sorted((each.shard, each.samples, each.rows, each.size) for each in ledger.records().values())
    rows = Corpus.open(database, "c")._dataset.to_table().sort_by("key")
    return rows, ledger.failures().sort_by("key"), records


@pytest.fixture(scope="module")
def jobs(object_store, tiny_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("ray-on-store")
    for shard in range(SHARDS):
        numbers = range(4 * shard, 4 * shard + 4)
        write_tar(root / "set" / f"{shard:05d}.tar", [*sound_members(numbers), ("z.jpg", b"no picture")])
    settings = WorkerSettings(tiny_model, threads=1)
    encoder = settings.load()
    alone = Database(root / "alone")
    run_embedding(plan_embedding([str(root / "set")], alone, "c"), encoder, workers=1)
    bucket = object_store.new_bucket()
    source = f"{object_store.upload(root / 'set', bucket, 'data/set')}/{{00000..{SHARDS - 1:05d}}}.tar"
    database = Database(f"s3://{bucket}/db")
    failed, done, is_over = set(), [], []

    def fault(method, path, number):
        if is_over:
            return None
        if len(done) >= DONE_BEFORE and "/data/set/" in path:
            return 503
        return None if (method, path) in failed else failed.add((method, path)) or 503

    with faulty_proxy(object_store, fault) as address, pytest.MonkeyPatch.context() as patch:
        # Before the cluster starts: workers have what the nodes were started with.
        for name, value in (object_store.environment(address) | IMPATIENT | {"AWS_SESSION_TOKEN": TOKEN}).items():
            patch.setenv(name, value)
        with ray_nodes(2) as (cluster, _), warnings.catch_warnings(action="ignore"):
            plan, engine = plan_embedding([source], database, "c"), RayEngine(settings)
            with pytest.raises(TailwagError) as told:
                run_job(plan, engine, on_shard=lambda record, _: done.append(record), group_seconds=1e-9)
            is_over.append(True)
            run_embedding(plan_embedding([source], database, "c"), encoder, workers=1)
            logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
            yield Jobs(bucket, alone, database, str(told.value), len(done), logs)


def test_workers_on_a_store_make_the_rows_of_one_process_and_tell_when_it_stays_down(jobs):
    down = r"s3://.*/data/set/0000\d\.tar: the store failed .*, 3 times over 1.5 s: give the command again once .*"
    assert re.fullmatch(down, jobs.told)
    assert DONE_BEFORE <= jobs.done_before < SHARDS
    rows, failures, records = tables(jobs.on_store)
    assert (rows, failures, records) == tables(jobs.alone)
    assert len(rows) == 4 * SHARDS and len(failures) == SHARDS


def test_a_cluster_counts_a_corpus_on_a_store_as_this_machine_does(jobs):
    command = ["count", "c", "picture number 3", "--threshold", "0.01", "--json", "--db", jobs.on_store.uri]
    answers = []
    for engine in ("ray", "local"):
        out = StringIO()
        with redirect_stdout(out), redirect_stderr(StringIO()), pytest.raises(SystemExit, match="^0$"):
            main([*command, "--engine", engine])
        answers.append(json.loads(out.getvalue()))
    assert answers[0]["counts"] == answers[1]["counts"]


def test_no_secret_is_in_a_table_a_message_or_a_log_of_the_cluster(jobs, object_store):
    written = {**object_store.contents(jobs.bucket), "told": jobs.told.encode()}
    logs = {str(path): path.read_bytes() for path in jobs.logs.rglob("*") if path.is_file()}
    assert any("worker" in name for name in logs)
    for secret in (SECRET, ACCESS_KEY, TOKEN):
        assert [name for name, content in (written | logs).items() if secret.encode() in content] == [], secret
