"""A job that is killed at any moment, or runs out of disk, is continued by the same command, exactly once."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.job.local_engine import LocalEngine, _Worker
from tailwag.embed.job.worker_settings import WorkerSettings
from tailwag.embed.ledger import Ledger

from .shards import picture, write_tar

SHARDS, SAMPLES = 16, 30
KILLS, MOST_STARTS = 8, 60
TAILWAG = [sys.executable, "-m", "tailwag"]
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Shards of 30 samples, three of which fail."""
    folder = tmp_path_factory.mktemp("source") / "set"
    pictures = [picture(number) for number in range(SAMPLES - 3)]
    for shard in range(SHARDS):
        members = []
        for number, data in enumerate([*pictures, b"none", b"", data_cut(pictures[0])]):
            members += [(f"{number:05d}.jpg", data), (f"{number:05d}.txt", f"picture {number} of {shard}".encode())]
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


def data_cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.fixture(scope="module")
def expected(source, tiny_model, tmp_path_factory):
    """What the tables hold after a job that nobody disturbed."""
    database = tmp_path_factory.mktemp("undisturbed")
    run_embedding(plan_embedding([str(source)], database, "c"), Encoder.load(tiny_model), workers=1)
    return contents(database)


def contents(database: Path):
    corpus, ledger = Corpus.open(database, "c"), Ledger(Database(database), "c")
    records = sorted((each.shard, each.samples, each.rows, each.failures) for each in ledger.records().values())
    return corpus._dataset.to_table().sort_by("key"), ledger.failures().sort_by("key"), records


def nothing_is_left_over(database: Path) -> bool:
    files = {file.path for each in Corpus.open(database, "c")._dataset.get_fragments() for file in each.metadata.files}
    return {file.name for file in (database / "c.lance" / "data").iterdir()} == files


def embed_command(source: Path, database: Path, model: str) -> list[str]:
    options = ["--db", database, "--model", model, "--workers", "1", "--commit-every", "0.05"]
    return [*TAILWAG, "embed", source, "--corpus", "c", *map(str, options)]


def processes_of(group: int) -> list[int]:
    """The processes of a process group, the job itself left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != group:
            try:
                if os.getpgid(int(entry.name)) == group and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def test_a_job_that_is_killed_at_random_moments_ends_in_the_same_tables(tmp_path, source, tiny_model, expected):
    choose = random.Random(5)
    started, met, number = 0, 0, 0
    is_done = True
    # How many kills meet a process at work depends on the machine's speed: once all is done, it begins anew elsewhere.
    while not is_done or started < KILLS or met < KILLS // 2:
        assert started < MOST_STARTS, f"only {met} kills met a process at work"
        is_last = started >= KILLS and met >= KILLS // 2
        number, started = number + is_done, started + 1
        database = tmp_path / f"db{number}"
        command = list(map(str, embed_command(source, database, tiny_model)))
        job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in job.stderr:
            if line.startswith("device"):
                break
        worker_met = False
        if not is_last:
            target = choose.choice(["job", "worker", "all"])
            # All of it takes a second or so; moments before and after the work are met too.
            time.sleep(choose.uniform(0, 0.6))
            workers = processes_of(job.pid)
            for victim in {"job": [job.pid], "worker": workers, "all": [job.pid, *workers]}[target]:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    worker_met |= victim != job.pid
        rest = job.stderr.read()
        status = job.wait()
        # A worker that dies does not end the job.
        assert status in ((0,) if is_last else (0, -signal.SIGKILL)), rest
        wait_for_end_of(job.pid)
        met += worker_met or status != 0
        is_done = status == 0
        if is_done:
            assert contents(database) == expected
            assert nothing_is_left_over(database)


def wait_for_end_of(group: int) -> None:
    """Wait until no worker of a killed job is left: they end by themselves."""
    give_up = time.monotonic() + 60
    while processes_of(group):
        assert time.monotonic() < give_up, "a worker outlives its job"
        time.sleep(0.05)


def test_ctrl_c_stops_a_job_in_one_line_and_the_same_command_goes_on(tmp_path, source, tiny_model, expected):
    command = list(map(str, embed_command(source, tmp_path / "db", tiny_model)))
    # Started from a shell's background, the tests would hand on that Ctrl-C is to be ignored.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    signal.signal(signal.SIGINT, heard)
    for line in job.stderr:
        if line.startswith("device"):
            break
    os.killpg(job.pid, signal.SIGINT)
    told = job.stderr.read().splitlines()
    assert job.wait() == 1
    assert told[-1].startswith("tailwag: stopped; ") and told[-1].endswith("the same command goes on from there")
    assert not processes_of(job.pid)
    # What it had written down without coming to the rows of it: nothing, but for a moment in every commit.
    database = Database(tmp_path / "db")
    written, there = shards_in(database, "c.shards"), shards_in(database, "c")
    assert there <= written
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["undone"] == sorted(written - there)
    assert contents(tmp_path / "db") == expected


def shards_in(database: Database, table: str) -> set[str]:
    found = database.try_table(table)
    return set() if found is None else set(found.to_table(columns=["shard"]).column(0).to_pylist())


def test_an_engine_ends_though_a_worker_dies_before_it_is_told_to_stop():
    """Its process is still there, and nobody reads what it is told."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=time.sleep, args=(600,), daemon=True)
    process.start()
    theirs.close()
    settings = WorkerSettings("local-dir:/nowhere", device="cpu")
    engine = LocalEngine(settings, ["cpu"])
    engine._running = [_Worker(process, ours, settings)]
    engine.__exit__(None, None, None)
    assert process.exitcode == -signal.SIGKILL and ours.closed


SMALL_DISK = """
set -e
mount -t tmpfs -o size=6m none "$1"
fill() { head -c $(( $(df --output=avail -B1 "$1" | tail -1) - $2 )) /dev/zero > "$1/filler"; }
shift_db="$1/db"; db="$1"; shift
for left in 60000 250000; do
  fill "$db" $left
  if "$@" 2> "$OUT/stderr.$left"; then echo "not full with $left" >&2; exit 9; fi
  rm "$db/filler"
done
"$@" 2> "$OUT/stderr.last"
cp -r "$shift_db" "$OUT/db"
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode != 0,
    reason="no file system of its own can be mounted here",
)
def test_a_disk_that_is_full_stops_the_job_in_one_line_and_loses_nothing(tmp_path, source, tiny_model, expected):
    (tmp_path / "disk").mkdir()
    command = list(map(str, embed_command(source, tmp_path / "disk" / "db", tiny_model)))
    environment = {**os.environ, "OUT": str(tmp_path)}
    arguments = ["unshare", "-rm", "bash", "-c", SMALL_DISK, "bash", str(tmp_path / "disk"), *command]
    ran = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr + "".join(file.read_text() for file in tmp_path.glob("stderr.*"))
    for left in (60_000, 250_000):
        told = (tmp_path / f"stderr.{left}").read_text()
        assert "No space left on device" in told, told
        assert "give the command again" in told.splitlines()[-1] and "Traceback" not in told
    assert contents(tmp_path / "db") == expected
    assert nothing_is_left_over(tmp_path / "db")
