"""The demo on a small world and on someone's own images: the numbers on the page are those of the tables behind it."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tailwag.embed.corpus import Corpus
from tailwag.errors import TailwagError
from tailwag.main import group

from ..embed.shards import picture


def run(*arguments):
    told = CliRunner().invoke(group, ["demo", *map(str, arguments)])
    assert told.exception is None or isinstance(told.exception, (SystemExit, TailwagError)), told.exception
    return told


class References(HTMLParser):
    """Collects everything that a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]


def references(page: str) -> list[str]:
    parser = References()
    parser.feed(page)
    return parser.found


@pytest.fixture(scope="module")
def world_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    told = run("--out", folder, "--n", 600, "--json")
    assert told.exit_code == 0, told.output
    return folder, json.loads(told.stdout)


def test_counts_on_a_small_world_follow_the_truth(world_demo):
    _, summary = world_demo
    assert (summary["rows"], summary["failures"]) == (600, 0)
    assert len(summary["concepts"]) >= 120
    # Far from what a wrong prototype, a wrong threshold or a shifted join would give: those are near 0.
    assert summary["agreement"]["estimates"]["spearman"] > 0.8


def test_the_truth_is_what_was_drawn(world_demo):
    folder, summary = world_demo
    rows = pq.read_table(folder / "world" / "truth.parquet")
    corpus = Corpus.open(folder / "db", "demo")
    assert sorted(rows["key"].to_pylist()) == sorted(corpus.column("key").to_pylist())
    concepts = rows["concepts"].to_pylist()
    for each in summary["concepts"]:
        assert each["truth"] == sum(each["concept"] in held for held in concepts)


def test_the_page_loads_nothing_and_shows_the_numbers(world_demo):
    folder, summary = world_demo
    page = (folder / "report.html").read_text("utf-8")
    assert all(value.startswith(("data:image/", "#")) for value in references(page))
    assert page.count("data:image/jpeg") == 24
    assert f"{summary['agreement']['estimates']['spearman']:.3f}" in page
    assert "600 images" in page
    assert "<svg" in page


def test_the_csv_holds_the_table(world_demo):
    folder, summary = world_demo
    with (folder / "counts.csv").open(encoding="utf-8") as file:
        rows = {row["concept"]: row for row in csv.DictReader(file)}
    for each in summary["concepts"]:
        assert (int(rows[each["concept"]]["count"]), int(rows[each["concept"]]["truth"])) == (
            each["count"],
            each["truth"],
        )


def test_the_same_command_again_goes_on_and_another_world_is_refused(world_demo):
    folder, summary = world_demo
    again = json.loads(run("--out", folder, "--n", 600, "--json").stdout)
    assert again["concepts"] == summary["concepts"]
    other = run("--out", folder, "--n", 601)
    assert "holds a world of other settings: pass another --out, or remove it first" in str(other.exception)


@pytest.fixture
def pets(tmp_path):
    for number in range(12):
        path = tmp_path / "pets" / ("cats" if number % 3 else "dogs & <b>more<b>") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    (tmp_path / "pets" / "cats" / "1.txt").write_text("<script>alert(1)</script>")
    return tmp_path / "pets"


def test_with_labels_the_labels_are_the_concepts_and_the_truth(tmp_path, pets, tiny_model):
    told = run("--source", pets, "--model", tiny_model, "--out", tmp_path / "out", "--json")
    assert told.exit_code == 0, told.output
    summary = json.loads(told.stdout)
    assert {each["concept"]: each["truth"] for each in summary["concepts"]} == {"cats": 8, "dogs & <b>more<b>": 4}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<script" not in page and "<b>more" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_labels_everyday_things_are_counted_and_no_truth_is_claimed(tmp_path, pets, tiny_model):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(pets.rglob("*.jpg"))):
        path.rename(flat / f"{number}.jpg")
    told = run("--source", flat, "--model", tiny_model, "--out", tmp_path / "out", "--json")
    assert told.exit_code == 0, told.output
    summary = json.loads(told.stdout)
    assert len(summary["concepts"]) == 80
    assert summary["agreement"] == {} and summary["truth_source"] == ""
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert re.search(r"The truth is not known here", page)
    assert "<svg" not in page


@pytest.mark.parametrize(
    "arguments", [("--source", "x"), ("--model", "ViT-B-32"), ("--concepts", "pascal"), ("--n", "0")]
)
def test_options_that_do_not_go_together_are_refused(arguments):
    assert run(*arguments).exit_code == 2


def test_raw_counts_and_corrected_frequencies_stand_side_by_side_with_the_truth(world_demo):
    folder, summary = world_demo
    page = (folder / "report.html").read_text()
    assert "<figcaption>raw count</figcaption>" in page and "<figcaption>corrected frequency</figcaption>" in page
    inside = sum(each["lower"] <= each["truth"] <= each["upper"] for each in summary["concepts"])
    assert f"{inside} of {len(summary['concepts'])} of the 95" in page
    assert inside > 0.9 * len(summary["concepts"])
    agreement = summary["agreement"]
    assert agreement["frequencies"]["median_error"] < agreement["counts"]["median_error"] / 2
