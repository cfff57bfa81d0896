"""`tailwag fit` from end to end: what it prints, what it refuses, what it lists, what it leaves behind."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tailwag.errors import TailwagError
from tailwag.main import group
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.records import save_counts

from ..corpora import make_corpus, make_prototypes, random_unit
from .made_study import MODELS, SLOPE, write_study

QUICK = ("--replicates", "100")


def run(*arguments):
    return CliRunner().invoke(group, ["fit", *map(str, arguments)])


def fit(folder, *more):
    return run("--counts", folder / "counts.csv", "--accuracies", folder / "accuracies.csv", *QUICK, *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    with (folder / "accuracies.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{model},made,objects,no such thing,accuracy,0.5,50\n" for model in MODELS)
    return folder


@pytest.fixture(scope="module")
def report(made):
    told = fit(made, "--out", made / "report")
    assert told.exit_code == 0, told.output
    return made / "report"


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def replaced_in(folder, name, old, new, tmp_path):
    for file in ("counts.csv", "accuracies.csv"):
        text = (folder / file).read_text("utf-8")
        if file == name:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / file).write_text(text, "utf-8")
    return tmp_path


def test_it_prints_the_published_way_and_the_better_ones_side_by_side(made):
    told = fit(made, "--model", "RN50").output
    assert "RN50 on made, image counts, accuracy:" in told
    assert re.search(r"10 bin means, as published +−?\.\d{3} +\d+\.\d points a decade", told)
    slope = re.search(r"inside one test set +\.\d{3} +(\d+\.\d) points a decade \[(\d+\.\d) to (\d+\.\d)\]", told)
    assert slope, told
    assert float(slope[2]) < SLOPE < float(slope[3])


def test_without_out_nothing_is_written(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit(made).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_json_is_whole_and_holds_no_nan(made):
    told = json.loads(fit(made, "--json").output, parse_constant=lambda name: pytest.fail(name))
    assert told["models"] == ["RN50", "ViT-B-32"]
    assert told["concepts"] == 240
    assert {number["model"] for number in told["numbers"]} >= {"RN50", "ViT-B-32"}


def test_the_report_has_page_figures_tables_and_configuration(report):
    assert sorted(each.name for each in report.iterdir()) == [
        "bins.csv",
        "configuration.json",
        "exclusions.csv",
        "figures",
        "numbers.csv",
        "points.csv",
        "report.html",
    ]
    figures = sorted(each.name for each in (report / "figures").iterdir())
    assert [name for name in figures if name.endswith(".png")] == [
        f"{name}.png"
        for name in (
            "between-and-within",
            "published-and-within",
            "ranks",
            "sensitivity",
            "shape",
            "slopes-by-model",
            "slopes-by-set",
            "zeros",
        )
    ]
    assert len(figures) == 16
    assert len(rows_of(report / "points.csv")) == 240
    assert len(rows_of(report / "bins.csv")) == 2 * 12


def test_numbers_of_the_report_are_those_of_the_command(made, report):
    told = json.loads(fit(made, "--json").output)["numbers"]
    written = rows_of(report / "numbers.csv")
    assert len(written) == len(told)
    for row, number in zip(written, told, strict=True):
        assert (row["quantity"], row["model"]) == (number["quantity"], number["model"])
        assert row["value"] == ("" if number["value"] is None else repr(number["value"]))


def test_the_configuration_runs_it_again_to_the_same_numbers(report, tmp_path):
    told = run("--configuration", report / "configuration.json", "--out", tmp_path / "again")
    assert told.exit_code == 0, told.output
    for name in ("numbers.csv", "points.csv", "bins.csv", "exclusions.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (report / name).read_bytes()


def test_a_configuration_beside_other_choices_is_wrong_usage(report):
    told = run("--configuration", report / "configuration.json", "--model", "RN50")
    assert told.exit_code == 2
    assert "leave the other options out" in told.output


def test_a_place_with_other_things_in_it_is_refused(made, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    told = fit(made, "--out", tmp_path)
    assert isinstance(told.exception, TailwagError)
    assert "thesis.tex" in str(told.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_report_is_replaced_when_the_new_one_is_whole_and_not_before(made, report, tmp_path, monkeypatch):
    place = tmp_path / "report"
    shutil.copytree(report, place)
    with monkeypatch.context() as broken:
        broken.setattr("tailwag.analysis.report.drawing.DOTS_PER_INCH", "none")
        assert fit(made, "--model", "RN50", "--out", place).exit_code == 1
    assert (place / "numbers.csv").read_bytes() == (report / "numbers.csv").read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["report"]
    assert fit(made, "--model", "RN50", "--out", place).exit_code == 0
    assert {row["model"] for row in rows_of(place / "bins.csv")} == {"RN50"}
    assert [each.name for each in tmp_path.iterdir()] == ["report"]


def test_a_file_in_the_place_and_a_missing_parent_are_refused(made, tmp_path):
    (tmp_path / "file").write_text("")
    for place, words in ((tmp_path / "file", "is a file"), (tmp_path / "no" / "where", "there is no folder")):
        assert words in str(fit(made, "--out", place).exception)


def test_an_unknown_concept_is_counted_by_reason_and_listed(made, report):
    assert re.search(r"left out, [^:]+: 1\n", fit(made, "--model", "RN50").output)
    assert [row["name"] for row in rows_of(report / "exclusions.csv")] == ["no such thing"]
    page = (report / "report.html").read_text("utf-8")
    assert '<td class="text">no such thing</td>' in page


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("birds 1,accuracy,", "birds 2,accuracy,", "birds 2"),  # another value under a name that is there
        ("birds 0,accuracy,0.", "birds 0,accuracy,30.", "--values percent"),
        ("birds 0,accuracy,0.", "birds 0,accuracy,x0.", "birds 0"),
    ],
    ids=["a name twice", "percents", "no number"],
)
def test_a_fault_of_the_accuracies_is_one_clear_line(made, tmp_path, old, new, words):
    told = fit(replaced_in(made, "accuracies.csv", old, new, tmp_path))
    assert isinstance(told.exception, TailwagError), told.output
    assert words in str(told.exception)
    assert "accuracies.csv" in str(told.exception)
    assert "\n" not in str(told.exception)


def test_a_value_that_is_nan_is_an_exclusion(made, tmp_path):
    text = (made / "accuracies.csv").read_text("utf-8")
    folder = tmp_path
    (folder / "counts.csv").write_text((made / "counts.csv").read_text("utf-8"))
    (folder / "accuracies.csv").write_text(re.sub(r"(birds 0,accuracy),[0-9.]+,", r"\1,nan,", text))
    told = fit(folder)
    assert told.exit_code == 0, told.output
    assert "left out" in told.output
    assert json.loads(fit(folder, "--json").output)["concepts"] == 238


@pytest.mark.parametrize(
    ("option", "value", "there"),
    [("--model", "RN5", "RN50"), ("--pretraining", "cc3m", "made"), ("--side", "joint", "")],
)
def test_what_is_not_there_is_named_beside_what_is(made, option, value, there):
    error = fit(made, option, value).exception
    assert isinstance(error, TailwagError)
    assert value in str(error)
    assert there in str(error)


def test_a_stated_failure_is_one_line_on_stderr_and_exit_1(tmp_path):
    write_study(tmp_path, concepts=3)
    command = [sys.executable, "-m", "tailwag", "fit", "--counts", "counts.csv", "--accuracies", "nowhere.csv"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert "nowhere.csv" in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--counts", "a.csv"],
        ["--paper", "x", "--counts", "a.csv"],
        ["--all"],
        ["--paper", "x", "--all", "--pretraining", "cc3m"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_set_of_one_concept_and_one_without_variation_do_not_stop_it(made, tmp_path):
    for name in ("counts.csv", "accuracies.csv"):
        lines = (made / name).read_text("utf-8").splitlines()
        kept = [line for line in lines if not re.search(r"scenes (?!5,)", line) or "scenes 5," in line]
        (tmp_path / name).write_text("\n".join(kept) + "\n", "utf-8")
    told = fit(tmp_path, "--model", "RN50", "--out", tmp_path / "report")
    assert told.exit_code == 0, told.output


@pytest.mark.photos
def test_the_release_comes_out_as_the_paper_has_it(data):
    told = run("--paper", data / "data" / "paper", "--pretraining", "cc3m", "--model", "RN50", "--json", *QUICK)
    assert told.exit_code == 0, told.output
    numbers = {number["quantity"]: number["value"] for number in json.loads(told.output)["numbers"]}
    assert numbers["r of bin means"] == pytest.approx(0.966, abs=0.001)
    assert numbers["slope of bin means"] == pytest.approx(8.59, abs=0.01)


@pytest.mark.photos
def test_a_model_or_pretraining_set_that_the_release_lacks_is_named(data):
    folder = data / "data" / "paper"
    assert "cc3m" in str(run("--paper", folder).exception)
    assert "cc4m" in str(run("--paper", folder, "--pretraining", "cc4m").exception)
    assert "RN500" in str(run("--paper", folder, "--pretraining", "cc3m", "--model", "RN500").exception)


def test_a_similarity_is_held_fixed_and_names_that_meet_nothing_are_listed(made, tmp_path):
    lines = ["concept,similarity", *(f"Birds_{number},{0.3 + number / 200}" for number in range(40)), "unicorn,0.5"]
    (tmp_path / "similarity.csv").write_text("\n".join(lines) + "\n")
    told = json.loads(fit(made, "--model", "RN50", "--similarity", tmp_path / "similarity.csv", "--json").output)
    assert any("similar" in number["quantity"] for number in told["numbers"])
    assert told["left_out"]["a similarity of no point"] == 1
    assert any("80 of 120 concepts have no similarity" in flag["text"] for flag in told["flags"])


def test_two_similarities_of_a_concept_are_refused(made, tmp_path):
    (tmp_path / "similarity.csv").write_text("concept,similarity\nbirds 1,0.3\nBirds 1,0.4\n")
    error = fit(made, "--similarity", tmp_path / "similarity.csv").exception
    assert isinstance(error, TailwagError)
    assert "row 3" in str(error)


@pytest.mark.photos
@pytest.mark.slow
def test_all_cells_are_one_table_and_its_configuration_gives_it_again(data, tmp_path):
    told = run("--paper", data / "data" / "paper", "--all", "--out", tmp_path / "all", *QUICK)
    assert told.exit_code == 0, told.output
    cells = {(row["pretraining"], row["model"]): row for row in rows_of(tmp_path / "all" / "cells.csv")}
    assert len(cells) == 11
    assert float(cells["laion400m", "ViT-L-14"]["published_r"]) == pytest.approx(0.855, abs=0.001)
    assert float(cells["laion400m", "ViT-L-14"]["within_r"]) == pytest.approx(0.06, abs=0.01)
    assert float(cells["cc3m", "RN50"]["concept_r_all"]) == pytest.approx(0.394, abs=0.001)
    assert all(float(cell["within_holm"]) >= float(cell["within_p"]) for cell in cells.values())
    again = run("--configuration", tmp_path / "all" / "configuration.json", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "cells.csv").read_bytes() == (tmp_path / "all" / "cells.csv").read_bytes()


def test_counts_saved_in_a_database_are_fitted(tmp_path):
    corpus = make_corpus(tmp_path / "db", random_unit(400, 16, seed=2))
    prototypes = make_prototypes(random_unit(30, 16, seed=1))
    query = CountQuery(prototypes, 0.2, partials=True)
    save_counts(corpus, query, count(corpus, query))
    lines = ["model,pretraining,task,concept,metric,value"]
    lines += [
        f"m,made,{'ab'[order % 2]},{name},accuracy,{order / 30:.3f}" for order, name in enumerate(prototypes.names)
    ]
    (tmp_path / "accuracies.csv").write_text("\n".join(lines) + "\n")
    told = run("--corpus", corpus.name, "--db", tmp_path / "db", "--accuracies", tmp_path / "accuracies.csv", *QUICK)
    assert told.exit_code == 0, told.output
    assert "m on made, image counts, accuracy:" in told.output
