"""Frequencies that are saved: told first by `tailwag count`, for the rows they hold for, and carried only by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tailwag.analysis.calibration.calibrating import CalibratedFrequencies, calibrate
from tailwag.analysis.calibration.saved import save_frequencies, transfer_frequencies
from tailwag.embed.corpus import Corpus
from tailwag.errors import BadInput, NotFound, SpaceMismatch
from tailwag.main import main
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.records import load_certificate
from tailwag.retrieval.records.saved_frequencies import find_frequencies, with_frequencies

from ..corpora import make_corpus, random_unit, rows_table
from .made_calibration import NAME, TRUE, made_concept, make_known_corpus


@pytest.fixture
def corpus(tmp_path, tiny_model):
    return make_known_corpus(tmp_path, tiny_model)


@pytest.fixture
def tailwag(corpus, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments), "--db", str(corpus.database.folder)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


def test_counting_tells_a_saved_frequency_first_and_the_raw_count_beside_it(tailwag):
    raw = tailwag("count", "made", NAME, "--threshold", 0.45)[1]
    assert "About" not in raw
    status, _, err = tailwag("calibrate", "made", NAME, "--save")
    assert status == 0 and "saved 1 frequencies as run" in err
    first, *rest = tailwag("count", "made", NAME, "--threshold", 0.45)[1].splitlines()
    assert first.startswith("About ") and "(95 %)" in first and ": sound, by captions" in first
    assert rest == raw.splitlines()
    assert tailwag("count", "made", NAME)[1].splitlines()[0] == first
    told = json.loads(tailwag("count", "made", NAME, "--threshold", 0.45, "--json")[1])
    assert told["frequencies"][0]["concept"] == NAME and told["frequencies"][0]["lower"] < TRUE
    assert "frequencies" not in json.loads(tailwag("count", "made", "zebra", "--threshold", 0.45, "--json")[1])


def test_a_table_of_counts_has_frequencies_right_after_the_concepts(tailwag, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("zebra\nred panda\n")
    tailwag("calibrate", "made", NAME, "--save")
    lines = tailwag("count", "made", "--concepts", names, "--threshold", 0.45)[1].splitlines()
    assert re.split(r"\s{2,}", lines[1]) == [
        "concept", "frequency", "from", "to", "grade", "threshold", "count", "share"
    ]  # fmt: skip
    assert lines[2].split()[0] == "zebra" and lines[3].startswith("red panda") and "sound" in lines[3]


def test_nothing_is_told_of_other_sides_and_of_rows_left_out(tailwag):
    tailwag("calibrate", "made", NAME, "--save")
    assert "About" not in tailwag("count", "made", NAME, "--threshold", 0.4, "--side", "text")[1]
    assert "About" not in tailwag("count", "made", NAME, "--threshold", 0.4, "--where", "width > 1")[1]


def test_another_version_says_that_it_is_not_calibrated(tailwag, corpus):
    tailwag("calibrate", "made", NAME, "--save")
    Corpus.open(corpus.database, "made").append(rows_table(corpus.space, random_unit(3, 32), prefix="new/"))
    status, out, err = tailwag("count", "made", NAME, "--threshold", 0.4)
    assert status == 0 and "About" not in out
    assert "'red panda' was calibrated for other rows of 'made'" in err and "--transfer made@VERSION" in err
    assert "About" in tailwag("count", "made", NAME, "--threshold", 0.4, "--version", corpus.version)[1]


def test_a_frequency_by_labels_stays_before_one_without(tailwag, corpus, tmp_path):
    audit = ("--audit", 40, "--label-column", "--out", tmp_path / "audit")
    assert tailwag("calibrate", "made", NAME, *audit, "--save")[0] == 0
    tailwag("calibrate", "made", NAME, "--save")
    assert find_frequencies(corpus, [NAME]).current[NAME].method == "audit of 40 labels"
    tailwag("calibrate", "made", NAME, *(*audit[:1], 60, *audit[2:]), "--save")
    assert find_frequencies(corpus, [NAME]).current[NAME].method == "audit of 60 labels"


def test_what_is_saved_is_what_was_found_and_its_count_is_vouched_for(corpus, tiny_model):
    done = calibrate(corpus, *made_concept(tiny_model))
    certificate = save_frequencies(corpus, done.table(), done.prototypes)
    saved = find_frequencies(corpus, [NAME.upper().replace(" ", "_")]).current
    (one,) = saved.values()
    assert (one.estimate, one.lower, one.upper) == (done[0].estimate, done[0].lower, done[0].upper)
    assert (one.grade, one.method, one.count) == (done[0].grade, done[0].method, done[0].count)
    assert load_certificate(corpus.database, one.run).counts[0, 0] == certificate.counts[0, 0] == one.count


def test_a_frequency_without_an_estimate_is_no_frequency(corpus, tiny_model):
    done = calibrate(corpus, *made_concept(tiny_model))
    nan = float("nan")
    unknown = replace(done[0], estimate=nan, lower=nan, upper=nan)
    save_frequencies(corpus, CalibratedFrequencies(corpus.space, (unknown,)), done.prototypes)
    assert find_frequencies(corpus, [NAME]).current == {}


def test_frequencies_of_another_corpus_or_of_other_prototypes_are_not_saved(corpus, tmp_path, tiny_model):
    done = calibrate(corpus, *made_concept(tiny_model))
    other = make_known_corpus(tmp_path, tiny_model, name="other", seed=1)
    with pytest.raises(BadInput, match="is of corpus 'made'"):
        save_frequencies(other, done.table(), done.prototypes)
    renamed = PrototypeSet(("zebra",), done.prototypes.vectors, corpus.space, done.prototypes.recipes)
    with pytest.raises(BadInput, match="not those of the frequencies"):
        save_frequencies(corpus, done.table(), renamed)


def test_a_frequency_is_carried_by_name_at_best_fragile_and_less_sure(corpus, tmp_path, tiny_model):
    done = calibrate(corpus, *made_concept(tiny_model))
    save_frequencies(corpus, done.table(), done.prototypes)
    bare = make_known_corpus(tmp_path, tiny_model, name="bare", captions=False, seed=2)
    carried, missing = transfer_frequencies(corpus, bare, done.prototypes)
    (one,) = carried
    assert missing == () and one.grade == "fragile" and "corpus 'made' at version 2" in one.reasons[0]
    assert one.lower < TRUE < one.upper
    assert one.estimate == pytest.approx(one.count * done[0].estimate / done[0].count)
    assert np.log(one.upper / one.lower) > np.log(done[0].upper / done[0].lower)
    save_frequencies(bare, carried, done.prototypes)
    assert find_frequencies(bare, [NAME]).current[NAME].method.startswith("transfer from")


def test_a_carried_frequency_is_refused_where_it_means_nothing(corpus, tmp_path, tiny_model):
    concepts, prototypes = made_concept(tiny_model)
    bare = make_known_corpus(tmp_path, tiny_model, name="bare", captions=False, seed=2)
    with pytest.raises(NotFound, match="no frequency of these concepts is saved"):
        transfer_frequencies(corpus, bare, prototypes)
    done = calibrate(corpus, concepts, prototypes)
    save_frequencies(corpus, done.table(), prototypes)
    with pytest.raises(SpaceMismatch, match="holds in its own space"):
        transfer_frequencies(corpus, make_corpus(tmp_path, random_unit(9, 32), name="foreign"), prototypes)
    otherwise = PrototypeSet(prototypes.names, prototypes.vectors, prototypes.space, ("some other way",))
    with pytest.raises(BadInput, match="ask in the same way"):
        transfer_frequencies(corpus, bare, otherwise)


def test_transfer_on_the_command_line(tailwag, corpus, tmp_path, tiny_model):
    make_known_corpus(tmp_path, tiny_model, name="bare", captions=False, seed=2)
    tailwag("calibrate", "made", NAME, "--save")
    status, out, _ = tailwag("calibrate", "bare", NAME, "--transfer", f"made@{corpus.version}", "--save")
    assert status == 0 and "fragile, since threshold and correction are of corpus 'made'" in out
    assert "transfer from corpus 'made'" in tailwag("count", "bare", NAME, "--threshold", 0.4)[1]
    assert tailwag("calibrate", "bare", NAME, "--transfer", "made", "--audit", 30)[0] == 2


def test_rows_of_a_table_keep_their_cells():
    headings, rows = with_frequencies(["concept", "count"], [["a", "1"], ["b", "2"]], {})
    assert headings == ["concept", "frequency", "from", "to", "grade", "count"]
    assert rows == [["a", "", "", "", "", "1"], ["b", "", "", "", "", "2"]]
