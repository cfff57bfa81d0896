"""A Ray cluster whose source and database lie on an object store: rows, counts, faults and secrets as without it."""

from __future__ import annotations

import json
import time
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

SHARDS = 6
TOKEN = "a-session-token-that-must-not-be-written"
# What workers and this process ask of a store that is down: not for minutes.
IMPATIENT = {
    "TAILWAG_STORE_ATTEMPTS": "3",
    "OBJECT_STORE_CLIENT_MAX_RETRIES": "1",
    "OBJECT_STORE_CLIENT_RETRY_TIMEOUT": "3",
    "TAILWAG_LEASE_SECONDS": "1",
}


@dataclass
class Jobs:
    """Two jobs on a cluster: the store goes down for good in the first, and fails every request once in the second."""

    bucket: str
    alone: Database
    on_store: Database
    told: str
    done_before: int
    logs: Path

    def tables(self) -> list[tuple]:
        found = []
        for database in (self.alone, self.on_store):
            rows = Corpus.open(database, "c")._dataset.to_table().sort_by("key")
            ledger = Ledger(database, "c")
            records = sorted((each.shard, each.samples, each.rows, each.size) for each in ledger.records().values())
            found.append((rows, ledger.failures().sort_by("key"), records))
        return found


@pytest.fixture(scope="module")
def jobs(object_store, tiny_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("ray-on-store")
    for shard in range(SHARDS):
        numbers = range(4 * shard, 4 * shard + 4)
        write_tar(root / "set" / f"{shard:05d}.tar", [*sound_members(numbers), ("z.jpg", b"no picture")])
    settings = WorkerSettings(tiny_model, threads=1)
    alone = Database(root / "alone")
    run_embedding(plan_embedding([str(root / "set")], alone, "c"), settings.load(), workers=1)
    bucket = object_store.new_bucket()
    source = object_store.upload(root / "set", bucket, "data/set")
    database = Database(f"s3://{bucket}/db")
    faults = [lambda *_: None]

    def job(**how):
        plan = plan_embedding([f"{source}/{{00000..{SHARDS - 1:05d}}}.tar"], database, "c")
        return run_job(plan, RayEngine(settings), group_seconds=1e-9, **how)

    with (
        faulty_proxy(object_store, lambda *request: faults[-1](*request)) as address,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Before the cluster starts: workers have what the nodes were started with.
        for name, value in (object_store.environment(address) | IMPATIENT | {"AWS_SESSION_TOKEN": TOKEN}).items():
            patch.setenv(name, value)
        with ray_nodes(2) as (cluster, _), warnings.catch_warnings(action="ignore"):
            with pytest.raises(TailwagError) as told:
                job(on_shard=lambda *_: faults.append(lambda *_: 503))
            time.sleep(1.1)  # until the lease has run out, which could not be given back
            failed = set()

            def first_time(method, path, number):
                return None if (method, path) in failed else failed.add((method, path)) or 503

            faults.append(lambda *_: None)
            before = len(Ledger(database, "c").records())
            faults.append(first_time)
            job()
            faults.append(lambda *_: None)
            logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
            yield Jobs(bucket, alone, database, str(told.value), before, logs)


def test_after_the_store_was_down_the_same_job_ends_in_the_rows_that_one_process_makes(jobs):
    assert "\n" not in jobs.told
    assert 1 <= jobs.done_before < SHARDS
    alone, on_store = jobs.tables()
    assert on_store == alone
    assert len(on_store[0]) == 4 * SHARDS and len(on_store[1]) == SHARDS


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
