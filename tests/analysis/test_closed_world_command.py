"""`tailwag closed-world` as someone types it, and the pass over a corpus behind it."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tailwag.analysis.calibration.closed_world import METHODS, LabelledClasses, fit_shares
from tailwag.analysis.calibration.closed_world_counting import count_closed_world, labelled_classes
from tailwag.analysis.calibration.closed_world_frequencies import grade_class
from tailwag.analysis.calibration.labelled_rows import column_labels
from tailwag.embed.encoder import Encoder
from tailwag.errors import BadInput, SpaceMismatch
from tailwag.main import main
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.counting import similarities
from tailwag.retrieval.prototypes import PrototypeSet, prototypes_from_texts

from ..corpora import make_corpus, make_space, random_unit, unit

NAMES = ("zebra", "violin", "lighthouse")
SIZES = (300, 60, 12)


def class_rows(prototypes, sizes, seed):
    """Rows about the directions in which the prototypes differ: similar to their own class most of the time."""
    random = np.random.default_rng(seed)
    directions = prototypes.astype(float) - prototypes.astype(float).mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = random.normal(0, 0.1, (len(labels), prototypes.shape[1]))
    return unit(directions[labels] + noise + 1e-3), labels


@pytest.fixture(scope="module")
def database(tmp_path_factory, tiny_model):
    """`train` is labelled, forty of each class; `test` is not, and has other shares; `else` shows something else."""
    folder = tmp_path_factory.mktemp("closed")
    encoder = Encoder.load(tiny_model)
    concepts = ConceptSet("made", tuple(Concept(name) for name in NAMES))
    vectors = prototypes_from_texts(concepts, encoder).vectors
    rows, labels = class_rows(vectors, (40, 40, 40), 1)
    make_corpus(folder, rows, name="train", space=encoder.space, labels=[NAMES[one] for one in labels])
    make_corpus(folder, class_rows(vectors, SIZES, 2)[0], name="test", space=encoder.space)
    away = -vectors.astype(float).mean(axis=0) + np.random.default_rng(3).normal(0, 0.1, (100, vectors.shape[1]))
    make_corpus(folder, unit(away), name="else", space=encoder.space)
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    return folder


@pytest.fixture
def tailwag(database, capsys):
    """Run the command; gives exit status, standard output and standard error."""

    def run(*arguments, concepts="names.txt"):
        with pytest.raises(SystemExit) as caught:
            command = ["closed-world", *map(str, arguments), "--concepts", str(database / concepts)]
            main([*command, "--db", str(database)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_labels_of_one_corpus_tell_the_shares_of_another(tailwag):
    status, out, err = tailwag("test", "--labels", "column", "--labels-of", "train", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert answer["method"] == "em" and answer["rows"] == sum(SIZES)
    found = {one["concept"]: one for one in answer["frequencies"]}
    assert sum(one["estimate"] for one in found.values()) == pytest.approx(sum(SIZES))
    for name, truth in zip(NAMES, SIZES, strict=True):
        assert found[name]["lower"] <= truth <= found[name]["upper"]
        assert found[name]["labels"] == 40
    assert answer["low_similarity_share"] < 0.1


def test_a_table_for_people_and_a_file_for_programs(tailwag):
    status, out, _ = tailwag("train", "--labels", "column")
    assert status == 0 and "120 images, each of one of 3 classes; em, by the label column" in out
    assert out.rstrip().endswith("sum: 120 of 120 images.")
    status, out, _ = tailwag("test", "--labels", "column", "--labels-of", "train", "--method", "adjusted", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0 and [row["concept"] for row in rows] == list(NAMES)
    assert {row["method"] for row in rows} == {"adjusted"}


def test_without_labels_the_winner_is_counted_and_that_is_said(tailwag):
    status, out, err = tailwag("test", "--json")
    answer = json.loads(out)
    assert status == 0 and answer["method"] == "winner"
    assert "em learns from labels and there are none: rows are counted for the most similar class" in err
    assert all(one["lower"] is None and one["grade"] == "fragile" for one in answer["frequencies"])
    assert all(one["estimate"] == one["wins"] for one in answer["frequencies"])


def test_a_corpus_of_something_else_is_refused_and_with_open_graded_unsupported(tailwag):
    status, _, err = tailwag("else", "--labels", "column", "--labels-of", "train")
    assert status == 1 and "they show something else, and the world is not closed" in err
    status, out, _ = tailwag("else", "--labels", "column", "--labels-of", "train", "--open", "--json")
    assert status == 0
    assert {one["grade"] for one in json.loads(out)["frequencies"]} == {"unsupported"}


def test_kinds_among_the_classes_are_refused_before_a_model_is_loaded(tailwag, database):
    (database / "kinds.txt").write_text("zebra\nplains zebra\nviolin\n")
    status, _, err = tailwag("test", "--model", "nothing-of-this-name", concepts="kinds.txt")
    assert status == 1 and "'plains zebra' is a kind of 'zebra'" in err and "pass --open" in err


def test_a_class_without_labels_is_named(tailwag, database):
    path = database / "labels.csv"
    path.write_text("key,concept,label\ns/1,zebra,yes\ns/50,violin,yes\ns/3,lighthouse,no\n")
    status, _, err = tailwag("train", "--labels", path)
    assert status == 1 and "1 of 3 have none: 'lighthouse'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels-of", "train"], "pass --labels column or a file too"),
        (["--margin", "0.1"], "--margin goes with --method winner"),
        (["--json", "--csv", "-"], "both write to standard output"),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(tailwag, arguments, said):
    status, _, err = tailwag("test", *arguments)
    assert status == 2 and said in err


SPACE = make_space(16)
CONCEPTS = ConceptSet("made", tuple(Concept(name) for name in NAMES))
PROTOTYPES = PrototypeSet(NAMES, random_unit(3, 16), SPACE, ("made",) * 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    rows, labels = class_rows(PROTOTYPES.vectors, (30, 30, 30), 4)
    train = make_corpus(folder, rows, name="train", space=SPACE, labels=[NAMES[one] for one in labels])
    test = make_corpus(folder, class_rows(PROTOTYPES.vectors, SIZES, 5)[0], name="test", space=SPACE)
    return train, test, labelled_classes(train, column_labels(train, CONCEPTS), PROTOTYPES)


@pytest.mark.parametrize("method", METHODS)
def test_the_pass_gives_what_all_rows_at_once_would(made, method):
    _, test, labelled = made
    vectors = np.concatenate([block.vectors for block in test.scan()])
    fitted = fit_shares(method, labelled)
    expected = len(vectors) * fitted.from_rows(fitted.of_rows(similarities(vectors, PROTOTYPES.vectors)))
    found = count_closed_world(test, CONCEPTS, PROTOTYPES, labelled, method=method, replicates=5)
    np.testing.assert_allclose([one.estimate for one in found], expected, rtol=1e-9)
    assert sum(one.wins for one in found) == len(vectors)


def test_labelled_rows_come_with_their_similarities(made):
    train, _, labelled = made
    vectors = np.concatenate([block.vectors for block in train.scan()])
    np.testing.assert_array_equal(labelled.similarities, similarities(vectors, PROTOTYPES.vectors))
    assert labelled.sizes.tolist() == [30, 30, 30]


def test_em_takes_a_sample_where_the_table_would_be_too_great_and_says_so(made):
    _, test, labelled = made
    whole = count_closed_world(test, CONCEPTS, PROTOTYPES, labelled, replicates=30)
    part = count_closed_world(test, CONCEPTS, PROTOTYPES, labelled, replicates=30, most_kept=600)
    assert 100 < part.sampled < 280 and "shares were estimated on a sample of" in part.warnings[-1]
    assert sum(one.estimate for one in part) == pytest.approx(len(test))
    first, same = whole.frequencies[0], part.frequencies[0]
    assert same.upper - same.lower > first.upper - first.lower
    assert part.frequencies[0].lower < SIZES[0] < part.frequencies[0].upper


def test_what_is_no_closed_world_is_refused(made, tmp_path):
    train, test, labelled = made
    with pytest.raises(BadInput, match="two classes or more"):
        count_closed_world(test, CONCEPTS.select(NAMES[:1]), PROTOTYPES.select(NAMES[:1]))
    with pytest.raises(BadInput, match="no row at version"):
        count_closed_world(make_corpus(tmp_path, np.zeros((0, 16), np.float16), space=SPACE), CONCEPTS, PROTOTYPES)
    other = PrototypeSet(NAMES, PROTOTYPES.vectors, make_space(16, "others"), ("made",) * 3)
    with pytest.raises(SpaceMismatch, match="label a corpus of the same model"):
        labelled_classes(train, column_labels(train, CONCEPTS), other)
    nothing = LabelledClasses(labelled.similarities[:0], labelled.labels[:0])
    assert count_closed_world(test, CONCEPTS, PROTOTYPES, nothing).method == "winner"


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ((8, 14, 20, False, False), "sound"),
        ((8, 14, 3, False, False), "fragile"),
        ((8, 14, 20, False, True), "fragile"),
        ((4, 24, 20, False, False), "fragile"),
        ((1, 90, 20, False, False), "unsupported"),
        ((8, 14, 20, True, False), "unsupported"),
        ((float("nan"), float("nan"), 0, False, False), "fragile"),
    ],
)
def test_grades_follow_width_labels_and_openness(given, level):
    grade = grade_class(*given)
    assert grade.level == level and bool(grade.reasons) == (level != "sound")
