"""`tailwag count` as someone types it. The corpus is made of pictures by a real model, tiny and untrained."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailwag.embed.corpus import Corpus, sampling_number
from tailwag.embed.encoder import Encoder
from tailwag.embed.failures import Failure, Reason
from tailwag.main import main
from tailwag.retrieval.commands import BACKEND_NAMES
from tailwag.retrieval.concepts import load_concepts, query_concepts
from tailwag.retrieval.counting import BACKENDS, CountQuery, count
from tailwag.retrieval.prototypes import PrototypeSet, prototypes_from_texts
from tests.corpora import add_failures, make_corpus, make_space, random_unit


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def database(encoder, tmp_path_factory):
    """A corpus of 60 noisy pictures, 3 samples that failed; one of another space; one without rows."""
    folder = tmp_path_factory.mktemp("database")
    generator = np.random.default_rng(0)
    noise = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(60)]
    captions = [f"picture number {number}" for number in range(60)]
    corpus = make_corpus(
        folder, encoder.encode_images(noise), encoder.encode_texts(captions), name="photos", space=encoder.space
    )
    add_failures(corpus, [Failure("s/x", "s", Reason.NOT_AN_IMAGE, "text")] * 3)
    other = make_space(32, weights="others")
    make_corpus(folder, random_unit(5, 32), name="foreign", space=other)
    make_corpus(folder, random_unit(0, 32), name="empty", space=encoder.space)
    return folder


@pytest.fixture
def tailwag(database, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments, db=database):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(db)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def counted(encoder, database, concepts, thresholds, side="image"):
    query = CountQuery(prototypes_from_texts(concepts, encoder), thresholds, side)
    return count(Corpus.open(database, "photos"), query)


def middle(encoder, database, concept, side="image"):
    """A threshold that some but not all rows reach."""
    ladder = np.arange(-100, 101) / 100
    counts = counted(encoder, database, query_concepts(concept), ladder, side).counts[0]
    return float(ladder[np.argmax(counts < 40)])


def test_one_concept_is_answered_with_a_sentence(tailwag, encoder, database):
    threshold = middle(encoder, database, "red panda")
    expected = counted(encoder, database, query_concepts("red panda"), threshold).counts[0, 0]
    assert 0 < expected < 60
    status, out, err = tailwag("count", "photos", "red panda", "--threshold", threshold)
    assert (status, err) == (0, "")
    sentence, note = out.splitlines()
    assert sentence.startswith(f"{expected} of 60 images (")
    assert f"a similarity of at least {threshold} to \"red panda\" in corpus 'photos' (version 2, " in sentence
    assert sentence.endswith(", counted exactly; 3 more samples could not be embedded.")
    assert "not a frequency" in note


def test_the_text_side_counts_captions(tailwag, encoder, database):
    threshold = middle(encoder, database, "picture", "text")
    status, out, _ = tailwag("count", "photos", "picture", "--threshold", threshold, "--side", "text", "--json")
    expected = counted(encoder, database, query_concepts("picture"), threshold, "text").counts[0, 0]
    answer = json.loads(out)
    assert (status, answer["side"], answer["counts"][0]["count"]) == (0, "text", expected)


def test_without_a_threshold_a_ladder_is_shown_to_choose_from(tailwag):
    status, out, _ = tailwag("count", "photos", "red panda")
    lines = out.splitlines()
    assert status == 0
    assert "60 images, counted exactly" in lines[0]
    assert lines[1].split() == ["threshold", "count", "share"]
    rungs = [line.split() for line in lines[2:-1]]
    assert 2 <= len(rungs) <= 12
    counts = [int(rung[1]) for rung in rungs]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] < 30
    assert counts[-1] == 0
    assert "No threshold was given" in lines[-1]
    assert '`tailwag search photos "red panda" --html page.html`' in lines[-1]
    _, out, _ = tailwag("count", "photos", "red panda", "--json")
    whole = json.loads(out)["counts"]
    assert [one["threshold"] for one in whole] == [number / 100 for number in range(-100, 101)]
    assert {one["threshold_source"] for one in whole} == {"ladder"}


def test_an_empty_corpus_has_a_count_of_nothing(tailwag):
    _, out, _ = tailwag("count", "empty", "red panda", "--threshold", 0.1)
    assert out.startswith("0 of 0 images (0 %) have a similarity")
    assert tailwag("count", "empty", "red panda")[0] == 0


def test_many_concepts_make_a_table(tailwag, encoder, database):
    status, out, _ = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", "-1,0,1")
    lines = out.splitlines()
    assert status == 0
    assert lines[1].split() == ["concept", "≥", "-1", "≥", "0", "≥", "1"]
    expected = counted(encoder, database, load_concepts("cifar10"), [-1, 0, 1]).counts
    found = [line.split() for line in lines[2:12]]
    assert [row[0] for row in found] == list(load_concepts("cifar10").names)
    assert [[int(cell) for cell in row[1:]] for row in found] == expected.tolist()


def test_tables_can_be_taken_away(tailwag, encoder, database, tmp_path):
    files = ("--csv", tmp_path / "counts.csv", "--parquet", tmp_path / "counts.parquet")
    status, out, err = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", "0.1,0.123456789", *files)
    assert (status, out) == (0, "")
    assert err.count("wrote 20 counts to") == 2
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "counts.parquet").to_pylist()
    assert len(rows) == len(table) == 20
    for row, entry in zip(rows, table, strict=True):
        assert row == {key: str(value) for key, value in entry.items()}
    assert rows[1]["threshold"] == "0.123456789"
    _, out, _ = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", "0.1,0.123456789", "--csv", "-")
    assert list(csv.DictReader(io.StringIO(out))) == rows


def test_a_file_gives_each_concept_its_own_threshold_and_nothing_is_dropped_silently(tailwag, encoder, tmp_path):
    path = tmp_path / "thresholds.csv"
    path.write_text(
        "\ufeffconcept,threshold,space,source,recall,false_hit_rate\n"
        f"Dog,0.1,{encoder.space.fingerprint},labels of May,0.9,0.001\n"
        "ship,0.2,,,,\nunicorn,0.3,,,,\n"
    )
    status, out, err = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", path, "--json")
    answer = json.loads(out)
    assert status == 0
    assert [(one["concept"], one["threshold"], one["threshold_source"]) for one in answer["counts"]] == [
        ("dog", 0.1, "labels of May"),
        ("ship", 0.2, "thresholds.csv"),
    ]
    assert answer["thresholds_without_concept"] == ["unicorn"]
    assert len(answer["concepts_without_threshold"]) == 8
    assert "not counted for want of a threshold (8): airplane, automobile" in err
    assert "thresholds of no concept that was asked for (1): unicorn" in err


def test_example_pictures_are_a_prototype(tailwag, encoder, database, tmp_path):
    from tailwag.embed.corpus import Corpus

    paths = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path in paths:
        Image.new("RGB", (32, 32), path.stem).save(path)
    prototypes = PrototypeSet.of_images("both", [Image.open(path) for path in paths], encoder)
    expected = count(Corpus.open(database, "photos"), CountQuery(prototypes, 0.5)).counts[0, 0]
    images = [option for path in paths for option in ("--image", path)]
    _, out, _ = tailwag("count", "photos", *images, "--threshold", 0.5, "--json")
    (answer,) = json.loads(out)["counts"]
    assert (answer["concept"], answer["recipe"]) == ("red.png + blue.png", "mean of 2 example images")
    assert answer["count"] == expected


def test_templates_of_the_command_line_go_before_those_of_the_set(tailwag):
    _, out, _ = tailwag("count", "photos", "--concepts", "cifar10", "--threshold", 0.1, "--template", "{}!", "--json")
    assert json.loads(out)["counts"][2]["recipe"] == 'text "bird!"'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "dog", "--threshold", 0.1], "no corpus 'nothing' in "),
        (["foreign", "dog", "--threshold", 0.1], "open_clip knows no model 'made'"),
        (["photos", "dog", "--threshold", 3], "a similarity threshold lies between -1 and 1, and 3 was given"),
        (["photos", "dog", "--threshold", "nan"], "a similarity threshold lies between -1 and 1, and nan was given"),
        (["photos", "dog", "--thresholds", "0.2,1.5"], "and 1.5 was given"),
        (["photos", "dog", "--thresholds", "none.csv"], "neither numbers separated by commas"),
        (["photos", "dog", "--threshold", 0.1, "--model", "ViT-B-33"], "open_clip knows no model 'ViT-B-33'"),
        (["photos", "dog", "--threshold", 0.1, "--version", 77], "has no version 77; its newest is 2"),
        (["photos", "--concepts", "nothing", "--threshold", 0.1], "no concept set or file 'nothing'"),
        (["photos", "--image", "none.jpg", "--threshold", 0.1], "there is no picture none.jpg"),
        (["photos", "dog", "--threshold", 0.1, "--csv", "/none/counts.csv"], "there is no folder /none"),
        (["photos", "dog", "--threshold", 0.1, "--template", "a photo"], "has no {} where the name goes"),
        (["photos", "", "--threshold", 0.1], "the concept is empty"),
    ],
)
def test_a_mistake_is_told_in_one_line(tailwag, arguments, message):
    status, out, err = tailwag("count", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("tailwag: ")
    assert err.count("\n") == 1
    assert message in err


def test_an_unreadable_picture_is_told_in_one_line(tailwag, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    status, _, err = tailwag("count", "photos", "--image", tmp_path / "text.jpg", "--threshold", 0.1)
    assert status == 1
    assert err.count("\n") == 1
    assert "cannot be used (not an image" in err


def test_a_model_of_another_space_is_refused(tailwag, tmp_path):
    from tests.conftest import make_tiny_model

    other = make_tiny_model(tmp_path / "other", seed=1)
    status, _, err = tailwag("count", "photos", "dog", "--threshold", 0.1, "--model", f"local-dir:{other}")
    assert status == 1
    assert err.count("\n") == 1
    assert "they differ in weights" in err
    assert "pass --model" in err


def test_thresholds_of_another_space_are_refused(tailwag, tmp_path):
    path = tmp_path / "thresholds.csv"
    path.write_text("concept,threshold,space\ndog,0.1,0123456789abcdef\n")
    status, _, err = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", path)
    assert status == 1
    assert "the threshold of 'dog'" in err
    assert "holds in space 0123456789abcdef" in err


def test_all_mistakes_of_a_file_of_thresholds_are_told(tailwag, tmp_path):
    path = tmp_path / "thresholds.csv"
    path.write_text("concept,threshold\ndog,high\nDOG,2\n,0.1\n")
    _, _, err = tailwag("count", "photos", "--concepts", "cifar10", "--thresholds", path)
    for part in (
        "has 4 mistakes",
        "line 2: the threshold of 'dog' is 'high'",
        "line 3: 'DOG' stands in line 2",
        "is 2,",
    ):
        assert part in err
    path.write_text("name,threshold\ndog,0.1\n")
    assert "has no column 'concept'" in tailwag("count", "photos", "dog", "--thresholds", path)[2]
    path.write_text("concept,threshold\nunicorn,0.1\n")
    assert "gives none of the 1 concepts a threshold" in tailwag("count", "photos", "dog", "--thresholds", path)[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos"],
        ["photos", "dog", "--concepts", "cifar10", "--threshold", 0.1],
        ["photos", "dog", "--image", "x.jpg"],
        ["photos", "--concepts", "cifar10"],
        ["photos", "dog", "--threshold", 0.1, "--thresholds", "0.2"],
        ["photos", "dog", "--threshold", "high"],
        ["photos", "dog", "--threshold", 0.1, "--side", "caption"],
        ["photos", "dog", "--threshold", 0.1, "--examples"],
        ["photos", "--image", "x.jpg", "--template", "{}", "--threshold", 0.1],
        ["photos", "dog", "--threshold", 0.1, "--json", "--csv", "-"],
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(tailwag, arguments):
    status, out, err = tailwag("count", *arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err


def test_help_ends_with_an_example(tailwag, capsys):
    for command in ("count", "info"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"Example:\n    tailwag {command}" in capsys.readouterr().out


@pytest.mark.photos
def test_airplanes_are_counted_by_their_name_with_a_trained_model(data, tmp_path, capsys):
    import io as bytes_io
    import tarfile

    encoder = Encoder.load(f"local-dir:{data / 'models' / 'mini'}", device="cpu")
    pictures, labels = [], []
    with tarfile.open(data / "data/photos/caltech101/00000.tar") as shard:
        members = {member.name: member for member in shard.getmembers()}
        for name in sorted(name for name in members if name.endswith(".jpg"))[:60]:
            pictures.append(Image.open(bytes_io.BytesIO(shard.extractfile(members[name]).read())))
            metadata = shard.extractfile(members[name.replace(".jpg", ".json")]).read()
            labels.append(json.loads(metadata)["label_name"])
    vectors = encoder.encode_images(pictures)
    make_corpus(tmp_path, vectors, name="photos", space=encoder.space, labels=labels)
    with pytest.raises(SystemExit):
        main(["count", "photos", "airplane", "--threshold", "0.5", "--json", "--db", str(tmp_path)])
    (answer,) = json.loads(capsys.readouterr().out)["counts"]
    assert labels.count("airplane") > 0
    assert abs(answer["count"] - labels.count("airplane")) <= 2


def test_hits_within_a_margin_and_on_both_sides_are_counted_beside(tailwag, encoder, database):
    concepts = "pascal"
    arguments = ("count", "photos", "--concepts", concepts, "--threshold", "-1", "--backend", "cpu")
    status, out, _ = tailwag(*arguments, "--margin", "0.01", "--other-threshold", "0.3", "--json")
    assert status == 0
    query = CountQuery(prototypes_from_texts(load_concepts(concepts), encoder), -1, margin=0.01, other_thresholds=0.3)
    expected = count(Corpus.open(database, "photos"), query, "reference")
    for one, margin, both in zip(
        json.loads(out)["counts"], expected.margin_counts[:, 0], expected.both_counts[:, 0], strict=True
    ):
        assert (one["count"], one["margin_count"], one["both_count"]) == (60, margin, both)
    assert 0 < expected.margin_counts.sum() < 60 * len(query.prototypes)
    _, out, _ = tailwag(*arguments, "--margin", "0.01")
    assert out.splitlines()[1].split() == ["concept", "threshold", "count", "share", "within", "margin"]
    _, out, _ = tailwag(*arguments, "--margin", "0.01", "--csv", "-")
    assert [int(row["margin_count"]) for row in csv.DictReader(io.StringIO(out))] == expected.margin_counts[
        :, 0
    ].tolist()
    _, out, _ = tailwag("count", "photos", "a dog", "--threshold", "-1", "--other-threshold", "-1")
    assert "counted exactly; 60 of them reach the other side's threshold too; 3 more samples" in out


def test_only_rows_that_fulfil_a_condition_are_counted(tailwag):
    condition = "u < 0.5 AND width >= 640"
    status, out, _ = tailwag("count", "photos", "a dog", "--threshold", "-1", "--where", condition, "--json")
    assert status == 0
    found = json.loads(out)
    expected = sum(sampling_number(f"s/{row}") < 0.5 for row in range(60))
    assert (found["control"], found["rows"], found["counts"][0]["count"]) == (condition, expected, expected)
    status, _, err = tailwag("count", "photos", "a dog", "--threshold", "-1", "--where", "colour = 'red'")
    assert status == 1 and "the condition \"colour = 'red'\" cannot be evaluated on corpus 'photos'" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("a dog", "--threshold", "0.2", "--margin", "0.1"),
        ("a dog", "--threshold", "0.2", "--where", "u < 0.5", "--rethreshold"),
        ("a dog", "--threshold", "0.2", "--other-threshold", "0.5", "--estimate"),
        ("a dog", "--threshold", "0.2", "--other-threshold", "0.5", "--rethreshold"),
    ],
)
def test_options_that_need_a_full_count_are_a_usage_error_without_one(tailwag, arguments):
    status, _, err = tailwag("count", "photos", *arguments)
    assert status == 2
    assert "goes with --concepts" in err or "with a full count" in err


def test_every_backend_can_be_named(tailwag):
    assert set(BACKEND_NAMES) == {"auto", "cpu", *BACKENDS}
    status, _, err = tailwag("count", "photos", "a dog", "--threshold", "0.2", "--backend", "gpu")
    assert status == 2 and "'gpu' is not one of" in err
