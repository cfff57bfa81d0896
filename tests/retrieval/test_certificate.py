"""Certificates: what they hold, and that every kind of tampering with one, or with its corpus, is found."""

import io
import json
import shutil
import zipfile
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.errors import BadInput, NotFound, Refuted, TailwagError
from tailwag.retrieval.counting import CountQuery, chosen_rows, count, sample, where
from tailwag.retrieval.counting.result import Partial
from tailwag.retrieval.records import (
    Certificate,
    Run,
    load_certificate,
    read_certificate,
    save_counts,
    seal_of,
    verify,
    write_certificate,
)
from tailwag.retrieval.records.certificate_file import pack, unpack
from tailwag.retrieval.records.verification import choose_parts
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

DIMENSION = 16
SIZES = (120, 40, 7, 60, 1, 33, 80, 25)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with a corpus of eight fragments, whose captions have other vectors than its images."""
    folder = tmp_path_factory.mktemp("template")
    made = make_corpus(folder, clustered_unit(SIZES[0], DIMENSION), clustered_unit(SIZES[0], DIMENSION, seed=90))
    for number, rows in enumerate(SIZES[1:]):
        image, text = (clustered_unit(rows, DIMENSION, seed=number + seed) for seed in (1, 91))
        made.append(rows_table(made.space, image, text, prefix=f"{number}/"))
    return folder


@pytest.fixture
def corpus(template, tmp_path):
    """A copy of it, to do with as one likes."""
    return Corpus.open(shutil.copytree(template, tmp_path / "database"), "made")


@pytest.fixture
def prototypes():
    return make_prototypes(random_unit(3, DIMENSION, 9))


def certify(corpus, prototypes, thresholds=(0.05, 0.3), **asked):
    query = CountQuery(prototypes, list(thresholds), partials=True, histogram=True, **asked)
    return Certificate.of(query, count(corpus, query))


def through_a_file(certificate, folder):
    write_certificate(certificate, folder / "certificate.zip")
    return read_certificate(folder / "certificate.zip")


# What it holds


def test_a_certificate_reads_back_as_it_was_written(corpus, prototypes, tmp_path):
    thresholds = [0.1 + 0.2, np.nextafter(0.25, 1), -1]
    written = certify(corpus, prototypes, thresholds, control=sample(0.7) & where("label IS NULL"))
    again = through_a_file(written, tmp_path)
    assert pack(again) == pack(written)
    assert seal_of(again) == seal_of(written)
    for name in ("prototypes", "thresholds", "counts"):
        one, other = getattr(written, name), getattr(again, name)
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    assert again.space == corpus.space
    assert again.run == written.run
    assert (again.rows, again.corpus_version, again.side) == (written.rows, corpus.version, "image")
    assert again.control == written.control
    for one, other in zip(written.partials, again.partials, strict=True):
        assert (one.states, one.rows, one.digest) == (other.states, other.rows, other.digest)
        np.testing.assert_array_equal(one.counts, other.counts)


def test_others_can_open_it_without_tailwag(corpus, prototypes, tmp_path):
    certificate = certify(corpus, prototypes)
    write_certificate(certificate, tmp_path / "certificate.zip")
    archive = np.load(tmp_path / "certificate.zip")
    np.testing.assert_array_equal(archive["partial_counts"].sum(axis=-1), archive["counts"])
    document = json.loads(zipfile.ZipFile(tmp_path / "certificate.zip").read("certificate.json"))
    assert document["corpus"] == "made"
    assert [part["rows"] for part in document["parts"]] == list(SIZES)
    assert document["bins"] == "2048 of 1/1000 from -1024/1000"
    assert document["space"]["weights"] == "weights"


def test_four_thousand_concepts_in_256_parts_take_some_megabytes():
    generator = np.random.default_rng(0)
    concepts, thresholds, parts, dimension = 4000, 8, 256, 512
    # 400 million rows: shares of one in ten million to one in three hundred, halved by each further threshold.
    rates = 4e8 * 10 ** generator.uniform(-7, -2.5, (concepts, 1)) * 0.5 ** np.arange(thresholds)
    partial = generator.poisson(rates / parts, (parts, concepts, thresholds)).astype(np.int64)
    vectors = random_unit(concepts, dimension)
    names = tuple(f"concept {number}" for number in range(concepts))
    certificate = Certificate(
        run=Run.begin(),
        corpus="large",
        corpus_version=1,
        space=make_space(dimension),
        side="image",
        control=None,
        concepts=names,
        recipes=("made",) * concepts,
        threshold_sources=("given",) * concepts,
        prototypes=vectors,
        thresholds=np.tile(np.linspace(0.2, 0.3, thresholds), (concepts, 1)),
        counts=partial.sum(axis=0),
        rows=400_000_000,
        failures=None,
        partials=tuple(Partial((f"{number:064x}",) * 16, 1, "0" * 64, own) for number, own in enumerate(partial)),
        histogram_digest=None,
        backend="reference",
    )
    assert len(pack(certificate)) < 12e6
    again = unpack(pack(certificate))
    np.testing.assert_array_equal(np.stack([part.counts for part in again.partials]), partial)


def test_a_saved_certificate_is_loaded_by_its_run(corpus, prototypes):
    query = CountQuery(prototypes, [0.05, 0.3], partials=True, histogram=True)
    saved = save_counts(corpus, query, count(corpus, query))
    assert pack(load_certificate(corpus.database, saved.run.name)) == pack(saved)


def test_what_is_no_certificate_is_refused_in_one_line(corpus, prototypes, tmp_path):
    path = tmp_path / "certificate.zip"
    with pytest.raises(NotFound, match="there is no certificate"):
        read_certificate(path)
    whole = pack(certify(corpus, prototypes))
    for damaged in (b"", b"nothing", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="no certificate"):
            read_certificate(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("certificate.json", '{"format": "tailwag certificate 9"}')
    with pytest.raises(BadInput, match="its format is 'tailwag certificate 9', this tailwag reads"):
        read_certificate(path)


def test_a_file_with_a_flipped_byte_is_refused_or_the_same(corpus, prototypes):
    original = pack(certify(corpus, prototypes))
    refused = 0
    for position in range(0, len(original), len(original) // 150):
        flipped = bytearray(original)
        flipped[position] ^= 0xFF
        try:
            assert pack(unpack(bytes(flipped))) == original  # a byte that means nothing, such as a date
        except BadInput:
            refused += 1
    assert refused > 100


def rewrite(path, **changes):
    """Alter members of a certificate's archive, and nothing else."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members.update(changes)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_an_array_that_is_exchanged_alone_is_noticed_when_read(corpus, prototypes, tmp_path):
    path = tmp_path / "certificate.zip"
    certificate = certify(corpus, prototypes)
    write_certificate(certificate, path)
    written = io.BytesIO()
    np.save(written, certificate.counts + 1)
    rewrite(path, **{"counts.npy": written.getvalue()})
    with pytest.raises(BadInput, match="its array 'counts' is not the one that its document names"):
        read_certificate(path)


# Verifying


def test_a_true_certificate_is_accepted(corpus, prototypes, tmp_path):
    certificate = through_a_file(certify(corpus, prototypes), tmp_path)
    verdict = verify(certificate, corpus.database, parts=3, seed=1)
    assert (verdict.parts, len(verdict.recounted), verdict.seed, verdict.rows) == (8, 3, 1, sum(SIZES))
    assert verdict.rows_recounted == sum(SIZES[position] for position in verdict.recounted)
    assert verdict.chance_unnoticed == 5 / 8
    assert not verdict.histograms
    whole = verify(certificate, corpus.database, parts=None)
    assert (whole.share_recounted, whole.chance_unnoticed, whole.histograms, whole.seed) == (1, 0, True, None)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_any_backend_verifies_what_another_counted(corpus, prototypes, backend):
    query = CountQuery(prototypes, [0.05, 0.3], partials=True)
    certificate = Certificate.of(query, count(corpus, query, "reference"))
    assert verify(certificate, corpus.database, parts=None, backend=backend).chance_unnoticed == 0


def test_an_empty_corpus_has_a_certificate_too(tmp_path, prototypes):
    corpus = make_corpus(tmp_path, random_unit(0, DIMENSION))
    verdict = verify(through_a_file(certify(corpus, prototypes), tmp_path), corpus.database)
    assert (verdict.parts, verdict.rows, verdict.share_recounted, verdict.chance_unnoticed) == (0, 0, 1, 0)


def altered(array, *place, by=1):
    changed = array.copy()
    changed[place] += by
    return changed


def with_part(certificate, position, **changes):
    parts = list(certificate.partials)
    parts[position] = replace(parts[position], **changes)
    return replace(certificate, partials=tuple(parts))


def lie_in_part(certificate, position, by=-1):
    """Alter one count of one part, and the total with it."""
    lied = altered(certificate.partials[position].counts, 1, 0, by=by)
    return replace(with_part(certificate, position, counts=lied), counts=altered(certificate.counts, 1, 0, by=by))


def swapped(certificate):
    parts = list(certificate.partials)
    parts[2], parts[5] = parts[5], parts[2]
    return replace(certificate, partials=tuple(parts))


def without_part(certificate, position=3):
    gone = certificate.partials[position]
    return replace(
        certificate,
        partials=certificate.partials[:position] + certificate.partials[position + 1 :],
        rows=certificate.rows - gone.rows,
        counts=certificate.counts - gone.counts,
    )


def states_exchanged(certificate):
    parts = certificate.partials
    return with_part(with_part(certificate, 2, states=parts[5].states), 5, states=parts[2].states)


def contents_exchanged(certificate):
    """Two fragments change places but for their states: totals and states are as they were."""
    parts = list(certificate.partials)
    parts[2], parts[5] = (
        replace(parts[5], states=parts[2].states),
        replace(parts[2], states=parts[5].states),
    )
    return replace(certificate, partials=tuple(parts))


def rows_moved(certificate):
    parts = certificate.partials
    return with_part(with_part(certificate, 1, rows=parts[1].rows + 1), 2, rows=parts[2].rows - 1)


# Each with what the refusal must say. None of it stands against the archive's own digests, which are made anew.
TAMPERING = {
    "total": (lambda c: replace(c, counts=altered(c.counts, 2, 1)), r"its parts count \d+ rows for 'query 2' at 0.3"),
    "part alone": (lambda c: with_part(c, 4, counts=altered(c.partials[4].counts, 0, 0)), r"together, and it says"),
    "part and total": (lambda c: lie_in_part(c, 6), r"part 7 of 8 counts \d+ rows for 'query 1' at 0.05, and it says"),
    "digest": (lambda c: with_part(c, 5, digest="0" * 64), r"the vectors of part 6 of 8 have sha256 \w+…, and it says"),
    "rows": (lambda c: replace(c, rows=c.rows + 1), r"its parts have 366 rows together, and it says 367"),
    "rows moved": (rows_moved, r"part 2 of 8 has 40 rows, and it says 41"),
    "version": (lambda c: replace(c, corpus_version=c.corpus_version - 1), r"are not the 7 fragments of version 8"),
    "later version": (lambda c: replace(c, corpus_version=99), r"speaks of version 99, and the newest is 9"),
    "missing part": (without_part, r"1 of the table's are in no part, 0 of the parts' are not in the table"),
    "part twice": (lambda c: replace(c, partials=c.partials + c.partials[:1]), r"its parts have 486 rows together"),
    "parts swapped": (swapped, r"they are the same, in another order"),
    "states exchanged": (states_exchanged, r"they are the same, in another order"),
    "contents exchanged": (contents_exchanged, r"part 3 of 8 has 7 rows, and it says 33"),
    "foreign state": (lambda c: with_part(c, 0, states=("f" * 64,)), r"1 of the parts' are not in the table"),
    "threshold": (lambda c: replace(c, thresholds=altered(c.thresholds, 1, 0, by=0.02)), r"'query 1' at 0.07.*says"),
    "no threshold": (lambda c: replace(c, thresholds=altered(c.thresholds, 1, 0, by=9)), r"lies between -1 and 1"),
    "prototype": (lambda c: replace(c, prototypes=c.prototypes[[1, 0, 2]]), r"part 1 of 8 counts .* for 'query 0'"),
    "long prototype": (lambda c: replace(c, prototypes=c.prototypes * 2), r"longer than 1.001"),
    "side": (lambda c: replace(c, side="text"), r"the vectors of part 1 of 8 have sha256"),
    "control": (lambda c: replace(c, control=sample(0.5).describe()), r"part 1 of 8 has \d+ rows, and it says 120"),
    "space": (
        lambda c: replace(c, space=make_space(DIMENSION, "other")),
        r"speaks of space \w+ \(made\), and the corp",
    ),
    "histogram": (lambda c: replace(c, histogram_digest="0" * 64), r"the histograms of the table's rows are not those"),
}


@pytest.mark.parametrize("kind", sorted(TAMPERING))
def test_tampering_is_refuted_when_all_parts_are_counted_again(corpus, prototypes, tmp_path, kind):
    tamper, told = TAMPERING[kind]
    honest = certify(corpus, prototypes)
    assert verify(through_a_file(honest, tmp_path), corpus.database, parts=None).parts == 8
    with pytest.raises(Refuted, match=told) as caught:
        verify(through_a_file(tamper(honest), tmp_path), corpus.database, parts=None)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"the certificate of run {honest.run.name} is refuted: ")


@pytest.mark.parametrize(
    "kind",
    ["total", "part alone", "rows", "version", "later version", "missing part", "parts swapped", "states exchanged"],
)
def test_what_needs_no_recount_is_refuted_whatever_part_is_looked_at(corpus, prototypes, kind):
    tamper, told = TAMPERING[kind]
    for seed in range(8):
        with pytest.raises(Refuted, match=told):
            verify(tamper(certify(corpus, prototypes)), corpus.database, parts=1, seed=seed)


def test_a_part_that_lies_with_its_total_is_found_by_the_right_seed_and_by_no_other(corpus, prototypes):
    lying = lie_in_part(certify(corpus, prototypes), 6)
    found = []
    for seed in range(20):
        looked_at = 6 in choose_parts(8, 2, seed)
        try:
            verify(lying, corpus.database, parts=2, seed=seed)
            found.append(False)
        except Refuted:
            found.append(True)
        assert found[-1] == looked_at
    assert {True, False} == set(found)


def test_a_threshold_that_changes_no_count_leaves_a_true_certificate(corpus, prototypes):
    honest = certify(corpus, prototypes)
    true_too = replace(honest, thresholds=np.nextafter(honest.thresholds, 1))
    assert verify(true_too, corpus.database, parts=None).chance_unnoticed == 0
    assert seal_of(true_too) != seal_of(honest)


def test_the_chance_to_miss_one_wrong_part_is_what_the_verdict_says(corpus, prototypes):
    honest = certify(corpus, prototypes)
    tries, missed = 160, 0
    for seed in range(tries):
        wrong = seed % 8
        try:
            verdict = verify(lie_in_part(honest, wrong), corpus.database, parts=3, seed=seed)
            assert wrong not in verdict.recounted
            missed += 1
        except Refuted:
            pass
    expected = 5 / 8
    assert abs(missed / tries - expected) < 4 * np.sqrt(expected * (1 - expected) / tries)


def test_each_part_is_chosen_equally_often():
    tries = 4000
    chosen = np.bincount(np.concatenate([choose_parts(10, 3, seed) for seed in range(tries)]), minlength=10)
    assert np.abs(chosen / tries - 0.3).max() < 4.5 * np.sqrt(0.3 * 0.7 / tries)
    assert all(len(set(choose_parts(10, 3, seed))) == 3 for seed in range(50))
    assert choose_parts(2, 5, 0).tolist() == [0, 1]


def test_without_a_seed_nobody_knows_which_parts_are_looked_at(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    verdicts = [verify(certificate, corpus.database, parts=2) for _ in range(6)]
    assert len({verdict.seed for verdict in verdicts}) == 6
    again = verify(certificate, corpus.database, parts=2, seed=verdicts[0].seed)
    assert again.recounted == verdicts[0].recounted
    with pytest.raises(BadInput, match="at least one part"):
        verify(certificate, corpus.database, parts=0)


# Controls


@pytest.mark.parametrize("control", [sample(0.6), sample(0.6, 0.1) & where("key != '0/3'"), where("width > 9999")])
def test_a_control_is_made_again_from_the_file(corpus, prototypes, tmp_path, control):
    certificate = through_a_file(certify(corpus, prototypes, control=control), tmp_path)
    assert certificate.control_name == control.name
    verdict = verify(certificate, corpus.database, parts=None)
    assert verdict.rows == control.mask(corpus).count


def test_rows_chosen_by_hand_are_needed_again(corpus, prototypes, tmp_path):
    chosen = np.random.default_rng(0).random(len(corpus)) < 0.5
    certificate = through_a_file(certify(corpus, prototypes, control=chosen_rows("by hand", chosen)), tmp_path)
    with pytest.raises(BadInput, match=r"control 'by hand' left rows that were chosen by hand .*pass the same rows"):
        verify(certificate, corpus.database)
    with pytest.raises(BadInput, match="pass the same rows"):
        verify(certificate, corpus.database, chosen=[~chosen])
    assert verify(certificate, corpus.database, parts=None, chosen=[chosen]).rows == chosen.sum()


# A corpus that changed beneath


def test_a_newer_version_leaves_the_old_one_to_verify(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    corpus.delete("key = 's/5'")
    verdict = verify(certificate, corpus.database, parts=None)
    assert (verdict.corpus_version, verdict.newest_version) == (9, 10)


def test_a_version_that_was_cleaned_up_cannot_be_verified(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    corpus.delete("key = 's/5'")
    corpus.database.open_table("made").cleanup_old_versions(timedelta(0))
    with pytest.raises(
        TailwagError, match=r"cannot be verified: version 9 of corpus 'made' has been cleaned up"
    ) as told:
        verify(certificate, corpus.database)
    assert not isinstance(told.value, Refuted)


def test_a_corpus_that_was_made_anew_refutes(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    shutil.rmtree(corpus.database.folder / "made.lance")
    again = make_corpus(corpus.database.folder, clustered_unit(SIZES[0], DIMENSION))
    for number, rows in enumerate(SIZES[1:]):
        again.append(rows_table(again.space, clustered_unit(rows, DIMENSION, seed=number + 1), prefix=f"{number}/"))
    assert again.version == certificate.corpus_version
    with pytest.raises(Refuted, match="8 of the table's are in no part, 8 of the parts' are not in the table"):
        verify(certificate, again.database)


def test_a_vector_altered_in_its_file_is_found(corpus, prototypes):
    """One bit of one number, as a disk may flip it: rows, states and perhaps counts stay as they are."""
    certificate = certify(corpus, prototypes)
    vector = clustered_unit(SIZES[0], DIMENSION)[17].tobytes()
    flipped = 0
    for file in (corpus.database.folder / "made.lance" / "data").glob("*"):
        content = bytearray(file.read_bytes())
        at = content.find(vector)
        if at >= 0:
            content[at] ^= 1
            file.write_bytes(content)
            flipped += 1
    assert flipped == 1
    fresh = Corpus.open(str(corpus.database.folder), "made")
    with pytest.raises(Refuted, match="the vectors of part 1 of 8 have sha256"):
        verify(certificate, fresh.database, parts=None)


def test_a_data_file_cut_short_is_told(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    for file in (corpus.database.folder / "made.lance" / "data").glob("*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TailwagError, match=r"corpus 'made' .*cannot be read"):
        verify(certificate, Corpus.open(str(corpus.database.folder), "made").database, parts=None)


def test_a_corpus_that_has_gone_is_told(corpus, prototypes):
    certificate = certify(corpus, prototypes)
    shutil.rmtree(corpus.database.folder / "made.lance")
    with pytest.raises(NotFound, match="no corpus 'made'"):
        verify(certificate, corpus.database)


# Saved runs


@pytest.fixture
def saved(corpus, prototypes):
    query = CountQuery(prototypes, [0.05, 0.3], partials=True, histogram=True)
    return save_counts(corpus, query, count(corpus, query))


def test_a_saved_run_is_compared_with_what_its_tables_say(corpus, saved):
    assert verify(load_certificate(corpus.database, saved.run.name), corpus.database, saved=True).saved


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("frequencies", {"count": "count + 1"}, "the counts in the table 'frequencies' are not the certificate's"),
        ("frequencies", {"threshold": "0.27"}, "'frequencies' are not the certificate's"),
        ("frequencies", {"threshold_source": "'labels'"}, "'frequencies' are not the certificate's"),
        ("similarities", {"concept": "'unicorn'"}, "'similarities' holds other concepts"),
        ("certificates", {"seal": "'0000'"}, "the table 'certificates' describes it otherwise"),
        ("certificates", {"query": "'0000'"}, "the table 'certificates' describes it otherwise"),
    ],
)
def test_a_table_that_was_altered_refutes(corpus, saved, table, change, told):
    corpus.database.open_table(table).update(change)
    with pytest.raises(Refuted, match=told):
        verify(load_certificate(corpus.database, saved.run.name), corpus.database, saved=True)


def test_estimates_beside_a_count_do_not_matter_to_its_certificate(corpus, saved):
    corpus.database.open_table("frequencies").update({"estimate": "7.5", "method": "'m'"})
    verify(load_certificate(corpus.database, saved.run.name), corpus.database, saved=True)


def test_a_histogram_that_was_altered_refutes(corpus, saved):
    rows = corpus.database.open_table("similarities").to_table()
    import lance
    import pyarrow as pa

    lists = np.array(rows["histogram"].to_pylist())
    lists[0, 1100] += 1
    lists[0, 1101] -= 1
    column = pa.FixedSizeListArray.from_arrays(pa.array(lists.reshape(-1)), 2048)
    place = rows.schema.get_field_index("histogram")
    changed = rows.set_column(place, rows.schema.field("histogram"), column)
    lance.write_dataset(changed, corpus.database.table_uri("similarities"), mode="overwrite")
    with pytest.raises(Refuted, match="the histograms in the table 'similarities' are not those it names"):
        verify(load_certificate(corpus.database, saved.run.name), corpus.database, saved=True)


def test_rows_that_are_missing_refute(corpus, saved):
    certificate = load_certificate(corpus.database, saved.run.name)
    corpus.database.open_table("frequencies").delete("concept = 'query 1'")
    with pytest.raises(Refuted, match="'frequencies' are not the certificate's"):
        verify(certificate, corpus.database, saved=True)
    corpus.database.open_table("frequencies").delete("true")
    with pytest.raises(TailwagError, match="was not saved whole, its counts are missing: count again"):
        verify(certificate, corpus.database, saved=True)


def test_another_certificate_under_a_saved_runs_name_is_refuted(corpus, saved):
    other = replace(saved, recipes=("by magic",) * 3)  # nothing that a count could witness
    with pytest.raises(Refuted, match=r"the database has saved another one under this name \(seal \w{16}…\)"):
        verify(other, corpus.database, parts=None)
