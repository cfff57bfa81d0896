"""Saved counts: what stands in the tables, that no save is lost, and counts at new thresholds from histograms."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import lance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.corpus_info import list_corpora
from tailwag.retrieval.counting import Control, CountQuery, Mentions, count, sample, similarities, where
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.records import Estimates, Run, find_runs, load_certificate, rethreshold, save_counts
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

DIMENSION = 16
WHAT = ["corpus", "corpus_version", "concept", "side", "recipe", "threshold", "threshold_source", "control"]
FREQUENCY_COLUMNS = [*WHAT, "count", "rows", "estimate", "lower", "upper", "method", "grade", "run", "created"]


@pytest.fixture
def corpus(tmp_path):
    return make_corpus(tmp_path, clustered_unit(400, DIMENSION), clustered_unit(400, DIMENSION, seed=5))


@pytest.fixture
def prototypes():
    return make_prototypes(random_unit(3, DIMENSION, 9))


def saved(corpus, prototypes, thresholds, **asked):
    query = CountQuery(prototypes, thresholds, histogram=True, partials=True, **asked)
    result = count(corpus, query)
    return result, save_counts(corpus, query, result)


def test_a_saved_count_stands_in_frequencies_as_the_design_says(corpus, prototypes):
    before = datetime.now(UTC)
    result, certificate = saved(corpus, prototypes, [0.1, 0.3], threshold_sources=["given", "labels", "given"])
    dataset = corpus.database.open_table("frequencies")
    rows = dataset.to_table().to_pylist()
    assert dataset.schema.names == FREQUENCY_COLUMNS
    assert [(row["concept"], row["threshold"], row["count"]) for row in rows] == [
        (one.concept, one.threshold, one.count) for one in result
    ]
    for row in rows:
        assert (row["corpus"], row["corpus_version"], row["side"], row["control"]) == ("made", 2, "image", "")
        assert (row["rows"], row["recipe"], row["run"]) == (400, "made", certificate.run.name)
        assert before <= row["created"] <= datetime.now(UTC)
        assert [row[name] for name in ("estimate", "lower", "upper", "method", "grade")] == [None] * 5
    assert [row["threshold_source"] for row in rows[1:4]] == ["given", "labels", "labels"]


def test_estimates_are_saved_beside_their_counts_and_null_where_there_are_none(corpus, prototypes):
    query = CountQuery(prototypes, [0.1, 0.3], partials=True)
    values = np.array([[1.5, np.nan], [2, 3], [np.nan, np.nan]])
    names = [["m", None], ["m", "n"], [None, None]]
    save_counts(corpus, query, count(corpus, query), estimates=Estimates(values, values - 1, values + 1, names, names))
    rows = corpus.database.open_table("frequencies").to_table().to_pylist()
    assert [row["estimate"] for row in rows] == [1.5, None, 2, 3, None, None]
    assert [row["lower"] for row in rows] == [0.5, None, 1, 2, None, None]
    assert [row["grade"] for row in rows] == ["m", None, "m", "n", None, None]


def test_histograms_are_saved_with_their_prototypes_and_bins(corpus, prototypes):
    mentions = Mentions(np.array([3, 5, 5]), np.array([0, 0, 2], np.int32))
    result, certificate = saved(corpus, prototypes, 0.2, mentions=mentions)
    rows = corpus.database.open_table("similarities").to_table()
    np.testing.assert_array_equal(np.array(rows["histogram"].to_pylist()), result.histogram)
    np.testing.assert_array_equal(np.array(rows["mention_histogram"].to_pylist()), result.mention_histogram)
    np.testing.assert_array_equal(np.array(rows["prototype"].to_pylist(), np.float16), prototypes.vectors)
    assert rows["bins"].to_pylist() == ["2048 of 1/1000 from -1024/1000"] * 3
    assert rows["run"].to_pylist() == [certificate.run.name] * 3
    assert len(set(rows["prototype_sha256"].to_pylist())) == 3
    saved(corpus, prototypes, 0.2)
    assert corpus.database.open_table("similarities").to_table()["mention_histogram"].null_count == 3


def test_the_tables_open_with_lancedb(corpus, prototypes):
    import lancedb

    saved(corpus, prototypes, [0.1, 0.3])
    connection = lancedb.connect(corpus.database.uri)
    assert connection.open_table("frequencies").search().where("concept = 'query 1'").to_list()[0]["rows"] == 400
    assert connection.open_table("similarities").count_rows() == 3
    assert connection.open_table("certificates").count_rows() == 1


def test_result_tables_are_no_corpora_and_no_corpus_takes_their_names(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    assert corpus.database.corpora() == ["made"]
    assert [one["corpus"] for one in list_corpora(corpus.database)] == ["made"]
    for name in ("frequencies", "similarities", "certificates"):
        with pytest.raises(BadInput, match=f"{name!r} is the table of saved {name}"):
            Corpus.create(corpus.database, name, corpus.space)


def test_the_metadata_names_format_and_every_space(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    other = make_space(8, weights="others")
    second = make_corpus(corpus.database.folder, random_unit(20, 8), name="second", space=other)
    saved(second, make_prototypes(random_unit(2, 8), other), 0.2)
    saved(corpus, prototypes, 0.3)
    for name in ("frequencies", "similarities", "certificates"):
        metadata = corpus.database.open_table(name).schema.metadata
        assert metadata[b"tailwag:format"] == b"1"
        for space in (corpus.space, other):
            assert metadata[f"tailwag:space:{space.fingerprint}".encode()].decode() == space.to_json()
    assert corpus.database.corpora() == ["made", "second"]


def test_a_table_of_another_format_is_left_alone(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    corpus.database.open_table("frequencies").update_schema_metadata({"tailwag:format": "9"})
    with pytest.raises(BadInput, match="has format 9, this tailwag reads 1"):
        saved(corpus, prototypes, 0.2)


def test_each_save_is_one_commit(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    before = {name: corpus.database.open_table(name).version for name in ("frequencies", "similarities")}
    saved(corpus, prototypes, [0.1, 0.2])
    for name, version in before.items():
        assert corpus.database.open_table(name).version == version + 1


def test_many_saves_at_once_lose_nothing(tmp_path):
    for number in range(2):
        make_corpus(tmp_path, random_unit(50, 8), name=f"c{number}", space=make_space(8, weights=str(number)))
    program = """
import sys, numpy as np, tailwag
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.records import save_counts
corpus = tailwag.Corpus.open(sys.argv[1], sys.argv[2])
one = PrototypeSet(("a", "b"), np.eye(2, 8, dtype=np.float16), corpus.space, ("made", "made"))
query = tailwag.CountQuery(one, [0.1, 0.2, 0.3], histogram=True, partials=True)
result = tailwag.count(corpus, query, "reference")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    save_counts(corpus, query, result)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    commands = [[sys.executable, "-c", program, str(tmp_path), f"c{number % 2}"] for number in range(3)]
    writers = [subprocess.Popen(command, **pipes) for command in commands]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 3
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=120)[0] for writer in writers] == [""] * 3
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    database = Database(tmp_path)
    assert database.open_table("frequencies").count_rows() == 3 * 5 * 6
    assert database.open_table("similarities").count_rows() == 3 * 5 * 2
    runs = find_runs(database)
    assert len({run.run for run in runs}) == 15
    assert len(database.open_table("frequencies").schema.metadata) == 1 + 2
    for run in runs:
        assert load_certificate(database, run.run).rows == 50


def test_runs_sort_by_time():
    start = datetime(2026, 9, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    runs = [Run.begin(start + step * timedelta(microseconds=1)) for step in (0, 1, 2, 10**6, 10**12)]
    assert [run.name for run in runs] == sorted(run.name for run in runs)
    assert len({Run.begin(start).name for _ in range(50)}) > 45
    eastern = datetime.fromisoformat("2026-10-01T03:00:00+05:00")
    assert Run.begin(eastern).name.startswith("20260930T220000.000000Z-")


def test_saved_runs_are_found_the_newest_first(corpus, prototypes):
    names = [saved(corpus, prototypes, threshold)[1].run.name for threshold in (0.1, 0.2)]
    assert [run.run for run in find_runs(corpus.database)] == names[::-1]
    assert find_runs(corpus.database, corpus="other") == []
    with pytest.raises(NotFound, match=rf"no run 'x' is saved in .*; the newest are {names[1]}, {names[0]}"):
        load_certificate(corpus.database, "x")


def test_without_partial_counts_nothing_is_saved(corpus, prototypes):
    query = CountQuery(prototypes, 0.2, histogram=True)
    with pytest.raises(BadInput, match="needs the counts of each part"):
        save_counts(corpus, query, count(corpus, query))
    assert corpus.database.tables() == ["made"]


def test_an_interrupted_save_leaves_no_counts_that_look_whole(corpus, prototypes):
    query = CountQuery(prototypes, 0.2, histogram=True, partials=True)
    lance.write_dataset(rows_table(corpus.space, random_unit(1, DIMENSION)), corpus.database.table_uri("similarities"))
    with pytest.raises(BadInput, match="table 'similarities' in .* holds no saved results"):
        save_counts(corpus, query, count(corpus, query))
    assert not corpus.database.has_table("frequencies")


def test_a_table_whose_making_was_killed_is_made_again(corpus, prototypes):
    left_behind = corpus.database.folder / "frequencies.lance" / "data"
    left_behind.mkdir(parents=True)
    (left_behind / "half.lance").write_bytes(b"half")
    saved(corpus, prototypes, 0.2)
    assert corpus.database.open_table("frequencies").count_rows() == 3


# New thresholds from histograms


def exact(corpus, prototypes, thresholds, side="image", control=None):
    return count(corpus, CountQuery(prototypes, thresholds, side, control=control)).counts


def test_every_edge_is_answered_exactly(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    edges = np.arange(-1000, 1001) / 1000
    answer = rethreshold(corpus, prototypes.names, edges)
    np.testing.assert_array_equal(answer.lower, exact(corpus, prototypes, edges))
    np.testing.assert_array_equal(answer.upper, answer.lower)
    assert (answer.between_edges, answer.stale, answer.rows, answer.corpus_version) == (0, False, 400, 2)


@settings(max_examples=40, deadline=None)
@given(thresholds=st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_between_edges_the_count_lies_between_the_brackets(tmp_path_factory, thresholds):
    if not hasattr(test_between_edges_the_count_lies_between_the_brackets, "corpus"):
        made = make_corpus(tmp_path_factory.mktemp("database"), clustered_unit(400, DIMENSION))
        saved(made, make_prototypes(random_unit(3, DIMENSION, 9)), 0.2)
        test_between_edges_the_count_lies_between_the_brackets.corpus = made
    corpus = test_between_edges_the_count_lies_between_the_brackets.corpus
    prototypes = make_prototypes(random_unit(3, DIMENSION, 9))
    answer = rethreshold(corpus, prototypes.names, thresholds)
    truth = exact(corpus, prototypes, thresholds)
    assert (answer.lower <= truth).all()
    assert (truth <= answer.upper).all()
    below = np.floor(np.array(thresholds) * 1000 - 1e-9) / 1000
    at_edges = exact(corpus, prototypes, np.maximum(below, -1))
    assert (answer.upper <= at_edges).all()


def test_a_row_on_an_edge_and_one_beside_it_are_told_apart(tmp_path):
    vectors = np.zeros((3, 4), np.float16)
    vectors[:, 1] = 1
    vectors[0, 0] = 0.25  # exact in float16: its similarity is 0.25 itself
    vectors[:, 1] = np.sqrt(1 - vectors[:, 0].astype(float) ** 2)
    one = make_prototypes(np.eye(1, 4, dtype=np.float16))
    corpus = make_corpus(tmp_path, vectors)
    saved(corpus, one, 0.2)
    above = np.nextafter(0.25, 1)
    answer = rethreshold(corpus, one.names, [0.25, above])
    assert answer.lower.tolist() == [[1, 0]]
    assert answer.upper.tolist() == [[1, 1]]
    entries = list(answer)
    assert (entries[0].count, entries[1].count) == (1, None)
    table = answer.to_arrow().to_pylist()
    assert (table[1]["count"], table[1]["share"], table[1]["lower"], table[1]["upper"]) == (None, None, 0, 1)


def test_sides_and_controls_are_kept_apart(corpus, prototypes):
    half, labelled = sample(0.5), where("key != 's/7'")
    for asked in ({}, {"side": "text"}, {"control": half}, {"control": labelled}):
        saved(corpus, prototypes, 0.9, **asked)
    for side, control in (("image", None), ("text", None), ("image", half), ("image", labelled)):
        name = control.name if control is not None else ""
        answer = rethreshold(corpus, prototypes.names, [0.1, 0.3], side, control=name)
        np.testing.assert_array_equal(answer.lower, exact(corpus, prototypes, [0.1, 0.3], side, control))
    with pytest.raises(NotFound, match=r"no text similarities of corpus 'made' are saved under the control 'u < 0.5'"):
        rethreshold(corpus, prototypes.names, 0.1, "text", control=half.name)


def test_a_stale_answer_says_so_and_holds_for_its_version(corpus, prototypes):
    truth = exact(corpus, prototypes, [0.1])
    saved(corpus, prototypes, 0.9)
    corpus.append(rows_table(corpus.space, clustered_unit(50, DIMENSION, seed=3), prefix="t/"))
    answer = rethreshold(corpus, prototypes.names, 0.1)
    assert (answer.stale, answer.corpus_version, answer.newest_version, answer.rows) == (True, 2, 3, 400)
    np.testing.assert_array_equal(answer.lower, truth)
    with pytest.raises(NotFound, match=r"no image similarities of corpus 'made' at version 3 are saved"):
        rethreshold(corpus, prototypes.names, 0.1, any_version=False)
    saved(corpus, prototypes, 0.9)
    assert rethreshold(corpus, prototypes.names, 0.1).corpus_version == 3
    old = Corpus.open(corpus.database, "made", 2)
    assert rethreshold(old, prototypes.names, 0.1, any_version=False).corpus_version == 2


def test_an_unknown_concept_is_told_what_is_saved(corpus, prototypes):
    with pytest.raises(NotFound, match=r"no image similarities of corpus 'made' are saved: count once with --save"):
        rethreshold(corpus, ["query 1"], 0.1)
    saved(corpus, prototypes, 0.2)
    with pytest.raises(NotFound, match=r"no similarities of 'unicorn' .*; saved are 'query 0', 'query 1', 'query 2': "):
        rethreshold(corpus, ["query 1", "unicorn"], 0.1)
    assert rethreshold(corpus, ["Query_1"], 0.1).rows == 400


def test_concepts_saved_apart_are_not_put_together(corpus, prototypes):
    saved(corpus, prototypes.select(["query 0"]), 0.2)
    corpus.append(rows_table(corpus.space, clustered_unit(50, DIMENSION, seed=3), prefix="t/"))
    saved(corpus, prototypes.select(["query 1"]), 0.2)
    with pytest.raises(NotFound, match=r"'query 0' is saved for version 2 .* 'query 1' for version 3, and no version"):
        rethreshold(corpus, ["query 0", "query 1"], 0.1)
    saved(corpus, prototypes.select(["query 0"]), 0.2)
    assert rethreshold(corpus, ["query 0", "query 1"], 0.1).corpus_version == 3


def test_of_several_prototypes_the_asked_one_answers(corpus):
    first, second = random_unit(2, DIMENSION, 4)
    for vector, recipe in ((first, "one"), (second, "other")):
        saved(corpus, PrototypeSet(("dog",), vector[None], corpus.space, (recipe,)), 0.2)
    for vector, recipe in ((first, "one"), (second, "other")):
        answer = rethreshold(corpus, ["dog"], 0.1, recipes=[recipe])
        assert answer.lower[0, 0] == (similarities(clustered_unit(400, DIMENSION), vector[None]) >= 0.1).sum()
        assert (answer.recipes, answer.other_recipes) == ((recipe,), ())
    with pytest.raises(BadInput, match="'dog' is saved with prototypes by other; one, none by third: name one"):
        rethreshold(corpus, ["dog"], 0.1, recipes=["third"])


def test_the_asked_recipe_of_an_older_version_goes_before_another_of_the_newest(corpus):
    first, second = random_unit(2, DIMENSION, 4)
    saved(corpus, PrototypeSet(("dog",), first[None], corpus.space, ("one",)), 0.2)
    corpus.append(rows_table(corpus.space, clustered_unit(50, DIMENSION, seed=3), prefix="t/"))
    saved(corpus, PrototypeSet(("dog",), second[None], corpus.space, ("other",)), 0.2)
    assert rethreshold(corpus, ["dog"], 0.1, recipes=["one"]).corpus_version == 2
    assert rethreshold(corpus, ["dog"], 0.1, recipes=["other"]).corpus_version == 3
    assert rethreshold(corpus, ["dog"], 0.1).corpus_version == 3


def test_the_only_prototype_stands_in_and_that_is_told(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    answer = rethreshold(corpus, ["query 0"], 0.1, recipes=["asked"])
    assert (answer.recipes, answer.other_recipes) == (("made",), ("query 0",))
    with pytest.raises(BadInput, match="by made, none by asked"):
        rethreshold(corpus, ["query 0"], 0.1, recipes=["asked"], only_these_recipes=True)


def test_a_corpus_made_anew_is_not_answered_from_the_old_one(corpus, prototypes):
    import shutil

    saved(corpus, prototypes, 0.2)
    shutil.rmtree(corpus.database.folder / "made.lance")
    again = make_corpus(corpus.database.folder, clustered_unit(90, DIMENSION, seed=8))
    assert again.version == corpus.version
    with pytest.raises(NotFound, match="what is saved under this name holds for other rows"):
        rethreshold(again, prototypes.names, 0.1)


def test_a_version_that_was_cleaned_up_still_answers_and_says_so(corpus, prototypes):
    truth = exact(corpus, prototypes, [0.1])
    saved(corpus, prototypes, 0.9)
    corpus.append(rows_table(corpus.space, clustered_unit(50, DIMENSION, seed=3), prefix="t/"))
    corpus.database.open_table("made").cleanup_old_versions(timedelta(0))
    answer = rethreshold(Corpus.open(corpus.database, "made"), prototypes.names, 0.1)
    assert (answer.gone, answer.stale) == (True, True)
    np.testing.assert_array_equal(answer.lower, truth)


def test_answering_imports_no_torch_and_no_lancedb(corpus, prototypes):
    saved(corpus, prototypes, 0.2)
    program = (
        "import sys, tailwag; from tailwag.retrieval.records import rethreshold\n"
        f"corpus = tailwag.Corpus.open({corpus.database.uri!r}, 'made')\n"
        "print(rethreshold(corpus, ['query 0'], -1).lower, {'torch', 'lancedb'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[[400]]", "set()"]


def test_a_control_is_made_again_from_what_it_tells(corpus):
    chosen = np.arange(400) % 3 == 0
    from tailwag.retrieval.counting import chosen_rows

    control = sample(0.7, 0.1) & where("width >= 256") & chosen_rows("thirds", chosen)
    told = control.describe()
    again = Control.rebuild(told, [np.ones(400, bool), chosen])
    assert again.name == control.name
    np.testing.assert_array_equal(again.mask(corpus).between(0, 400), control.mask(corpus).between(0, 400))
    with pytest.raises(BadInput, match=r"chosen by hand \(134 of 400, sha256 .*pass the same rows again"):
        Control.rebuild(told, [~chosen])
