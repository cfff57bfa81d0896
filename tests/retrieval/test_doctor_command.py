"""`tailwag doctor`: a line a check, exit status 1 when something is wrong, the same as JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.main import group
from tailwag.retrieval.index import build_index

from ..embed.shards import sound_members, write_tar

INSTALLATION = ["versions", "models", "faiss", "gpu", "counting", "database", "disk"]


@pytest.fixture
def database(tmp_path, tiny_model):
    write_tar(tmp_path / "set" / "00000.tar", sound_members(range(30)))
    run_embedding(plan_embedding([str(tmp_path / "set")], tmp_path / "db", "c"), Encoder.load(tiny_model, device="cpu"))
    return tmp_path / "db"


def ask(*arguments):
    return CliRunner().invoke(group, ["doctor", *map(str, arguments)])


def test_an_installation_alone(tmp_path):
    told = ask("--db", tmp_path)
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert [line.split()[1] for line in lines] == INSTALLATION
    assert all(line.startswith("✓ ") for line in lines)


def test_a_sound_corpus_as_json(database):
    told = ask("c", "--db", database, "--rows", 4, "--device", "cpu", "--json")
    assert told.exit_code == 0, told.output
    answer = json.loads(told.output)
    assert answer["passed"] is True
    assert [check["name"] for check in answer["checks"]][len(INSTALLATION) :] == [
        "sums",
        "lengths",
        "space",
        "pictures",
        "pictures again",
        "captions again",
    ]


def test_a_stale_index_and_a_missing_row_exit_with_1(database):
    corpus = Corpus.open(database, "c")
    build_index(corpus, "image")
    told = ask("c", "--db", database, "--rows", 2, "--device", "cpu")
    assert told.exit_code == 0, told.output
    assert "✓ image index" in told.output
    corpus.delete("key = 'set/00000/000000003'")
    told = ask("c", "--db", database, "--rows", 2, "--device", "cpu")
    assert told.exit_code == 1
    assert "✗ sums" in told.output
    assert "✗ image index" in told.output
    assert "was built for version" in told.output


def test_a_corpus_that_is_not_there_is_one_line(database):
    told = CliRunner().invoke(group, ["doctor", "d", "--db", str(database)])
    assert told.exit_code == 1
    assert "no corpus 'd'" in str(told.exception)
