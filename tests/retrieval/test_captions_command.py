"""`tailwag captions` as someone types it."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from tailwag.embed.database import Database
from tailwag.main import main
from tailwag.retrieval.records.saved_counts import saved_frequencies
from tests.corpora import make_corpus, random_unit

CAPTIONS = ["a red panda", "two Red Pandas asleep", "a panda in red\x1b[31m\nsnow", "a T-shirt", "", *["a cat"] * 40]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    make_corpus(folder, random_unit(len(CAPTIONS), 8), captions=CAPTIONS)
    return folder


@pytest.fixture
def tailwag(database, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["captions", "made", *map(str, arguments), "--db", str(database)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_each_concept_is_answered_with_a_sentence_and_captions(tailwag):
    status, out, err = tailwag("red panda", "cat")
    assert (status, err) == (0, "")
    first, *shown, second, _, _, _, note = out.split("\n")[:-1]
    assert first == (
        '3 of 45 captions (6.67 %) have all words of "red panda" in some form, and 1 has it as a phrase, '
        "in corpus 'made' (version 2)."
    )
    assert shown == ["  a red panda", "  two Red Pandas asleep", "  a panda in red [31m snow"]
    assert second.startswith('40 of 45 captions (88.9 %) have all words of "cat"')
    assert note.startswith("Captions that name a concept need not show it")


def test_nothing_is_shown_where_nothing_names_it(tailwag):
    status, out, _ = tailwag("zebra")
    assert status == 0 and out.splitlines()[0].startswith('0 of 45 captions (0 %) have all words of "zebra"')
    assert len(out.splitlines()) == 2


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("red panda\nt-shirt\nwhite zebra\n")
    return path


def test_a_set_is_a_table(tailwag, names):
    status, out, _ = tailwag("--concepts", names, "--like-paper")
    headline, headings, *rows, _ = out.splitlines()
    assert status == 0
    assert headline == "2 of 3 concepts are named in the 45 captions of corpus 'made' (version 2); 1 holds no word."
    assert headings.split("  ")[0] == "concept" and headings.endswith("like the paper")
    assert [row.split()[-3:] for row in rows] == [["1", "3", "2"], ["1", "1", "1"], ["0", "0", "0"]]


def test_json_csv_and_parquet_hold_the_same_counts(tailwag, names, tmp_path):
    status, out, _ = tailwag("--concepts", names, "--json", "--show", 1)
    told = json.loads(out)
    assert status == 0 and (told["rows"], told["empty_captions"]) == (45, 1)
    assert [(one["phrase"], one["words"]) for one in told["counts"]] == [(1, 3), (1, 1), (0, 0)]
    assert told["counts"][1]["examples"] == [{"key": "s/3", "caption": "a T-shirt"}]
    _, out, _ = tailwag("--concepts", names, "--csv", "-")
    assert [row["words"] for row in csv.DictReader(io.StringIO(out))] == ["3", "1", "0"]
    _, _, err = tailwag("--concepts", names, "--parquet", tmp_path / "counts.parquet")
    assert pq.read_table(tmp_path / "counts.parquet").column("phrase").to_pylist() == [1, 1, 0]
    assert err == f"wrote 3 counts to {tmp_path / 'counts.parquet'}\n"


def test_what_is_saved_stands_in_the_table_of_frequencies(tailwag, names, database):
    status, out, _ = tailwag("--concepts", names, "--save", "phrase", "--where", "u < 0.5", "--json")
    told = json.loads(out)
    rows = saved_frequencies(Database(database), told["run"])
    assert status == 0 and told["control"] == "u < 0.5"
    assert [row["count"] for row in rows] == [one["phrase"] for one in told["counts"]]
    assert {(row["side"], row["recipe"], row["rows"], row["control"]) for row in rows} == {
        ("caption", "named by phrase", told["rows"], "u < 0.5")
    }
    assert rows[0]["threshold"] != rows[0]["threshold"]
    _, _, err = tailwag("cat", "--save")
    assert "saved 1 counts by words as run " in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "Name what to count"),
        (("cat", "--concepts", "everyday"), 2, "one of the two"),
        (("cat", "--json", "--csv", "-"), 2, "both write to standard output"),
        (("?",), 1, "have no letter or digit"),
        (("cat", "CAT"), 1, "is the same name as 'cat'"),
        (("cat", "--csv", "/nowhere/at/all.csv"), 1, "there is no folder"),
        (("cat", "--where", "colour = 1"), 1, "cannot be evaluated"),
    ],
)
def test_mistakes_are_told_in_one_line(tailwag, arguments, status, message):
    found, out, err = tailwag(*arguments)
    assert (found, out) == (status, "") and message in err
    assert status == 2 or len(err.splitlines()) == 1
