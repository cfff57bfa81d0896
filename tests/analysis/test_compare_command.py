"""`tailwag compare` as someone types it: what it prints, writes, refuses and lists."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from tailwag.analysis.comparisons.figures import decade, farthest
from tailwag.analysis.comparisons.ratios import Ratios
from tailwag.errors import TailwagError
from tailwag.main import group
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.records import save_counts

from ..corpora import make_corpus, make_prototypes, random_unit

FIRST = {"a b": 1, "c": 5, "d": 9, "e": 0, "f": 30, "only here": 4}
SECOND = {"f": 80, "e": 2, "d": 20, "c": 0, "A_B": 7}


def run(*arguments):
    return CliRunner().invoke(group, ["compare", *map(str, arguments)])


@pytest.fixture
def counts(tmp_path):
    for name, values, rows in (("small", FIRST, 1000), ("large", SECOND, 4000)):
        lines = [f"{concept},{number},{rows}" for concept, number in values.items()]
        (tmp_path / f"{name}.csv").write_text("\n".join(["concept,count,rows", *lines]) + "\n")
    return ["--counts", tmp_path / "small.csv", "--counts", tmp_path / "large.csv"]


def test_two_files_are_compared_by_name_and_called_by_theirs(counts):
    told = run(*counts)
    assert told.exit_code == 0, told.output
    assert "image frequency of 5 concepts" in told.output
    assert "small – large" in told.output
    assert "no count in every pretraining set: 1" in told.output


def test_json_says_it_all_and_holds_no_nan(counts, tmp_path):
    told = run(*counts, "--json")
    answer = json.loads(told.output, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert answer["pretrainings"] == ["small", "large"]
    assert answer["concepts"] == 5
    assert answer["tails"][0]["zeros"] == 1
    assert answer["pairs"][0]["spearman"]["concepts"] == 5
    # Three concepts that both have are too few for an interval.
    assert answer["pairs"][0]["pearson_log"]["value"] is None
    assert [each["name"] for each in answer["exclusions"]] == ["only here"]


def test_the_folder_has_every_number_and_the_figures(counts, tmp_path):
    out = tmp_path / "out"
    told = run(*counts, "--out", out)
    assert told.exit_code == 0, told.output
    assert sorted(path.name for path in out.iterdir()) == [
        *("exclusions.csv", "frequencies.csv", "pairs.csv", "rank_frequency.png", "rank_frequency.svg"),
        *("ratios.csv", "ratios_small_large.png", "ratios_small_large.svg", "tails.csv"),
    ]
    with (out / "ratios.csv").open(newline="") as file:
        rows = {row["concept"]: row for row in csv.DictReader(file)}
    assert float(rows["d"]["ratio"]) == pytest.approx(9 / 1000 / (20 / 4000))
    assert float(rows["d"]["lower"]) < float(rows["d"]["ratio"]) < float(rows["d"]["upper"])
    assert rows["c"]["ratio"] == "inf"
    with (out / "frequencies.csv").open(newline="") as file:
        found = {(row["concept"], row["pretraining"]): float(row["frequency"]) for row in csv.DictReader(file)}
    assert found["a b", "large"] == 7
    # Again into the same folder: replaced, nothing half written beside it.
    assert run(*counts, "--out", out).exit_code == 0
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_name_cannot_break_the_figure(tmp_path):
    evil = '"$x^{$ </svg><script>alert(1)</script>",'
    for name in ("x", "y"):
        lines = "".join(f"c{number},{number + 1},1000\n" for number in range(5))
        (tmp_path / f"{name}.csv").write_text(
            "concept,count,rows\n" + lines + evil + ("900,1000" if name == "x" else "2,1000")
        )
    told = run("--counts", tmp_path / "x.csv", "--counts", tmp_path / "y.csv", "--out", tmp_path / "out")
    assert told.exit_code == 0, told.output
    drawn = (tmp_path / "out" / "ratios_x_y.svg").read_text()
    assert "<script" not in drawn
    assert "$x^{$" in drawn


def test_pairs_as_csv(counts, tmp_path):
    told = run(*counts, "--csv", "-")
    rows = list(csv.DictReader(told.output.splitlines()))
    assert rows[0]["pearson_log"] == ""
    assert [(row["first"], row["second"], row["concepts"]) for row in rows] == [("small", "large", "5")]
    assert run(*counts, "--csv", tmp_path / "pairs.csv").exit_code == 0
    assert next(csv.DictReader((tmp_path / "pairs.csv").open()))["spearman"] == rows[0]["spearman"]


def test_saved_counts_of_corpora_are_compared(tmp_path):
    vectors = random_unit(60, 16)
    for name, rows in (("one", vectors[:40]), ("two", vectors[20:])):
        corpus = make_corpus(tmp_path / "db", rows, name=name)
        query = CountQuery(make_prototypes(random_unit(8, 16, seed=1)), 0.1, partials=True)
        save_counts(corpus, query, count(corpus, query))
    told = run("--corpus", "one", "--corpus", "two", "--db", tmp_path / "db", "--json")
    assert told.exit_code == 0, told.output
    answer = json.loads(told.output)
    assert answer["pretrainings"] == ["one", "two"]
    assert answer["tails"][0]["rows"] == 40


def test_a_power_law_is_fitted_where_asked_and_said_where_it_cannot(counts, tmp_path):
    told = run(*counts, "--power-law", 2)
    assert "small: a power law needs 50 different concepts above 0; there are 4" in told.output
    for name in ("x", "y"):
        lines = "".join(f"c{number},{10**6 // (number + 1)},{10**7}\n" for number in range(120))
        (tmp_path / f"{name}.csv").write_text("concept,count,rows\n" + lines)
    told = run("--counts", tmp_path / "x.csv", "--counts", tmp_path / "y.csv", "--power-law", 3)
    assert "fit a power law of exponent" in told.output


@pytest.mark.parametrize("arguments", [[], ["--paper", "x", "--counts", "y"], ["--counts", "y", "--pretraining", "x"]])
def test_options_that_do_not_go_together_are_a_usage_error(arguments):
    assert run(*arguments).exit_code == 2


def test_mistakes_are_told(counts, tmp_path):
    for arguments, message in (
        (["--counts", tmp_path / "nothing.csv"], "there is no file"),
        (counts[:2], "needs two pretraining sets or more; there is small"),
        ([*counts[:2], *counts[:2]], "two inputs are called 'small'.*name one of them"),
        ([*counts, "--side", "joint", "--threshold", "0.3", "--out", tmp_path / "small.csv"], "is a file"),
        (["--paper", tmp_path], "no folder 'search_counts'"),
        (["--corpus", "one", "--db", tmp_path / "db"], "db"),
    ):
        told = run(*arguments)
        assert isinstance(told.exception, TailwagError), (arguments, told.output)
        assert re.search(message, str(told.exception)), (message, str(told.exception))


def test_a_file_can_be_given_another_name(counts):
    told = run("--counts", f"older={counts[1]}", "--counts", f"newer={counts[1]}", "--json")
    assert json.loads(told.output)["pretrainings"] == ["older", "newer"]


def test_several_sides_must_be_told_apart(tmp_path):
    for name in ("x", "y"):
        lines = "".join(f"c{number},{number},{side}\n" for number in range(5) for side in ("image", "joint"))
        (tmp_path / f"{name}.csv").write_text("concept,count,side\n" + lines)
    files = ["--counts", tmp_path / "x.csv", "--counts", tmp_path / "y.csv"]
    assert "the sides image, joint: choose one with --side" in str(run(*files).exception)
    told = run(*files, "--side", "joint")
    assert told.output.startswith("joint frequency of 5 concepts")
    assert "x: nobody says how many pairs it has" in told.output


@pytest.mark.photos
def test_the_release_is_compared_with_one_option(data):
    told = run("--paper", data / "data" / "paper", "--as-spelt", "--json")
    answer = json.loads(told.output)
    assert answer["pretrainings"] == ["cc3m", "cc12m", "yfcc15m", "laion400m"]
    assert answer["pairs"][0]["spearman"]["value"] == pytest.approx(0.917, abs=0.002)


def test_decades_are_written_as_one_reads_them():
    assert [decade(value) for value in (1000.0, 0.01, 1e-4, 1e7)] == ["1,000", "0.01", "10⁻⁴", "10⁷"]


def test_named_are_the_surest_of_either_side():
    ratio = np.array([9.0, 100.0, 1.1, 0.5, 0.1])
    made = Ratios("x", "y", tuple("abcde"), ratio, ratio * [0.5, 0.02, 0.9, 0.9, 0.9], ratio * 1.5, ("",) * 5, 0.95)
    assert farthest(made, np.array([True, True, False, True, True]), 2) == [0, 4]
