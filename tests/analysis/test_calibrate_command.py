"""`tailwag calibrate` as someone types it: frequencies without a label."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tailwag.analysis.calibration.calibrating import calibrate, sensitivity
from tailwag.errors import BadInput
from tailwag.main import main
from tailwag.retrieval.concepts import query_concepts
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.counting.bins import BINS, EDGES, bin_of
from tailwag.retrieval.records.saved_frequencies import format_rows

from .made_calibration import NAME, ROWS, TRUE, made_concept, make_known_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("calibrated")
    make_known_corpus(folder, tiny_model, name="bare", captions=False)
    return make_known_corpus(folder, tiny_model)


@pytest.fixture
def tailwag(corpus, capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["calibrate", *map(str, arguments), "--db", str(corpus.database.folder)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_one_concept_is_answered_with_a_sentence_that_holds_the_truth(tailwag):
    status, out, _ = tailwag("made", NAME)
    assert status == 0
    assert out.startswith("About ") and out.count("\n") == 1
    assert f"of 4,000 rows show \"{NAME}\" in corpus 'made' (version 2)" in out
    assert "captions that name it" in out and "raw count" not in out


def test_the_numbers_hold_the_truth_and_a_raw_count_far_off_says_so(tailwag):
    status, out, _ = tailwag("made", NAME, "--threshold", 0.2, "--json")
    assert status == 0
    (found,) = json.loads(out)["frequencies"]
    assert found["lower"] < TRUE < found["upper"]
    assert abs(np.log10(found["estimate"] / TRUE)) < 0.1
    assert found["count"] > 4 * TRUE
    assert found["method"] == "captions" and found["grade"] in ("sound", "fragile")
    assert found["sensitivity"] < 0


def test_without_captions_nothing_is_made_up(tailwag):
    status, out, _ = tailwag("bare", NAME, "--json")
    (found,) = json.loads(out)["frequencies"]
    assert status == 0
    assert found["estimate"] is found["lower"] is found["upper"] is None
    assert found["grade"] == "unsupported"
    assert any("caption" in reason for reason in found["reasons"])
    assert "cannot be told" in tailwag("bare", NAME)[1]


def test_a_set_is_a_table_and_files_hold_every_digit(tailwag, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("red panda\nsomething\nzebra\n")
    status, out, _ = tailwag("made", "--concepts", names, "--csv", "-")
    rows = {row["concept"]: row for row in csv.DictReader(io.StringIO(out))}
    assert status == 0 and list(rows) == ["red panda", "something", "zebra"]
    assert rows["zebra"]["grade"] == "unsupported" and rows["zebra"]["mentions"] == "0"
    assert tailwag("made", "--concepts", names, "--parquet", tmp_path / "f.parquet")[0] == 0
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["estimate"].to_pylist()[0] == float(rows["red panda"]["estimate"])
    assert b"tailwag:space" in table.schema.metadata
    told = tailwag("made", "--concepts", names)[1]
    assert "unsupported" in told and "zebra" in told


def test_synonyms_count_as_mentions(tailwag):
    def mentions(*more):
        return json.loads(tailwag("made", "giraffe", *more, "--json")[1])["frequencies"][0]["mentions"]

    assert mentions() == 0
    assert mentions("--synonym", "something else") > ROWS / 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["made"], "Name what to calibrate"),
        (["made", NAME, "--concepts", "world"], "Name what to calibrate"),
        (["made", "--concepts", "world", "--synonym", "x"], "--synonym goes with a CONCEPT"),
        (["made", NAME, "--json", "--csv", "-"], "both write to standard output"),
        (["made", NAME, "--thresholds", "0.1,0.2"], "names a file"),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(tailwag, arguments, said):
    status, _, err = tailwag(*arguments)
    assert status == 2 and said in err


def test_a_threshold_that_cannot_be_is_refused_before_anything_is_read(tailwag):
    status, _, err = tailwag("made", NAME, "--threshold", 1.2)
    assert (status, err.count("\n")) == (1, 1) and "between -1 and 1" in err


def test_without_a_threshold_the_raw_count_is_told_where_it_is_nearest_to_the_frequency(corpus, tiny_model):
    concepts, prototypes = made_concept(tiny_model)
    done = calibrate(corpus, concepts, prototypes)
    (one,) = done
    again = count(corpus, CountQuery(prototypes, one.threshold))
    assert one.count == again.counts[0, 0]
    assert not one.has_given_threshold
    everywhere = [int((done.rows_by_similarity[0])[edge:].sum()) for edge in range(BINS)]
    assert abs(one.count - one.estimate) == min(abs(number - one.estimate) for number in everywhere)


def test_prototypes_of_other_concepts_are_refused(corpus, tiny_model):
    with pytest.raises(BadInput, match="not those of"):
        calibrate(corpus, query_concepts("zebra"), made_concept(tiny_model)[1])


def test_sensitivity_is_the_slope_of_the_logarithm_of_the_count():
    histogram = np.zeros(BINS, dtype=np.int64)
    middle = int(bin_of(np.array([0.3]))[0])
    histogram[middle - 5 : middle + 5] = 100
    histogram[middle + 5 :] = 1
    above = int(histogram[middle + 5 :].sum())
    expected = np.log(above + 0.5) - np.log(above + 1000 + 0.5)
    assert sensitivity(histogram, float(EDGES[middle])) == pytest.approx(expected)
    assert sensitivity(np.zeros(BINS, np.int64), 0.3) == 0


def test_rows_are_written_as_precisely_as_they_are_known():
    assert [format_rows(one) for one in (0.0, 3.14159, 9.96, 99.5, 1234.5, 123_456.7, float("nan"))] == [
        "0",
        "3.1",
        "10",
        "100",
        "1,230",
        "123,000",
        "unknown",
    ]
