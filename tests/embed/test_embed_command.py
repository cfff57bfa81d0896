"""`tailwag embed` as a person meets it: plan, report, and one line for what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tailwag.embed.database import Database
from tailwag.embed.ledger import Ledger

from .shards import sound_members, write_tar


@pytest.fixture
def source(tmp_path):
    members = [*sound_members(range(6)), ("z.jpg", b"no picture")]
    write_tar(tmp_path / "set" / "00000.tar", members)
    (tmp_path / "set" / "00000_stats.json").write_text('{"successes": 7}')
    return tmp_path / "set"


def tailwag(*arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TAILWAG")}
    command = [sys.executable, "-m", "tailwag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def test_a_plan_a_report_and_nothing_to_do(tmp_path, source, tiny_model):
    first = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for line in ("corpus   c in ./tailwag-db", "shards   1 to embed", "samples  7", "device   cpu (engine local)"):
        assert line in first.stderr
    assert first.stdout.startswith("7 samples: 6 rows and 1 failures in 'c'")
    for part in ("decoding", "model", "writing", "       1  not an image"):
        assert part in first.stdout
    again = tailwag("embed", source, "--corpus", "c", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "all 1 shards are in corpus 'c' already: nothing to do\n"


def test_a_dry_run_writes_nothing(tmp_path, source, tiny_model):
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, "--dry-run", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    for line in ("samples  7\n", "for the model alone", "speed    ", "time     about ", "disk     about "):
        assert line in told.stderr
    assert not (tmp_path / "tailwag-db").exists()


def test_a_dry_run_guesses_what_the_sources_do_not_say(tmp_path, source, tiny_model):
    (source / "00000_stats.json").unlink()
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, "--dry-run", "--json", cwd=tmp_path)
    plan = json.loads(told.stdout)
    assert plan["samples_known"] is False and 4 <= plan["samples"] <= 12
    assert plan["free_bytes"] > plan["disk_bytes"] > 6 * 4 * 32


def test_enough_is_enough_at_a_shards_end(tmp_path, source, tiny_model):
    for shard in range(1, 4):
        write_tar(source / f"{shard:05d}.tar", sound_members(range(6)))
    arguments = ("embed", source, "--corpus", "c", "--model", tiny_model, "--engine", "inline", "--json")
    first = json.loads(tailwag(*arguments, "--limit", "8", cwd=tmp_path).stdout)
    assert (first["shards"], first["samples"]) == (2, 13)
    rest = json.loads(tailwag(*arguments, cwd=tmp_path).stdout)
    assert (rest["shards"], rest["samples"]) == (2, 12)


def test_a_log_has_a_line_a_shard_and_metrics_are_served(tmp_path, source, tiny_model):
    write_tar(source / "00001.tar", sound_members(range(3)))
    told = tailwag(
        "embed", source, "--corpus", "c", "--model", tiny_model, "--log", "job.jsonl", "--metrics-port", "0",
        cwd=tmp_path,
    )  # fmt: skip
    assert "metrics  http://127.0.0.1:" in told.stderr
    first, second, end = (json.loads(line) for line in (tmp_path / "job.jsonl").read_text().splitlines())
    assert (first["event"], first["shard"], first["samples"]) == ("shard", "set/00000", 7)
    assert first["reasons"] == {"not an image": 1}
    assert (second["shard"], second["rows"], end["event"], end["rows"]) == ("set/00001", 3, "end", 9)


def test_the_report_as_json(tmp_path, source, tiny_model):
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, "--json", cwd=tmp_path)
    report = json.loads(told.stdout)
    assert (report["samples"], report["rows"], report["failures"]) == (7, 6, 1)
    assert report["reasons"] == {"not an image": 1}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["embed", "nowhere", "--corpus", "c"], 1, "tailwag: 1 of the sources do not exist: nowhere"),
        (["embed", ".", "--corpus", "a b"], 1, "tailwag: 'a b' cannot name a corpus"),
        (["embed", "set", "--corpus", "c"], 1, "tailwag: corpus 'c' does not exist yet: pass --model"),
        (["embed", "set", "--corpus", "c", "--model", "ViT"], 1, "tailwag: open_clip knows no model 'ViT'"),
        (["embed", "--corpus", "c"], 2, "Missing argument 'SOURCE...'"),
        (["embde"], 2, "Did you mean 'embed'?"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, source, arguments, status, message):
    told = tailwag(*arguments, cwd=tmp_path)
    assert told.returncode == status
    assert message in told.stderr
    assert "Traceback" not in told.stderr
    if status == 1:
        assert told.stderr.count("\n") == 1


def test_how_a_job_computes_and_decodes_can_be_chosen_and_is_written_down(tmp_path, source, tiny_model):
    chosen = ("--precision", "float16", "--batch-size", "auto", "--decode-in", "processes", "--workers", 2)
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, *chosen, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["rows"], report["failures"], report["precision"]) == (6, 1, "float16")
    (record,) = Ledger(Database(tmp_path / "tailwag-db"), "c").records().values()
    assert record.precision == "float16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch-size", "0"), "0 is not in the range x>=1"),
        (("--batch-size", "some"), "'some' is not a valid integer range"),
        (("--engine", "inline", "--decode-in", "processes"), "--decode-in processes goes with --engine local or ray"),
    ],
)
def test_choices_that_cannot_be_are_refused(tmp_path, source, tiny_model, options, message):
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, *options, cwd=tmp_path)
    assert told.returncode == 2
    assert message in told.stderr
