"""`tailwag count --save`, `--since`, `--rethreshold`, `tailwag verify`, `tailwag diff`, as someone types them."""

import csv
import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.retrieval.concepts import load_concepts, query_concepts
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, sample
from tailwag.retrieval.prototypes import prototypes_from_texts
from tailwag.retrieval.records import find_runs, save_counts
from tests.corpora import make_corpus, make_space, random_unit, rows_table


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def vectors(encoder):
    """The vectors of 90 noisy pictures."""
    generator = np.random.default_rng(0)
    noise = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(90)]
    return encoder.encode_images(noise)


@pytest.fixture
def corpus(encoder, vectors, tmp_path):
    """A corpus of three fragments with 20 rows each."""
    made = make_corpus(tmp_path, vectors[:20], name="photos", space=encoder.space)
    for start in (20, 40):
        made.append(rows_table(made.space, vectors[start : start + 20], prefix=f"{start}/"))
    return made


@pytest.fixture
def tailwag(tmp_path, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(tmp_path)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


@pytest.fixture
def no_model(monkeypatch):
    """Loading a model fails."""

    def refuse(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Encoder, "for_space", refuse)


def counted(encoder, corpus, concepts, thresholds):
    return count(corpus, CountQuery(prototypes_from_texts(concepts, encoder), thresholds))


def runs(corpus):
    return [run.run for run in find_runs(corpus.database)]


CIFAR = ("--concepts", "cifar10")


def test_save_keeps_the_count_and_says_how_to_check_it(tailwag, encoder, corpus):
    status, out, err = tailwag("count", "photos", *CIFAR, "--thresholds", "0,0.1", "--save")
    (run,) = runs(corpus)
    assert status == 0
    assert out.splitlines()[1].split() == ["concept", "≥", "0", "≥", "0.1"]
    saved, seal = err.splitlines()
    assert saved == f"saved 20 counts as run {run}; check them: tailwag verify {run}"
    assert re.fullmatch(r"seal [0-9a-f]{64}", seal)
    rows = Database(corpus.database.uri).open_table("frequencies").to_table().to_pylist()
    expected = counted(encoder, corpus, load_concepts("cifar10"), [0, 0.1])
    assert [row["count"] for row in rows] == expected.counts.reshape(-1).tolist()
    status, out, _ = tailwag("info")
    assert [line.split()[0] for line in out.splitlines()][:2] == ["corpus", "photos"]
    assert "frequencies" not in out


def test_json_names_the_run(tailwag, corpus):
    _, out, _ = tailwag("count", "photos", "dog", "--threshold", 0.1, "--save", "--json")
    told = json.loads(out)
    assert told["run"] == runs(corpus)[0]
    assert told["seal"] == find_runs(corpus.database)[0].seal


def test_a_saved_run_is_verified(tailwag, corpus):
    tailwag("count", "photos", *CIFAR, "--threshold", 0.1, "--save")
    (run,) = runs(corpus)
    status, out, err = tailwag("verify", run, "--parts", 2, "--seed", 7)
    assert (status, err) == (0, "")
    assert out.startswith(f"accepted: run {run}, corpus 'photos' version 4\n")
    assert "2 of 3 parts, chosen with seed 7, came out the same: 40 of 60 rows (66.7 %) were counted again." in out
    assert "A single wrong part had a chance of 33.3 % to go unnoticed; --all leaves none." in out
    status, out, _ = tailwag("verify", run, "--all")
    assert "3 of 3 parts came out the same: 60 of 60 rows (100 %) were counted again, and the histograms." in out
    assert "chance" not in out
    _, out, _ = tailwag("verify", run, "--json")
    told = json.loads(out)
    assert (told["accepted"], told["parts"], told["chance_one_wrong_part_unnoticed"]) == (True, 3, 0)


def test_a_refuted_run_ends_with_status_1_and_one_line(tailwag, corpus):
    tailwag("count", "photos", "dog", "--threshold", 0.1, "--save")
    (run,) = runs(corpus)
    corpus.database.open_table("frequencies").update({"count": "count + 1"})
    status, out, err = tailwag("verify", run)
    assert (status, out) == (1, "")
    assert err == (
        f"tailwag: the certificate of run {run} is refuted: the counts in the table 'frequencies' are not the "
        "certificate's\n"
    )
    status, out, err = tailwag("verify", run, "--json")
    assert status == 1
    assert json.loads(out)["accepted"] is False
    assert err.count("\n") == 1


def test_a_certificate_is_taken_away_and_verified_as_a_file(tailwag, corpus, tmp_path):
    path = tmp_path / "counts.certificate"
    status, _, err = tailwag("count", "photos", "dog", "--threshold", 0.1, "--certificate", path)
    assert (status, err.splitlines()[0]) == (0, f"wrote the certificate to {path}")
    assert not corpus.database.has_table("frequencies")
    status, out, _ = tailwag("verify", path, "--all")
    assert status == 0
    assert f"seal {err.splitlines()[1].split()[1]}" in out
    corpus.delete("key = 's/3'")
    status, out, _ = tailwag("verify", path, "--all")
    assert (status, "The corpus has a newer version, 5." in out) == (0, True)
    status, out, err = tailwag("verify", tmp_path / "nothing")
    assert (status, err) == (1, f"tailwag: there is no certificate {tmp_path / 'nothing'}\n")


def test_an_unknown_run_is_told_of_those_there_are(tailwag, corpus):
    status, _, err = tailwag("verify", "20260731T142233.123456Z-9f3a07")
    assert (status, "none is saved: count with --save" in err) == (1, True)


def test_rows_chosen_by_hand_are_given_as_a_file(tailwag, encoder, corpus, tmp_path):
    chosen = np.arange(60) % 4 == 0
    query = CountQuery(
        prototypes_from_texts(query_concepts("dog"), encoder),
        0.1,
        control=chosen_rows("by hand", chosen),
        partials=True,
    )
    run = save_counts(corpus, query, count(corpus, query)).run.name
    status, _, err = tailwag("verify", run)
    assert (status, "chosen by hand" in err) == (1, True)
    np.save(tmp_path / "rows.npy", chosen)
    assert tailwag("verify", run, "--rows", tmp_path / "rows.npy")[0] == 0
    np.save(tmp_path / "other.npy", chosen.astype(int))
    status, _, err = tailwag("verify", run, "--rows", tmp_path / "other.npy")
    assert (status, "holds int64 of shape (60,): one boolean a row" in err) == (1, True)


# --rethreshold


def test_rethreshold_answers_as_count_does_without_a_model(tailwag, encoder, corpus, request):
    tailwag("count", "photos", *CIFAR, "--threshold", 0.9, "--save")
    asked = ("count", "photos", *CIFAR, "--thresholds", "-0.05,0,0.051")
    _, plain, _ = tailwag(*asked)
    request.getfixturevalue("no_model")
    status, out, err = tailwag(*asked, "--rethreshold")
    assert (status, err) == (0, "")
    assert out.splitlines()[1:] == plain.splitlines()[1:]
    assert out.splitlines()[0].endswith(f"60 images, counted by the histograms of run {runs(corpus)[0]}")


def test_rethreshold_tables_can_be_taken_away(tailwag, encoder, corpus, tmp_path):
    tailwag("count", "photos", *CIFAR, "--threshold", 0.9, "--save")
    files = ("--csv", tmp_path / "counts.csv", "--parquet", tmp_path / "counts.parquet")
    status, out, err = tailwag("count", "photos", *CIFAR, "--thresholds", "0,0.0335", "--rethreshold", *files)
    assert (status, out, err.count("wrote 20 counts to")) == (0, "", 2)
    table = pq.read_table(tmp_path / "counts.parquet").to_pylist()
    with (tmp_path / "counts.csv").open(newline="") as file:
        assert [row["concept"] for row in csv.DictReader(file)] == [row["concept"] for row in table]
    truth = counted(encoder, corpus, load_concepts("cifar10"), [0, 0.0335]).counts.reshape(-1)
    edges = [counted(encoder, corpus, load_concepts("cifar10"), edge).counts[:, 0] for edge in (0.034, 0.033)]
    for row, exact in zip(table, truth, strict=True):
        assert row["lower"] <= exact <= row["upper"]
        assert row["count"] == (exact if row["lower"] == row["upper"] else None)
    assert [row["lower"] for row in table[1::2]] == edges[0].tolist()
    assert [row["upper"] for row in table[1::2]] == edges[1].tolist()


def test_between_edges_the_range_is_shown_and_explained(tailwag, encoder, corpus):
    tailwag("count", "photos", "dog", "--threshold", 0.9, "--save")
    ladder = np.arange(-1000, 1001) / 1000
    counts = counted(encoder, corpus, query_concepts("dog"), ladder).counts[0]
    edge = int(np.argmax(np.diff(counts) < 0))  # a row lies between this edge and the next
    between = float((ladder[edge] + ladder[edge + 1]) / 2)
    status, out, _ = tailwag("count", "photos", "dog", "--threshold", between, "--rethreshold")
    sentence, explained, note = out.splitlines()
    assert status == 0
    assert sentence.startswith(f"{counts[edge + 1]}–{counts[edge]} of 60 images (")
    assert explained.startswith("1 of 1 counts are only known to lie in the range given, both ends included")
    assert "not a frequency" in note
    told = json.loads(tailwag("count", "photos", "dog", "--threshold", between, "--rethreshold", "--json")[1])
    assert (told["exact"], told["counts"][0]["count"]) == (False, None)
    assert (told["counts"][0]["lower"], told["counts"][0]["upper"]) == (counts[edge + 1], counts[edge])


def test_rethreshold_without_a_threshold_shows_the_ladder(tailwag, corpus, request):
    tailwag("count", "photos", "dog", "--threshold", 0.9, "--save")
    _, plain, _ = tailwag("count", "photos", "dog")
    request.getfixturevalue("no_model")
    _, out, _ = tailwag("count", "photos", "dog", "--rethreshold")
    assert [line.split() for line in out.splitlines()[1:-1]] == [line.split() for line in plain.splitlines()[1:-1]]


def test_a_stale_answer_is_called_stale(tailwag, corpus, vectors):
    tailwag("count", "photos", "dog", "--threshold", 0.9, "--save")
    corpus.append(rows_table(corpus.space, vectors[60:], prefix="new/"))
    status, out, err = tailwag("count", "photos", "dog", "--threshold", 0.1, "--rethreshold", "--json")
    told = json.loads(out)
    assert (status, told["stale"], told["corpus_version"], told["newest_version"]) == (0, True, 4, 5)
    assert err == (
        "tailwag: these counts hold for version 4 of corpus 'photos'; its newest is 5: count again with --save "
        f"--since {runs(corpus)[0]}\n"
    )
    status, _, err = tailwag("count", "photos", "dog", "--threshold", 0.1, "--rethreshold", "--version", 5)
    assert (status, "corpus 'photos' at version 5 are saved: count once with --save" in err) == (1, True)


def test_an_unknown_concept_is_one_line_with_what_is_saved(tailwag, corpus):
    tailwag("count", "photos", "dog", "--threshold", 0.9, "--save")
    status, out, err = tailwag("count", "photos", "unicorn", "--threshold", 0.1, "--rethreshold")
    assert (status, out) == (1, "")
    assert err == (
        "tailwag: no similarities of 'unicorn' are saved for corpus 'photos'; saved are 'dog': count it once with "
        "--save\n"
    )


def test_another_template_is_not_answered_silently(tailwag, corpus):
    asked = ("count", "photos", "dog", "--threshold", 0.1)
    tailwag(*asked, "--template", "a drawing of {}", "--save")
    status, _, err = tailwag(*asked, "--rethreshold")
    assert (status, err) == (
        0,
        "tailwag: no prototype of 'dog' as asked for is saved; the only saved one answers, by text "
        '"a drawing of dog"\n',
    )
    status, _, err = tailwag(*asked, "--template", "plain", "--rethreshold")
    assert (status, 'is saved with prototypes by text "a drawing of dog", none by text "a photo of a dog"' in err) == (
        1,
        True,
    )
    assert tailwag(*asked, "--template", "a drawing of {}", "--rethreshold")[2] == ""


# --since


def test_since_reads_only_what_changed_and_saves_again(tailwag, encoder, corpus, vectors, request):
    tailwag("count", "photos", *CIFAR, "--thresholds", "0,0.1", "--save")
    (first,) = runs(corpus)
    corpus.append(rows_table(corpus.space, vectors[60:75], prefix="new/"))
    request.getfixturevalue("no_model")
    status, out, err = tailwag("count", "photos", "--since", first, "--json")
    told = json.loads(out)
    expected = counted(encoder, corpus, load_concepts("cifar10"), [0, 0.1])
    assert status == 0
    assert [one["count"] for one in told["counts"]] == expected.counts.reshape(-1).tolist()
    assert (told["rows_read"], told["rows_reused"], told["since"]) == (15, 60, first)
    assert err.startswith(f"read 15 of 75 rows; 60 are as run {first} counted them at version 4\nsaved 20 counts as ")
    assert tailwag("verify", told["run"], "--all")[0] == 0
    status, out, _ = tailwag("count", "photos", *CIFAR, "--threshold", 0.05, "--rethreshold", "--json")
    assert json.loads(out)["corpus_version"] == 5


def test_since_a_version_takes_its_newest_saved_count(tailwag, encoder, corpus, vectors):
    tailwag("count", "photos", "dog", "--threshold", 0.1, "--save")
    tailwag("count", "photos", "cat", "--threshold", 0.1, "--save")
    corpus.delete("key IN ('20/3', '20/4')")
    status, out, err = tailwag("count", "photos", "--since", 4)
    assert (status, '"cat"' in out) == (0, True)
    assert err.splitlines()[0].startswith("read 18 of 58 rows; 40 are as run ")
    assert "no histograms are saved, since rows that it counted are gone or changed" in err
    status, out, err = tailwag("count", "photos", "dog", "--threshold", 0.1, "--since", 4)
    assert (status, '"dog"' in out) == (0, True)
    expected = counted(encoder, Corpus.open(corpus.database, "photos"), query_concepts("dog"), 0.1).counts[0, 0]
    assert out.startswith(f"{expected} of 58 images")


def test_since_refuses_what_was_not_counted(tailwag, corpus):
    status, _, err = tailwag("count", "photos", "--since", 4)
    assert (status, err) == (
        1,
        "tailwag: no saved count of corpus 'photos' at version 4; there is none: count with --save first\n",
    )
    tailwag("count", "photos", "dog", "--threshold", 0.1, "--save")
    status, _, err = tailwag("count", "photos", "dog", "--threshold", 0.2, "--since", 4)
    assert (status, "did not count 'dog' at 0.2, only at 0.1: pass one of these" in err) == (1, True)
    status, _, err = tailwag("count", "photos", "--since", 4, "--side", "text")
    assert (status, "no saved count of corpus 'photos' at version 4; there are for 4" in err) == (1, True)


def test_since_keeps_a_ladder_and_a_control(tailwag, encoder, corpus, vectors):
    tailwag("count", "photos", "dog", "--save")
    corpus.append(rows_table(corpus.space, vectors[60:75], prefix="new/"))
    status, out, _ = tailwag("count", "photos", "--since", 4)
    assert (status, out.splitlines()[1].split()) == (0, ["threshold", "count", "share"])
    half = CountQuery(
        prototypes_from_texts(query_concepts("dog"), encoder), [0.1, 0.2], control=sample(0.5), partials=True
    )
    run = save_counts(corpus, half, count(corpus, half)).run.name
    status, out, err = tailwag("count", "photos", "--since", run)
    assert (status, " images with u < 0.5, counted exactly" in out) == (0, True)
    assert "no histograms are saved, since it has none" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("dog", "--threshold", "0.1", "--rethreshold", "--save"),
        ("--image", "x.jpg", "--threshold", "0.1", "--rethreshold"),
        ("--since", "4", "--threshold", "0.1"),
        ("dog", "--threshold", "0.1", "--estimate", "--save"),
        ("--rethreshold",),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(tailwag, corpus, arguments):
    status, out, err = tailwag("count", "photos", *arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err


# diff


def test_diff_of_two_versions_shows_what_growing_did(tailwag, encoder, corpus, vectors, request):
    tailwag("count", "photos", *CIFAR, "--threshold", 0.0, "--save")
    corpus.append(rows_table(corpus.space, vectors[60:], prefix="new/"))
    request.getfixturevalue("no_model")
    status, out, err = tailwag("diff", "photos@4", "photos", "--json")
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert (told["first"]["rows"], told["second"]["rows"], told["rows_read"]) == (60, 90, 30)
    old = Corpus.open(corpus.database, "photos", 4)
    for one, first, second in zip(
        told["counts"],
        counted(encoder, old, load_concepts("cifar10"), 0.0),
        counted(encoder, corpus, load_concepts("cifar10"), 0.0),
        strict=True,
    ):
        assert (one["concept"], one["first_count"], one["second_count"]) == (first.concept, first.count, second.count)
        assert one["difference"] == second.count - first.count
        assert one["ratio"] == (second.share / first.share if first.count else None)
    status, out, _ = tailwag("diff", "photos@4", "photos")
    lines = out.splitlines()
    assert lines[0].startswith("first   corpus 'photos' (version 4, ")
    assert lines[1].endswith(": 90 images")
    assert lines[2].split()[:4] == ["concept", "threshold", "first", "second"]
    assert len(lines) == 3 + 10 + 1
    _, out, _ = tailwag("diff", "photos@4", "photos", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["first_count"] for row in rows] == [str(one["first_count"]) for one in told["counts"]]


def test_diff_counts_what_is_named_in_two_corpora(tailwag, encoder, corpus, vectors, tmp_path):
    other = make_corpus(tmp_path, vectors[30:90], name="filtered", space=encoder.space)
    asked = ("dog", "--thresholds", "-0.1,0", "--parquet", tmp_path / "diff.parquet")
    status, out, err = tailwag("diff", "photos", "filtered", *asked)
    assert (status, out, err) == (0, "", f"wrote 2 counts to {tmp_path / 'diff.parquet'}\n")
    for row, threshold in zip(pq.read_table(tmp_path / "diff.parquet").to_pylist(), (-0.1, 0), strict=True):
        for which, counted_in in (("first", corpus), ("second", other)):
            expected = counted(encoder, counted_in, query_concepts("dog"), threshold)
            assert (row[f"{which}_count"], row[f"{which}_rows"]) == (expected.counts[0, 0], expected.rows)


def test_diff_of_two_runs(tailwag, corpus):
    tailwag("count", "photos", *CIFAR, "--threshold", 0.1, "--save")
    corpus.delete("u < 0.5")
    tailwag("count", "photos", "--concepts", "cifar10", "--threshold", 0.1, "--save")
    second, first = runs(corpus)
    status, out, _ = tailwag("diff", first, second, "--json")
    told = json.loads(out)
    assert (status, told["rows_read"], len(told["counts"])) == (0, 0, 10)
    assert told["second"]["rows"] == len(Corpus.open(corpus.database, "photos")) < 60


def test_diff_without_anything_saved_asks_for_concepts(tailwag, corpus, tmp_path):
    status, _, err = tailwag("diff", "photos@2", "photos")
    assert (status, "name what to count with --concepts and --threshold" in err) == (1, True)
    make_corpus(tmp_path, random_unit(5, 32), name="foreign", space=make_space(32, weights="others"))
    status, _, err = tailwag("diff", "photos", "foreign", "dog", "--threshold", 0.1)
    assert (status, "compare within a space" in err) == (1, True)
    for arguments in (("dog",), ("--threshold", "0.1"), ("dog", "--concepts", "cifar10", "--threshold", "0.1")):
        assert tailwag("diff", "photos@2", "photos", *arguments)[0] == 2
