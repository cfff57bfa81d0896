"""`tailwag count --estimate`, `tailwag sketch` and `tailwag count FILE.sketch` as someone types them."""

import csv
import json
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.progress import NoProgress
from tailwag.retrieval.concepts import load_concepts, query_concepts
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.estimates import estimate, load_sketch, looks
from tailwag.retrieval.prototypes import prototypes_from_texts
from tests.corpora import make_corpus, random_unit

ROWS = 3000


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def corpus(encoder, tmp_path_factory):
    """3,000 rows in the space of a real model, tiny and untrained."""
    folder = tmp_path_factory.mktemp("database")
    dimension = encoder.space.dimension
    vectors = random_unit(ROWS, dimension), random_unit(ROWS, dimension, seed=1)
    make_corpus(folder, random_unit(0, dimension), name="empty", space=encoder.space)
    return make_corpus(folder, *vectors, name="photos", space=encoder.space)


@pytest.fixture
def tailwag(corpus, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments, db=corpus.database.uri):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(db)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


@pytest.fixture
def small_looks(monkeypatch):
    """Begin with 200 rows, so that a small corpus has several looks."""
    monkeypatch.setattr(looks, "FIRST_ROWS", 200)


@pytest.fixture
def sketched(tailwag, tmp_path):
    path = tmp_path / "photos.sketch"
    assert tailwag("sketch", "photos", "--rows", 300, "--out", path)[0] == 0
    return path


def query(encoder, thresholds, concept="red panda", side="image"):
    return CountQuery(prototypes_from_texts(query_concepts(concept), encoder), thresholds, side)


def test_one_sample_is_answered_with_a_sentence(tailwag, encoder, corpus):
    status, out, err = tailwag("count", "photos", "red panda", "--threshold", 0.1, "--estimate", "--sample", 0.1)
    expected = estimate(corpus, query(encoder, 0.1), rate=0.1)
    sentence, note = out.splitlines()
    assert (status, err) == (0, "")
    assert sentence == str(expected[0])
    assert sentence.startswith("about ")
    assert "(95 % interval " in sentence
    assert "not a frequency" in note


def test_the_sample_is_widened_until_the_interval_is_narrow(tailwag, encoder, corpus, small_looks):
    options = ("--threshold", 0.1, "--estimate", "--within", "20%", "--json")
    status, out, err = tailwag("count", "photos", "red panda", *options)
    answer = json.loads(out)
    (one,) = answer["estimates"]
    truth = count(corpus, query(encoder, 0.1)).counts[0, 0]
    assert (status, err) == (0, "")
    assert one["lower"] <= truth <= one["upper"]
    assert max(one["upper"] - one["estimate"], one["estimate"] - one["lower"]) <= 0.2 * one["estimate"]
    assert (one["approximate"], one["narrow_enough"], answer["exact"]) == (True, True, False)
    assert answer["sampled"] < answer["rows"] == ROWS
    assert answer["within"] == {"value": 0.2, "relative": True}
    assert answer["confidence"] == 0.95


def test_ten_percent_is_the_default_and_what_cannot_be_narrower_is_counted_exactly(tailwag, encoder, corpus):
    status, out, _ = tailwag("count", "photos", "red panda", "--threshold", 0.3, "--estimate", "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["within"] == {"value": 0.1, "relative": True}
    assert (answer["exact"], answer["sampled"]) == (True, ROWS)
    assert answer["estimates"][0]["estimate"] == count(corpus, query(encoder, 0.3)).counts[0, 0]
    assert answer["estimates"][0]["approximate"] is False


def test_a_condition_leaves_the_rows_that_are_sampled(tailwag, encoder, corpus):
    asked = ("count", "photos", "red panda", "--threshold", 0.1, "--where", "key < 's/2'", "--json")
    full = json.loads(tailwag(*asked)[1])
    answer = json.loads(tailwag(*asked, "--estimate", "--sample", 0.3)[1])
    assert (answer["rows"], answer["control"]) == (full["rows"], "key < 's/2'")
    assert 0 < answer["sampled"] < answer["rows"] < ROWS
    assert answer["estimates"][0]["lower"] <= full["counts"][0]["count"] <= answer["estimates"][0]["upper"]


def test_many_concepts_make_a_table_that_says_its_intervals_are_single(tailwag, encoder, corpus):
    status, out, err = tailwag(
        *("count", "photos", "--concepts", "cifar10", "--thresholds", "0.0,0.1"),
        *("--estimate", "--sample", 0.2, "--confidence", 0.9),
    )
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert "3,000 images, estimated from a sample of " in lines[0]
    assert "90 % intervals" in lines[0]
    assert lines[1].split() == ["concept", "threshold", "count", "from", "to", "share"]
    assert len(lines[2:-2]) == 20
    assert lines[2].split()[:3] == ["airplane", "0", "about"]
    assert "Each interval is for its own concept and threshold" in lines[-2]
    expected = estimate(
        corpus,
        CountQuery(prototypes_from_texts(load_concepts("cifar10"), encoder), [0.0, 0.1]),
        rate=0.2,
        confidence=0.9,
    )
    _, out, _ = tailwag(
        *("count", "photos", "--concepts", "cifar10", "--thresholds", "0.0,0.1"),
        *("--estimate", "--sample", 0.2, "--confidence", 0.9, "--json"),
    )
    found = json.loads(out)["estimates"]
    for name, counts in (("lower", expected.lower), ("estimate", expected.estimates), ("upper", expected.upper)):
        assert [one[name] for one in found] == counts.reshape(-1).tolist()
    assert {one["approximate"] for one in found} == {True}


def test_the_most_that_may_be_read_is_told_when_it_does_not_do(tailwag, small_looks):
    status, out, err = tailwag(
        *("count", "photos", "--concepts", "cifar10", "--threshold", 0.1),
        *("--estimate", "--within", "1%", "--sample", 0.2),
    )
    assert status == 0
    assert "estimated from a sample of" in out
    assert err == "tailwag: stopped at the most that --sample lets be read: 0 of 10 intervals are within 1 %\n"


@pytest.mark.parametrize("in_look", [1, 2])
def test_control_c_gives_the_interval_so_far(tailwag, small_looks, monkeypatch, request, in_look):
    """The signal comes while a look reads rows: in the second it leaves the first's answer, in the first none."""
    # Tests that are started from a shell's background would not hear it.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, heard))
    advanced = []

    def advance(self, amount=1):
        advanced.append(amount)
        if len(advanced) == 1 + in_look:  # making the prototype advances a bar once, and so does each look
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(NoProgress, "advance", advance)
    options = ("--threshold", 0.3, "--estimate", "--within", "1%", "--json", "--backend", "reference")
    status, out, err = tailwag("count", "photos", "red panda", *options)
    if in_look == 1:
        assert (status, out) == (1, "")
        assert "Aborted" in err
        return
    answer = json.loads(out)
    assert status == 0
    assert err == "tailwag: stopped on request: 0 of 1 intervals are within 1 %\n"
    assert answer["sampled"] < ROWS / 4
    assert answer["estimates"][0]["approximate"] is True
    assert answer["estimates"][0]["narrow_enough"] is False


def test_a_terminal_sees_the_interval_narrow(tailwag, small_looks, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    _, _, err = tailwag("count", "photos", "red panda", "--threshold", 0.3, "--estimate", "--within", "1%", "--json")
    # A bar that is drawn and wiped away shares the line.
    first, second = (err.index(f"sample of {share} %: about ") for share in ("12.5", "100"))
    assert first < second


def test_without_a_threshold_a_sample_gives_a_ladder(tailwag):
    status, out, _ = tailwag("count", "photos", "red panda", "--estimate", "--sample", 0.2)
    lines = out.splitlines()
    assert status == 0
    assert lines[1].split() == ["threshold", "count", "from", "to", "share"]
    assert 3 <= len(lines[2:-2]) <= 12
    assert "No threshold was given for 'red panda'" in lines[-2]


def test_tables_can_be_taken_away(tailwag, tmp_path):
    files = ("--csv", tmp_path / "a.csv", "--parquet", tmp_path / "a.parquet")
    status, out, err = tailwag(
        *("count", "photos", "--concepts", "cifar10", "--thresholds", "0.1,0.2", "--estimate", "--sample", 0.1), *files
    )
    assert (status, out) == (0, "")
    assert err.count("wrote 20 estimates to") == 2
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [{key: str(value) for key, value in row.items()} for row in table] == rows
    assert {row["approximate"] for row in rows} == {"True"}
    assert {row["method"] for row in rows} == {"one look"}


def test_a_sketch_answers_where_there_is_no_database(tailwag, encoder, corpus, sketched, tmp_path):
    asked = ("count", sketched, "zebra", "--threshold", 0.1)
    status, out, err = tailwag(*asked, db=tmp_path / "no" / "database")
    expected = load_sketch(sketched).estimate(query(encoder, 0.1, "zebra"))
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == str(expected[0])
    assert "in corpus 'photos'" in out
    answer = json.loads(tailwag(*asked, "--json")[1])
    assert (answer["sampled"], answer["rows"], answer["exact"]) == (expected.sampled, ROWS, False)
    assert answer["estimates"][0]["approximate"] is True
    assert answer["estimates"][0]["lower"] <= count(corpus, query(encoder, 0.1, "zebra")).counts[0, 0]
    assert tailwag("count", sketched, "zebra")[1].splitlines()[1].split()[0] == "threshold"


def test_making_a_sketch_says_what_it_holds(tailwag, tmp_path, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = tailwag("sketch", "photos", "--rows", 300)
    assert (status, err) == (0, "")
    assert out.startswith("wrote photos.sketch (0.0 MB): ")
    assert "of the 3,000 image vectors of corpus 'photos' (version 2). Ask it: tailwag count photos.sketch" in out
    told = json.loads(tailwag("sketch", "photos", "--concepts", "cifar10", "--json")[1])
    assert (told["path"], told["sampled"], told["rate"], told["concepts"]) == ("photos.sketch", ROWS, 1.0, 10)
    assert told["bytes"] == (tmp_path / "photos.sketch").stat().st_size
    status, out, _ = tailwag("count", "photos.sketch", "--concepts", "cifar10", "--threshold", 0.1)
    assert status == 0
    assert "counted exactly" in out.splitlines()[0]
    assert "Each interval" not in out


def test_the_concepts_of_a_sketch_are_exact(tailwag, encoder, corpus, tmp_path):
    path = tmp_path / "with.sketch"
    tailwag("sketch", "photos", "--rows", 100, "--concepts", "cifar10", "--out", path)
    asked = ("--concepts", "cifar10", "--threshold", 0.123, "--json")
    answer = json.loads(tailwag("count", path, *asked)[1])
    truth = count(corpus, CountQuery(prototypes_from_texts(load_concepts("cifar10"), encoder), 0.123)).counts[:, 0]
    assert [one["estimate"] for one in answer["estimates"]] == truth.tolist()
    assert {(one["approximate"], one["method"]) for one in answer["estimates"]} == {(False, "histogram")}
    table = tailwag("count", path, *asked[:-1])[1].splitlines()
    assert "3,000 images, counted exactly in" in table[0]
    assert "exact" in table[2].split()


def test_a_sketch_of_captions_is_asked_for_captions(tailwag, encoder, tmp_path):
    path = tmp_path / "text.sketch"
    tailwag("sketch", "photos", "--rows", 300, "--side", "text", "--out", path)
    status, out, _ = tailwag("count", path, "zebra", "--threshold", 0.1)
    assert status == 0
    assert "of 3,000 captions have" in out
    status, _, err = tailwag("count", path, "zebra", "--threshold", 0.1, "--side", "image")
    assert status == 1
    assert "holds text vectors, and the image side was asked for" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count", "none.sketch", "dog", "--threshold", 0.1], "there is no sketch none.sketch"),
        (["count", "photos", "dog", "--threshold", 0.1, "--estimate", "--within", "ten"], "does not say how narrow"),
        (["count", "photos", "dog", "--threshold", 0.1, "--estimate", "--sample", 2], "at most 1, and 2 was given"),
        (["count", "photos", "dog", "--threshold", 0.1, "--estimate", "--sample", 1e-6], "take a larger one"),
        (["count", "photos", "dog", "--threshold", 0.1, "--estimate", "--confidence", 2], "between 0 and 1"),
        (["sketch", "none"], "no corpus 'none' in "),
        (["sketch", "photos", "--out", "/none/x.sketch"], "there is no folder /none"),
        (["sketch", "photos", "--concepts", "none"], "no concept set or file 'none'"),
    ],
)
def test_a_mistake_is_told_in_one_line(tailwag, arguments, message):
    status, out, err = tailwag(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("tailwag: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_damaged_sketch_is_refused_in_one_line(tailwag, sketched):
    sketched.write_bytes(sketched.read_bytes()[:-1000])
    status, out, err = tailwag("count", sketched, "zebra", "--threshold", 0.1)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "is no sketch, or a damaged one" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["count", "photos", "dog", "--threshold", 0.1, "--within", "10%"],
        ["count", "photos", "dog", "--threshold", 0.1, "--sample", 0.1],
        ["count", "photos", "dog", "--estimate"],
        ["count", "photos", "dog", "--estimate", "--within", "10%", "--sample", 0.1],
        ["count", "x.sketch", "dog", "--threshold", 0.1, "--within", "10%"],
        ["count", "x.sketch", "dog", "--threshold", 0.1, "--sample", 0.1],
        ["count", "x.sketch", "dog", "--threshold", 0.1, "--version", 3],
        ["count", "x.sketch", "dog", "--threshold", 0.1, "--where", "width > 1"],
        ["count", "photos", "dog", "--threshold", 0.1, "--estimate", "--other-threshold", 0.2],
        ["sketch", "photos", "--rows", 0],
        ["sketch", "photos", "--out", "photos.npz"],
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(tailwag, arguments):
    status, out, err = tailwag(*arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err


def test_an_empty_corpus_is_estimated_and_sketched(tailwag, tmp_path):
    assert tailwag("count", "empty", "dog", "--threshold", 0.1, "--estimate")[1].startswith("0 of 0 images")
    assert tailwag("sketch", "empty", "--out", tmp_path / "e.sketch")[0] == 0
    assert tailwag("count", tmp_path / "e.sketch", "dog", "--threshold", 0.1)[1].startswith("0 of 0 images")


def test_an_older_version_can_be_estimated(tailwag, encoder, corpus):
    assert len(Corpus.open(corpus.database, "photos", 1)) == 0
    asked = ("count", "photos", "dog", "--threshold", 0.1, "--estimate", "--sample", 0.5, "--version")
    assert "0 of 0 images" in tailwag(*asked, 1)[1]
    assert "about" in tailwag(*asked, 2)[1]
    assert np.isfinite(json.loads(tailwag(*asked, 2, "--json")[1])["seconds"])
