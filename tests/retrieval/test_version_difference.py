"""Counting a new version from an old count: the same numbers as a full count, whatever was done in between."""

import json

import lance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.corpus import Corpus
from tailwag.embed.scanning import Fragment
from tailwag.errors import BadInput, NotFound, SpaceMismatch
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, engine, sample, where
from tailwag.retrieval.counting.result import Partial
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.records import Certificate, compare, count_since, save_counts, verify, version_difference
from tailwag.retrieval.records.comparison import find_side
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

DIMENSION = 12
PROTOTYPES = make_prototypes(random_unit(3, DIMENSION, 9))
THRESHOLDS = [0.05, 0.3]


def rows(space, number, seed, prefix):
    return rows_table(space, clustered_unit(number, DIMENSION, seed=seed), prefix=prefix)


@pytest.fixture
def corpus(tmp_path):
    """A corpus of five fragments with 50 rows each."""
    made = make_corpus(tmp_path, clustered_unit(50, DIMENSION))
    for number in range(1, 5):
        made.append(rows(made.space, 50, number, f"{number}/"))
    return made


def asked(**more):
    return CountQuery(PROTOTYPES, THRESHOLDS, partials=True, **more)


def certify(corpus, query=None):
    query = query or asked()
    return Certificate.of(query, count(corpus, query))


def newest(corpus):
    return Corpus.open(corpus.database, corpus.name)


def assert_equals_a_full_count(corpus, query, difference, certificate):
    full = count(corpus, query)
    np.testing.assert_array_equal(difference.result.counts, full.counts)
    assert difference.result.rows == full.rows == difference.rows_read + difference.rows_reused
    assert difference.result.corpus_version == corpus.version
    again = Certificate.of(difference.query, difference.result, certificate.run)
    assert verify(again, corpus.database, parts=None).rows == full.rows


# What is done to a corpus between two counts: each takes the database and a number to be random by.


def do_append(corpus, number):
    corpus.append(rows(corpus.space, 1 + number % 40, number, f"{corpus.version}/{number}/"))


def do_delete(corpus, number):
    keys = corpus.keys("true")
    gone = np.random.default_rng(number).permutation(len(keys))[: 1 + number % 9]
    corpus.delete("key IN (" + ", ".join(f"'{keys[place]}'" for place in gone) + ")" if keys else "false")


def do_delete_a_fragment(corpus, number):
    fragments = corpus.fragments()
    if fragments:
        one = fragments[number % len(fragments)]
        keys = corpus.take_offsets(range(one.offset, one.offset + one.rows), ["key"])["key"].to_pylist()
        corpus.delete("key IN (" + ", ".join(f"'{key}'" for key in keys) + ")")


def do_compact(corpus, number):
    dataset = lance.dataset(corpus.database.table_uri(corpus.name))
    dataset.optimize.compact_files(target_rows_per_fragment=30 + number % 150)


def do_overwrite_rows(corpus, number):
    keys = corpus.keys("true")
    chosen = [keys[place] for place in np.random.default_rng(number).permutation(len(keys))[: 1 + number % 7]]
    if chosen:
        new = rows(corpus.space, len(chosen), number, "x/")
        new = new.set_column(0, new.schema.field("key"), [chosen])
        lance.dataset(corpus.database.table_uri(corpus.name)).merge_insert("key").when_matched_update_all().execute(new)


def do_overwrite_all(corpus, number):
    new = rows(corpus.space, 20 + number % 50, number, f"all/{number}/")
    lance.write_dataset(new, corpus.database.table_uri(corpus.name), mode="overwrite")


def do_restore(corpus, number):
    version = 1 + number % corpus.version
    lance.dataset(corpus.database.table_uri(corpus.name), version=version).restore()


DONE = {
    "append": do_append,
    "delete": do_delete,
    "delete a fragment": do_delete_a_fragment,
    "compact": do_compact,
    "overwrite rows": do_overwrite_rows,
    "overwrite all": do_overwrite_all,
    "restore": do_restore,
}


@pytest.mark.parametrize("kind", sorted(DONE))
def test_each_change_gives_the_same_as_a_full_count(corpus, kind):
    certificate = certify(corpus)
    DONE[kind](newest(corpus), 3)
    difference = count_since(newest(corpus), asked(), certificate)
    assert_equals_a_full_count(newest(corpus), asked(), difference, certificate)


_CHANGES = st.lists(st.tuples(st.sampled_from(sorted(DONE)), st.integers(0, 10_000)), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(_CHANGES, min_size=1, max_size=3), control=st.sampled_from([None, sample(0.5), where("u > 0.3")]))
def test_any_sequence_of_changes_gives_the_same_as_a_full_count(tmp_path_factory, steps, control):
    """Counted after each step from the certificate of the step before, which was itself made that way."""
    corpus = make_corpus(tmp_path_factory.mktemp("database"), clustered_unit(50, DIMENSION))
    corpus.append(rows(corpus.space, 50, 1, "1/"))
    corpus.append(rows(corpus.space, 50, 2, "2/"))
    query = asked(control=control)
    certificate = certify(corpus, query)
    for changes in steps:
        for kind, number in changes:
            DONE[kind](newest(corpus), number)
        difference = count_since(newest(corpus), query, certificate)
        assert_equals_a_full_count(newest(corpus), query, difference, certificate)
        certificate = Certificate.of(difference.query, difference.result)


def test_only_appended_rows_are_read(corpus):
    certificate = certify(corpus)
    do_append(corpus, 17)
    difference = count_since(corpus, asked(), certificate)
    assert (difference.rows_read, difference.rows_reused) == (18, 250)
    assert (difference.parts_read, difference.parts_reused) == (1, 5)


def test_only_the_fragment_with_a_deleted_row_is_read(corpus):
    certificate = certify(corpus)
    corpus.delete("key = '2/7'")
    difference = count_since(corpus, asked(), certificate)
    assert (difference.rows_read, difference.rows_reused) == (49, 200)


def test_only_what_was_compacted_is_read(corpus):
    corpus.append(rows(corpus.space, 3, 7, "small/"))
    corpus.append(rows(corpus.space, 4, 8, "smaller/"))
    certificate = certify(corpus)
    dataset = lance.dataset(corpus.database.table_uri("made"))
    dataset.optimize.compact_files(target_rows_per_fragment=40)
    difference = count_since(newest(corpus), asked(), certificate)
    assert (difference.rows_read, difference.rows_reused) == (7, 250)


def test_an_unchanged_corpus_is_not_read_at_all(corpus):
    certificate = certify(corpus)
    for file in (corpus.database.folder / "made.lance" / "data").glob("*"):
        file.unlink()
    difference = count_since(corpus, asked(), certificate)
    assert (difference.rows_read, difference.rows_reused) == (0, 250)
    np.testing.assert_array_equal(difference.result.counts, certificate.counts)


def test_an_older_version_can_be_counted_from_a_newer_count(corpus):
    certificate = certify(corpus)
    older = Corpus.open(corpus.database, "made", corpus.version - 2)
    difference = count_since(older, asked(), certificate)
    assert (difference.rows_read, difference.rows_reused) == (0, 150)
    assert_equals_a_full_count(older, asked(), difference, certificate)


def test_some_of_the_concepts_and_thresholds_can_be_asked_for(corpus):
    certificate = certify(corpus)
    do_append(corpus, 5)
    some = CountQuery(PROTOTYPES.select(["query 2", "query 0"]), [[0.3], [0.05]])
    difference = count_since(corpus, some, certificate)
    np.testing.assert_array_equal(difference.result.counts, count(corpus, some).counts)
    assert difference.rows_read == 6


def test_histograms_grow_with_the_corpus_and_are_left_out_where_it_shrank(corpus):
    query = asked(histogram=True)
    result = count(corpus, query)
    certificate = Certificate.of(query, result)
    do_append(corpus, 30)
    difference = count_since(corpus, query, certificate, histogram=result.histogram)
    np.testing.assert_array_equal(difference.result.histogram, count(corpus, query).histogram)
    assert difference.rows_read == 31
    corpus.delete("key = '2/7'")
    assert count_since(corpus, query, certificate, histogram=result.histogram).result.histogram is None


def test_many_new_fragments_make_no_more_parts_than_a_full_count(tmp_path, monkeypatch):
    most = 12
    monkeypatch.setattr(engine, "MOST_PARTS", most)
    monkeypatch.setattr(version_difference, "MOST_PARTS", most)
    corpus = make_corpus(tmp_path, clustered_unit(20, DIMENSION))

    def append_one_by_one(seed):
        table = rows(corpus.space, 40, seed, f"many/{seed}/")
        lance.write_dataset(table, corpus.database.table_uri("made"), mode="append", max_rows_per_file=1)
        return newest(corpus)

    corpus = append_one_by_one(1)
    certificate = certify(corpus)
    assert len(certificate.partials) <= most < len(corpus.fragments())
    corpus.delete("key IN ('many/1/17', 'many/1/18')")
    corpus = append_one_by_one(2)
    difference = count_since(corpus, asked(), certificate)
    assert_equals_a_full_count(corpus, asked(), difference, certificate)
    assert difference.parts_read <= most + 1
    assert difference.rows_reused >= 40


@pytest.mark.parametrize(
    ("now", "still"),
    [
        ("abcde", "ab cd e"),
        ("abXcde", "ab cd e"),
        ("aXbcde", "cd e"),
        ("bacde", "cd e"),
        ("cdabe", "ab cd e"),
        ("", ""),
    ],
)
def test_a_part_is_reused_only_in_one_piece_and_in_its_order(now, still):
    parts = [Partial(tuple(states), 2, "", np.zeros((1, 1), np.int64)) for states in ("ab", "cd", "e")]
    fragments = [Fragment(place, 2 * place, 2, state) for place, state in enumerate(now)]
    kept, rest = version_difference._still_there(fragments, parts)
    assert " ".join("".join(part.states) for part in kept) == still
    left = [fragment.state for part in rest for fragment in part]
    assert sorted("".join(still.split()) + "".join(left)) == sorted(now)


# What cannot be reused is refused


def refusal(corpus, query, certificate):
    with pytest.raises((BadInput, SpaceMismatch)) as caught:
        count_since(corpus, query, certificate)
    return str(caught.value)


def test_another_question_is_refused_by_what_differs(corpus):
    certificate = certify(corpus)
    name = certificate.run.name
    other = make_prototypes(random_unit(1, DIMENSION, 77))
    assert refusal(corpus, CountQuery(other, 0.3), certificate) == (
        f"run {name} did not count this prototype of 'query 0': count without --since"
    )
    told = refusal(corpus, CountQuery(PROTOTYPES, [0.3, 0.31]), certificate)
    assert told.startswith(f"run {name} did not count 'query 0' at 0.31, only at 0.05, 0.3: pass one of these")
    assert "counted the image side, and text" in refusal(corpus, CountQuery(PROTOTYPES, 0.3, "text"), certificate)
    told = refusal(corpus, CountQuery(PROTOTYPES, 0.3, control=sample(0.5)), certificate)
    assert f"run {name} counted all rows, and what was asked for is the rows with u < 0.5" in told
    foreign = PrototypeSet(PROTOTYPES.names, PROTOTYPES.vectors, make_space(DIMENSION, "other"), PROTOTYPES.recipes)
    assert "they differ in weights: count without --since" in refusal(corpus, CountQuery(foreign, 0.3), certificate)


@pytest.mark.parametrize(
    "control", [where("_rowid < 60"), where("u > random()"), chosen_rows("odd", np.arange(250) % 2)]
)
def test_rows_that_a_version_may_choose_otherwise_are_not_reused(corpus, control):
    query = asked(control=control)
    told = refusal(corpus, query, certify(corpus, query))
    assert "count without --since" in told


# Two versions, corpora or runs side by side


def save(corpus, query=None):
    query = query or asked()
    return save_counts(corpus, query, count(corpus, query))


def assert_compares(comparison, first, second):
    for one in comparison:
        concept = PROTOTYPES.select([one.concept])
        counts = [count(corpus, CountQuery(concept, one.threshold)) for corpus in (first, second)]
        assert (one.first_count, one.second_count) == tuple(int(result.counts[0, 0]) for result in counts)
        shares = [int(result.counts[0, 0]) / result.rows for result in counts]
        assert (one.first_share, one.second_share) == tuple(shares)
        assert one.difference == one.second_count - one.first_count
        assert one.ratio == (shares[1] / shares[0] if shares[0] else None)


def test_two_versions_are_compared_and_shared_rows_read_once(corpus):
    old = Corpus.open(corpus.database, "made", corpus.version)
    do_append(corpus, 20)
    comparison = compare(corpus.database, old, corpus, asked())
    assert comparison.rows_read == 250 + 21
    assert [(one.concept, one.threshold) for one in comparison] == [
        (f"query {number}", threshold) for number in range(3) for threshold in THRESHOLDS
    ]
    assert_compares(comparison, old, corpus)


@pytest.mark.parametrize("saved", ["first", "second", "both"])
def test_what_is_saved_is_not_read_again(corpus, saved):
    old = Corpus.open(corpus.database, "made", corpus.version)
    do_append(corpus, 20)
    if saved != "second":
        save(old)
    if saved != "first":
        save(corpus)
    comparison = compare(corpus.database, old, corpus)
    assert comparison.rows_read == {"first": 21, "second": 0, "both": 0}[saved]
    assert_compares(comparison, old, corpus)
    assert compare(corpus.database, old, corpus, asked()).rows_read == comparison.rows_read


def test_runs_are_compared_as_they_are_saved(corpus):
    first = save(corpus)
    corpus.delete("u < 0.5")
    second = save(corpus)
    whole = find_side(corpus.database, first.run.name)
    comparison = compare(corpus.database, whole, find_side(corpus.database, second.run.name))
    assert comparison.rows_read == 0
    assert_compares(comparison, Corpus.open(corpus.database, "made", 6), corpus)
    half = compare(corpus.database, whole, save(corpus, asked(control=chosen_rows("all", np.ones(len(corpus))))))
    np.testing.assert_array_equal([one.second_count for one in half], [one.second_count for one in comparison])


def test_a_run_says_what_is_counted_in_a_corpus(corpus):
    other = make_corpus(corpus.database.folder, clustered_unit(90, DIMENSION, seed=40), name="other")
    saved = save(corpus)
    for first, second in ((saved, other), (corpus, other)):
        comparison = compare(corpus.database, first, second)
        assert comparison.rows_read == 90
        assert_compares(comparison, corpus, other)
    assert compare(corpus.database, other, corpus).entries[0].first_count == comparison.entries[0].second_count


def test_only_what_is_asked_for_is_compared_though_more_is_saved(corpus):
    old = Corpus.open(corpus.database, "made", corpus.version)
    save(old)
    do_append(corpus, 20)
    one = CountQuery(PROTOTYPES.select(["query 1"]), 0.3)
    for read in (21, 0):
        comparison = compare(corpus.database, old, corpus, one)
        assert [(entry.concept, entry.threshold) for entry in comparison] == [("query 1", 0.3)]
        assert (comparison.rows_read, comparison.only_first, comparison.only_second) == (read, (), ())
        assert_compares(comparison, old, corpus)
        save(corpus)


def test_what_only_one_of_two_runs_counted_is_told(corpus):
    first = save(corpus, CountQuery(PROTOTYPES.select(["query 0", "query 1"]), THRESHOLDS, partials=True))
    second = save(corpus, CountQuery(PROTOTYPES.select(["query 1", "query 2"]), [0.3, 0.7], partials=True))
    comparison = compare(corpus.database, first, second)
    assert [(one.concept, one.threshold) for one in comparison] == [("query 1", 0.3)]
    assert (comparison.only_first, comparison.only_second) == (("query 0",), ("query 2",))
    third = save(corpus, CountQuery(PROTOTYPES, 0.9, partials=True))
    with pytest.raises(BadInput, match="no prototype and threshold in common: name what to count"):
        compare(corpus.database, first, third)


def test_a_saved_count_of_a_corpus_of_the_same_name_made_anew_is_not_taken(corpus):
    import shutil

    save(corpus)
    shutil.rmtree(corpus.database.folder / "made.lance")
    again = make_corpus(corpus.database.folder, clustered_unit(50, DIMENSION, seed=60))
    for number in range(1, 5):
        again.append(rows(again.space, 50, number + 60, f"{number}/"))
    with pytest.raises(
        NotFound, match=r"neither corpus 'made' \(version 6\) nor corpus 'made' \(version 6\) has a saved"
    ):
        compare(again.database, again, again)
    assert compare(again.database, again, again, asked()).rows_read == 250


def test_spaces_are_not_mixed(corpus):
    other = make_corpus(corpus.database.folder, random_unit(5, 8), name="other", space=make_space(8))
    with pytest.raises(SpaceMismatch, match="compare within a space"):
        compare(corpus.database, corpus, other, asked())


def test_a_side_is_named_by_corpus_version_or_run(corpus):
    saved = save(corpus)
    assert find_side(corpus.database, "made").version == 6
    assert find_side(corpus.database, "made@3").version == 3
    lance.dataset(corpus.database.table_uri("made")).tags.create("first", 2)
    assert find_side(corpus.database, "made@first").version == 2
    assert find_side(corpus.database, saved.run.name).corpus == "made"
    with pytest.raises(NotFound, match="no version 77"):
        find_side(corpus.database, "made@77")


def test_a_concept_that_went_from_nothing_has_no_ratio(tmp_path):
    first = make_corpus(tmp_path, np.eye(2, DIMENSION, dtype=np.float16), name="first")
    second = make_corpus(tmp_path, np.eye(3, DIMENSION, dtype=np.float16), name="second")
    axis = make_prototypes(np.eye(3, DIMENSION, dtype=np.float16)[2:])
    (one,) = compare(first.database, first, second, CountQuery(axis, 0.5, partials=True))
    assert (one.first_count, one.second_count, one.difference, one.ratio) == (0, 1, 1, None)
    table = compare(first.database, first, second, CountQuery(axis, 0.5, partials=True)).to_arrow()
    row = table.to_pylist()[0]
    assert (row["first_rows"], row["second_rows"], row["second_share"], row["ratio"]) == (2, 3, 1 / 3, None)
    assert json.loads(table.schema.metadata[b"tailwag:space"])["dimension"] == DIMENSION
