"""`tailwag thresholds` as someone types it: from labels to a file that `tailwag count` takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tailwag.analysis.calibration.labelled_rows import column_labels, file_labels
from tailwag.errors import BadInput
from tailwag.main import main
from tailwag.retrieval.concepts import Concept, ConceptSet, query_concepts
from tailwag.retrieval.counting import similarities
from tailwag.retrieval.counting.bins import BINS, bin_of

from ..corpora import make_corpus, make_prototypes, random_unit
from .made_calibration import NAME, ROWS, TRUE, make_known_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, tiny_model):
    return make_known_corpus(tmp_path_factory.mktemp("labelled"), tiny_model)


@pytest.fixture
def tailwag(corpus, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(corpus.database.folder)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def write(path, lines):
    path.write_text("key,concept,label\n" + "".join(f"{line}\n" for line in lines))
    return path


def labels_file(path, rows=ROWS, step=7):
    """Every seventh row, labelled with the truth."""
    wanted = range(0, rows, step)
    return write(path, [f"s/{row},{NAME},{'yes' if row % (ROWS // TRUE) == 0 else 'no'}" for row in wanted])


def test_the_label_column_gives_a_file_that_count_takes(tailwag, tmp_path):
    out = tmp_path / "thresholds.csv"
    status, text, err = tailwag("thresholds", "made", NAME, "--labels", "column", "--centre", "no", "-o", out)
    assert status == 0, err
    assert NAME in text and f"written to {out}" in text
    assert "3,600 rows are labelled with what none of the concepts is called" in err
    status, text, _ = tailwag("count", "made", NAME, "--thresholds", out, "--json")
    (found,) = json.loads(text)["counts"]
    assert status == 0 and abs(found["count"] - TRUE) <= 2
    assert found["threshold_source"].startswith(
        "equal-counts on 4,000 labelled rows, 400 of them yes; the label column"
    )


def test_a_file_of_labels_gives_nearly_the_same(tailwag, tmp_path):
    path = labels_file(tmp_path / "labels.csv")
    status, text, _ = tailwag("thresholds", "made", NAME, "--labels", path, "--centre", "no", "--json")
    (found,) = json.loads(text)["thresholds"]
    assert status == 0 and found["labelled"] == -(-ROWS // 7)
    assert 0.35 < found["threshold"] < 0.6
    assert found["recall_lower"] <= found["recall"] <= found["recall_upper"]


def test_a_rule_without_labels_warns(tailwag):
    status, text, err = tailwag("thresholds", "made", NAME, "--rule", "null", "--centre", "no", "--json")
    assert status == 0 and "thicker than a normal one" in err
    assert json.loads(text)["thresholds"][0]["recall"] is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"nowhere,{NAME},yes"], "line 2: corpus 'made' has no row 'nowhere' (version 2)"),
        ([f"s/1,{NAME},yes", f"s/1,{NAME},no"], "line 3: 's/1' is 'no', and 'yes' in line 2"),
        ([f"s/{row},{NAME},no" for row in range(1, 31)], "0 labels that say yes and 30 that say no"),
        ([f"s/{row},{NAME},yes" for row in range(0, 50, 10)], "5 labels, under 10"),
        (["s/1,zebra,yes"], "says yes or no of none of the 1 concepts: it labels 'zebra'"),
        ([f"s/1,{NAME},perhaps"], "line 2: the label of 's/1' is 'perhaps', not yes, no or unsure"),
    ],
)
def test_labels_that_cannot_be_used_get_one_clear_line(tailwag, tmp_path, lines, said):
    path = write(tmp_path / "labels.csv", lines)
    status, _, err = tailwag("thresholds", "made", NAME, "--labels", path, "--centre", "no")
    assert status == 1 and said in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name what thresholds are for"),
        ([NAME], "learns from labels"),
        ([NAME, "--labels", "column", "--rule", "null"], "uses no labels"),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(tailwag, arguments, said):
    status, _, err = tailwag("thresholds", "made", *arguments)
    assert status == 2 and said in err


CONCEPTS = ConceptSet("two", (Concept("cat", ("kitten",)), Concept("dog")))


def small_corpus(folder, labels):
    return make_corpus(folder, random_unit(len(labels), 8), labels=labels)


def test_the_column_knows_synonyms_and_any_case_and_what_is_unlabelled_is_left_out(tmp_path):
    corpus = small_corpus(tmp_path, ["Cat", "kitten", "dog", None, "cow", "DOG"])
    found = column_labels(corpus, CONCEPTS)
    assert found.labelled.tolist() == [True, True, True, False, True, True]
    assert found.shown.offsets.tolist() == [0, 1, 2, 5] and found.shown.concepts.tolist() == [0, 0, 1, 1]
    assert found.notes[0].startswith("1 rows are labelled with what none") and "'cow'" in found.notes[0]
    offsets, numbers = found.classes()
    assert offsets.tolist() == [0, 1, 2, 5] and numbers.tolist() == [0, 0, 1, 1]


def test_a_column_without_labels_and_one_without_these_concepts_are_told(tmp_path):
    with pytest.raises(BadInput, match="is empty: pass a file of labels"):
        column_labels(small_corpus(tmp_path / "a", [None, None]), CONCEPTS)
    with pytest.raises(BadInput, match="names none of the 2 concepts: it has 'cow'"):
        column_labels(small_corpus(tmp_path / "b", ["cow", None]), CONCEPTS)


def test_histograms_are_those_of_a_loop_over_the_labels(tmp_path):
    corpus = small_corpus(tmp_path, ["cat", "dog", None, "cow"] * 30)
    vectors = np.concatenate([block.vectors for block in corpus.scan()])
    prototypes = make_prototypes(random_unit(2, 8, seed=4), corpus.space)
    concepts = ConceptSet("q", tuple(Concept(name) for name in prototypes.names))
    path = tmp_path / "labels.csv"
    lines = [f"s/{row},query {row % 2},{'yes' if row % 3 else 'no'}" for row in range(0, 120, 5)]
    found = file_labels(write(path, [*lines, "s/7,query 1,unsure", "s/8,query 0,", "s/1,zebra,no"]), corpus, concepts)
    shown, absent = found.histograms(corpus, prototypes, backend="reference")
    scores = similarities(vectors, prototypes.vectors)
    expected = np.zeros((2, 2, BINS), dtype=int)
    for row in range(0, 120, 5):
        expected[int(row % 3 == 0), row % 2, bin_of(scores[row, row % 2])] += 1
    np.testing.assert_array_equal(shown, expected[0])
    np.testing.assert_array_equal(absent, expected[1])
    assert found.notes == (
        "1 labels are of concepts that were not asked for: 'zebra'",
        "1 labels are unsure and 1 empty: they say nothing",
    )


def test_two_names_of_one_concept_that_disagree_are_a_contradiction(tmp_path):
    corpus = small_corpus(tmp_path, [None] * 3)
    path = write(tmp_path / "labels.csv", ["s/1,cat,yes", "s/1,kitten,no"])
    with pytest.raises(BadInput, match="line 3: 's/1' is 'no', and 'yes' in line 2"):
        file_labels(path, corpus, CONCEPTS)
    path = write(tmp_path / "labels.csv", ["s/1,,yes"])
    with pytest.raises(BadInput, match="no concept is named, and there are 2 of them"):
        file_labels(path, corpus, CONCEPTS)
    assert len(file_labels(path, corpus, query_concepts("cat"))) == 1


def test_a_row_of_two_classes_is_none_of_a_closed_world(tmp_path):
    corpus = small_corpus(tmp_path, [None] * 3)
    path = write(tmp_path / "labels.csv", ["s/1,cat,yes", "s/1,dog,yes", "s/2,dog,no"])
    with pytest.raises(BadInput, match="one row shows 'cat' and 'dog'"):
        file_labels(path, corpus, CONCEPTS).classes()
