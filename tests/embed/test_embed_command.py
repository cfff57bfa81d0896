"""`tailwag embed` as a person meets it: plan, report, and one line for what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

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
    for line in ("corpus   c in ./tailwag-db", "shards   1 to embed", "samples  7", "device   ", "images/s"):
        assert line in first.stderr
    assert first.stdout.startswith("7 samples: 6 rows and 1 failures in 'c'")
    for part in ("decoding", "model", "writing", "       1  not an image"):
        assert part in first.stdout
    again = tailwag("embed", source, "--corpus", "c", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "all 1 shards are in corpus 'c' already: nothing to do\n"


def test_a_dry_run_writes_nothing(tmp_path, source, tiny_model):
    told = tailwag("embed", source, "--corpus", "c", "--model", tiny_model, "--dry-run", cwd=tmp_path)
    assert told.returncode == 0 and "samples  7" in told.stderr
    assert not (tmp_path / "tailwag-db").exists()


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
