"""`tailwag count --captions` as someone types it, on pictures embedded by a real model, tiny and untrained."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailwag.analysis.inputs import saved_frequencies
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.retrieval.captions.counting import count_captions
from tailwag.retrieval.captions.joint import joint_frequency
from tailwag.retrieval.concepts import load_concepts
from tailwag.retrieval.counting import CountQuery, similarities
from tailwag.retrieval.prototypes import prototypes_from_texts
from tests.corpora import make_corpus

CAPTIONS = ["two dogs", "a red car", "Cats and a dog", "", "the dog's car", "a horse in the sea"] * 10


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def vectors(encoder):
    generator = np.random.default_rng(0)
    noise = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in CAPTIONS]
    return encoder.encode_images(noise)


@pytest.fixture
def pets(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_text("dog\ncat\ncar\nunicorn\n")
    return path


@pytest.fixture
def corpus(encoder, vectors, tmp_path):
    return make_corpus(tmp_path / "db", vectors, name="photos", space=encoder.space, captions=CAPTIONS)


@pytest.fixture
def threshold(encoder, vectors, pets):
    """The median similarity: about half of all pairs are hits."""
    return float(np.median(similarities(vectors, prototypes_from_texts(load_concepts(pets), encoder).vectors)))


@pytest.fixture
def tailwag(corpus, capsys):
    """Run `tailwag count photos`; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["count", "photos", *map(str, arguments), "--db", corpus.database.uri])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def expected(corpus, encoder, pets, thresholds, rule="words"):
    concepts = load_concepts(pets)
    query = CountQuery(prototypes_from_texts(concepts, encoder), thresholds)
    return joint_frequency(corpus, query, count_captions(corpus, concepts, keep=rule), misalignment=True)


def test_json_tells_all_three_counts_and_the_misalignment(tailwag, corpus, encoder, pets, threshold):
    status, out, _ = tailwag("--concepts", pets, "--threshold", threshold, "--captions", "--misalignment", "--json")
    assert status == 0
    told, found = json.loads(out), expected(corpus, encoder, pets, threshold)
    assert told["rule"] == "words"
    for entry, one in zip(told["counts"], found, strict=True):
        assert (entry["count"], entry["caption"], entry["joint"]) == (one.image, one.caption, one.joint)
        assert entry["expected"] == one.expected
    assert [entry["caption"] for entry in told["counts"]] == [30, 10, 20, 0]
    assert told["counts"][3]["lift"] is None
    (one,) = found.misalignment
    (shown,) = told["misalignment"]
    assert (shown["both_rows"], shown["common_rows"], shown["degree"]) == (one.both_rows, one.common_rows, one.degree)


def test_the_table_shows_them_side_by_side(tailwag, corpus, encoder, pets, threshold):
    status, out, _ = tailwag("--concepts", pets, "--threshold", threshold, "--misalignment", "--captions", "phrase")
    assert status == 0
    assert "captions by phrase" in out.splitlines()[0]
    found = expected(corpus, encoder, pets, threshold, "phrase")
    cells = [line.split() for line in out.splitlines()[1:6]]
    assert cells[0] == ["concept", "threshold", "image", "caption", "joint", "lift", "unseen", "unnamed"]
    assert [row[2:5] for row in cells[1:]] == [[str(one.image), str(one.caption), str(one.joint)] for one in found]
    assert str(found.misalignment[0]) in out
    assert out.rstrip().endswith("a count is not a frequency.")


def test_one_concept_is_answered_by_a_sentence(tailwag, threshold):
    status, out, _ = tailwag("dog", "--threshold", threshold, "--captions", "words")
    assert status == 0
    assert "names it by words" in out and "30 such a caption" in out


def test_files_hold_all_columns(tailwag, tmp_path, pets, threshold):
    options = ("--concepts", pets, "--thresholds", f"{threshold},1", "--captions")
    _, out, err = tailwag(*options, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 8
    assert {"count", "caption", "joint", "rule", "expected", "lift", "unseen_share", "unnamed_share"} <= set(rows[0])
    tailwag(*options, "--parquet", tmp_path / "joint.parquet")
    assert pq.read_table(tmp_path / "joint.parquet").column("caption").to_pylist() == [30, 30, 10, 10, 20, 20, 0, 0]
    assert "pairs" not in err


def test_a_condition_holds_for_captions_too(tailwag, pets, threshold):
    _, out, _ = tailwag("--concepts", pets, "--threshold", threshold, "--captions", "--where", "key < 's/3'", "--json")
    told = json.loads(out)
    assert told["rows"] < 60
    assert max(entry["caption"] for entry in told["counts"]) < 30
    assert all(entry["joint"] <= min(entry["count"], entry["caption"]) for entry in told["counts"])


def test_all_sides_are_saved_and_read_again(tailwag, corpus, encoder, pets, threshold, capsys):
    options = ("--concepts", pets, "--threshold", threshold, "--captions", "--save", "--json")
    status, out, _ = tailwag(*options)
    assert status == 0
    run = json.loads(out)["run"]
    found, database = expected(corpus, encoder, pets, threshold), Database(corpus.database.uri)
    table = saved_frequencies(database, "photos", run=run).table
    counts = {side: dict(zip(own["concept"], own["count"], strict=True)) for side, own in table.groupby("side")}
    assert counts == {
        "image": {one.concept: one.image for one in found},
        "caption": {one.concept: one.caption for one in found},
        "joint": {one.concept: one.joint for one in found},
    }
    with pytest.raises(SystemExit) as caught:
        main(["verify", run, "--db", corpus.database.uri])
    assert caught.value.code == 0, capsys.readouterr().err


def test_a_saved_image_count_that_was_called_another_side_is_refuted(tailwag, corpus, pets, threshold, capsys):
    import lance

    _, out, _ = tailwag("--concepts", pets, "--threshold", threshold, "--captions", "--save", "--json")
    lance.dataset(Database(corpus.database.uri).table_uri("frequencies")).update(
        {"side": "'joint'"}, where="side = 'image' AND concept = 'cat'"
    )
    with pytest.raises(SystemExit) as caught:
        main(["verify", json.loads(out)["run"], "--db", corpus.database.uri])
    assert caught.value.code == 1
    assert "are not the certificate's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["dog", "--threshold", 0.3, "--misalignment"], "pass --captions too"),
        (["dog", "--threshold", 0.3, "--captions", "--misalignment"], "goes with --concepts"),
        (["dog", "--captions"], "needs --threshold"),
        (["dog", "--threshold", 0.3, "--captions", "--estimate"], "goes with a full count"),
        (["dog", "--threshold", 0.3, "--captions", "--since", "1"], "goes with a full count"),
        (["dog", "--threshold", 0.3, "--captions", "--side", "text"], "leave out --side text"),
        (["dog", "--threshold", 0.3, "--captions", "--other-threshold", 0.2], "leave out --margin"),
        (["--image", "x.jpg", "--threshold", 0.3, "--captions"], "name a concept"),
        (["dog", "--threshold", 0.3, "--captions", "letters"], "is not one of"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tailwag, options, message):
    status, _, err = tailwag(*options)
    assert status == 2
    assert message in err


def test_a_name_without_a_letter_is_a_stated_error(tailwag, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("dog\n!!!\n")
    status, _, err = tailwag("--concepts", path, "--threshold", 0.3, "--captions")
    assert status == 1
    assert "!!!" in err
