"""Sketches: what they hold, what they answer without the corpus, and what is refused as damaged."""

import json
import math
import shutil
import subprocess
import sys
import zipfile

import lance
import numpy as np
import pytest

from tailwag.embed.corpus import Corpus, sampling_number
from tailwag.errors import BadInput, NotFound, SpaceMismatch, TailwagError
from tailwag.retrieval.counting import BACKENDS, CountQuery, count, sample, similarities
from tailwag.retrieval.counting.backends import why_not
from tailwag.retrieval.counting.bins import EDGES, bin_of
from tailwag.retrieval.estimates import Sketch, estimate, load_sketch, save_sketch
from tailwag.retrieval.estimates import sketch_file as files
from tests.corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

DIMENSION, ROWS = 16, 6000
# Edges of bins and numbers between them, where there are many rows and where there are few.
THRESHOLDS = [-0.3, -0.1004, 0.0, 0.1, 0.1003, 0.25, 0.25049, 0.7, 0.70001]
RUNNING = [name for name in sorted(BACKENDS) if why_not(name) is None]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    vectors = clustered_unit(ROWS, DIMENSION, clusters=6)
    return make_corpus(tmp_path_factory.mktemp("sketches"), vectors, random_unit(ROWS, DIMENSION))


@pytest.fixture(scope="module")
def prototypes():
    return make_prototypes(random_unit(4, DIMENSION, 3))


@pytest.fixture(scope="module")
def sketch(corpus, prototypes):
    """Of a tenth of the rows, with the histograms of two of the four concepts."""
    return Sketch.of_corpus(corpus, 600, prototypes=prototypes.select(["query 2", "query 0"]))


@pytest.fixture
def path(sketch, tmp_path):
    save_sketch(sketch, tmp_path / "made.sketch")
    return tmp_path / "made.sketch"


def same(one: Sketch, other: Sketch) -> bool:
    alike = all(
        getattr(one, name) == getattr(other, name)
        for name in ("corpus", "corpus_version", "space", "side", "rows", "failures", "rate")
    )
    if (one.prototypes is None) != (other.prototypes is None):
        return False
    if one.prototypes is not None and other.prototypes is not None:
        alike &= one.prototypes.names == other.prototypes.names and one.prototypes.recipes == other.prototypes.recipes
        alike &= np.array_equal(one.prototypes.vectors, other.prototypes.vectors)
        alike &= np.array_equal(one.histograms, other.histograms)
    return bool(alike and np.array_equal(one.vectors, other.vectors))


@pytest.mark.parametrize("side", ["image", "text"])
def test_it_holds_the_rows_below_its_rate_and_no_others(corpus, side):
    made = Sketch.of_corpus(corpus, 900, side)
    numbers = np.array([sampling_number(f"s/{row}") for row in range(ROWS)])
    stored = np.concatenate([block.vectors for block in corpus.scan(side)])
    assert made.rate == 0.15
    np.testing.assert_array_equal(made.vectors, stored[numbers < 0.15])
    assert (made.corpus, made.corpus_version, made.rows, made.side) == ("made", corpus.version, ROWS, side)


def test_a_small_corpus_is_held_whole_and_answers_exactly(corpus, prototypes):
    made = Sketch.of_corpus(corpus, ROWS)
    query = CountQuery(prototypes, THRESHOLDS)
    result = made.estimate(query)
    assert (made.rate, len(made.vectors)) == (1.0, ROWS)
    np.testing.assert_array_equal(result.estimates, count(corpus, query).counts)
    np.testing.assert_array_equal(result.lower, result.upper)
    assert not result.approximate.any()
    assert "counted exactly" in str(result[0])


@pytest.mark.parametrize("backend", RUNNING)
def test_it_answers_as_a_sample_of_the_corpus_does(corpus, prototypes, sketch, backend):
    query = CountQuery(prototypes.select(["query 1", "query 3"]), THRESHOLDS)
    answered, expected = sketch.estimate(query, backend=backend), estimate(corpus, query, rate=0.1)
    for name in ("hits", "estimates", "lower", "upper", "approximate", "methods"):
        np.testing.assert_array_equal(getattr(answered, name), getattr(expected, name))
    for name in ("corpus", "corpus_version", "rows", "sampled", "rate", "failures", "confidence", "concepts"):
        assert getattr(answered, name) == getattr(expected, name)
    assert str(answered[3]) == str(expected[3])


def test_what_has_a_histogram_is_exact_at_the_edges_of_bins_and_near_exact_between(corpus, prototypes, sketch):
    query = CountQuery(prototypes, THRESHOLDS)
    truth = count(corpus, query).counts
    answered = sketch.estimate(query)
    alone = estimate(corpus, query, rate=0.1)
    edges = np.isin(THRESHOLDS, EDGES)
    assert edges.tolist() == [True, False, True, True, False, True, False, True, False]
    for concept, stored in enumerate((True, False, True, False)):
        exact = ~answered.approximate[concept]
        if not stored:
            assert not exact.any()
            continue
        assert exact[edges].all()
        np.testing.assert_array_equal(answered.estimates[concept][exact], truth[concept][exact])
        np.testing.assert_array_equal(answered.lower[concept][exact], answered.upper[concept][exact])
        assert set(answered.methods[concept][exact]) == {"histogram"}
        between = ~exact
        assert between.any()
        assert set(answered.methods[concept][between]) == {"histogram and sample"}
        widths = [(one.upper - one.lower)[concept] for one in (answered, alone)]
        assert (widths[0] < widths[1] / 10)[between].all()
    assert ((answered.lower <= truth) & (truth <= answered.upper)).all()
    assert ((answered.lower <= answered.estimates) & (answered.estimates <= answered.upper)).all()
    assert "estimated from the histogram and a sample of" in str(answered[1])


def test_a_histogram_belongs_to_a_vector_and_not_to_a_name(corpus, prototypes, sketch):
    swapped = make_prototypes(prototypes.vectors[[1, 0, 3, 2]])
    query = CountQuery(swapped, 0.1)
    answered = sketch.estimate(query)
    assert answered.approximate[:, 0].tolist() == [True, False, True, False]
    np.testing.assert_array_equal(answered.estimates[[1, 3]], count(corpus, query).counts[[1, 3]])


def test_intervals_between_edges_cover_the_truth_as_often_as_they_say():
    """200 samples of one corpus: bins hold a few rows each, of which a sample may hold none."""
    generator = np.random.default_rng(5)
    vectors, prototypes = clustered_unit(4000, 8), make_prototypes(clustered_unit(1, 8, seed=9))
    scores = similarities(vectors, prototypes.vectors)[:, 0]
    histogram = np.bincount(bin_of(scores), minlength=2048)[None].astype(np.int64)
    thresholds = np.quantile(scores, [0.3, 0.9, 0.99])
    thresholds = np.floor(thresholds * 1000) / 1000 + np.array([0.0003, 0.0005, 0.0008])
    truth = (scores[:, None] >= thresholds).sum(axis=0)
    covered = np.zeros(3)
    runs = 200
    for _ in range(runs):
        taken = np.flatnonzero(generator.random(4000) < 0.3)
        made = Sketch(
            "made", 1, make_space(8), "image", 4000, 0, 0.3, vectors[taken], prototypes, histogram.astype(np.int64)
        )
        result = made.estimate(CountQuery(prototypes, thresholds), confidence=0.8, backend="reference")
        covered += (result.lower[0] <= truth) & (truth <= result.upper[0])
    assert (covered / runs >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / runs)).all()


def test_it_is_asked_for_what_it_holds(corpus, prototypes, sketch):
    with pytest.raises(BadInput, match="holds image vectors, and the text side was asked for"):
        sketch.estimate(CountQuery(prototypes, 0.1, "text"))
    with pytest.raises(BadInput, match="cannot be asked for the rows with u < 0.5"):
        sketch.estimate(CountQuery(prototypes, 0.1, control=sample(0.5)))
    with pytest.raises(BadInput, match="not top_k: use `count`"):
        sketch.estimate(CountQuery(prototypes, 0.1, top_k=2))
    with pytest.raises(SpaceMismatch, match="the sketch of 'made' holds"):
        sketch.estimate(CountQuery(make_prototypes(prototypes.vectors, make_space(DIMENSION, "other")), 0.1))
    with pytest.raises(BadInput, match="at least one row, and 0 were asked for"):
        Sketch.of_corpus(corpus, 0)


def test_a_row_that_is_no_vector_makes_no_sketch(tmp_path):
    corpus = make_corpus(tmp_path, random_unit(30, DIMENSION))
    half = rows_table(corpus.space, random_unit(1, DIMENSION) * np.float16(0.5), prefix="half/")
    lance.write_dataset(half, corpus.database.table_uri("made"), mode="append")
    with pytest.raises(TailwagError, match="the image vector of 'half/0' is not finite or not of unit length"):
        Sketch.of_corpus(Corpus.open(corpus.database, "made"))


def test_an_empty_corpus_has_a_sketch(tmp_path, prototypes):
    made = Sketch.of_corpus(make_corpus(tmp_path, random_unit(0, DIMENSION)), prototypes=prototypes)
    save_sketch(made, tmp_path / "empty.sketch")
    result = load_sketch(tmp_path / "empty.sketch").estimate(CountQuery(prototypes, [0.1, 0.1234]))
    assert (result.estimates.sum(), result.upper.sum(), result.approximate.any()) == (0, 0, False)


def test_a_file_gives_the_sketch_back_and_the_same_bytes_each_time(corpus, sketch, path, tmp_path):
    assert same(load_sketch(path), sketch)
    save_sketch(load_sketch(path), tmp_path / "again.sketch")
    assert (tmp_path / "again.sketch").read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.sketch", "made.sketch"]
    plain = Sketch.of_corpus(corpus, 600)
    save_sketch(plain, tmp_path / "plain.sketch")
    assert same(load_sketch(tmp_path / "plain.sketch"), plain)
    assert len(plain.vectors) * DIMENSION * 2 < (tmp_path / "plain.sketch").stat().st_size < 30_000
    with np.load(path) as parts:  # as anyone can read it
        np.testing.assert_array_equal(parts["vectors"], sketch.vectors)
        assert json.loads(parts["description"].tobytes())["rate"] == 0.1


def test_a_file_answers_where_there_is_no_corpus_and_imports_no_torch(path, prototypes, tmp_path):
    elsewhere = tmp_path / "laptop"
    elsewhere.mkdir()
    shutil.copy(path, elsewhere / "made.sketch")
    prototypes.save(elsewhere / "prototypes.parquet")
    code = (
        "import sys\n"
        "from tailwag.retrieval.counting import CountQuery\n"
        "from tailwag.retrieval.estimates import load_sketch\n"
        "from tailwag.retrieval.prototypes import PrototypeSet\n"
        "query = CountQuery(PrototypeSet.load('prototypes.parquet'), 0.1)\n"
        "print(*load_sketch('made.sketch').estimate(query, backend='reference').estimates.flat)\n"
        "print(sorted({'torch', 'lance', 'lancedb', 'open_clip', 'faiss'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True)
    numbers, imported = told.stdout.splitlines()
    expected = load_sketch(path).estimate(CountQuery(prototypes, 0.1)).estimates
    assert numbers == " ".join(map(str, expected.flat))
    assert imported == "[]"


def assert_refused(path, *words):
    with pytest.raises(BadInput) as refused:
        load_sketch(path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "again" in message
    for word in words:
        assert word in message


def test_a_file_that_was_cut_short_is_refused(path):
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 3, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert_refused(path)


def test_a_byte_that_changed_is_noticed_or_means_nothing(path, sketch):
    whole = path.read_bytes()
    generator = np.random.default_rng(2)
    refused = 0
    for place in generator.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            assert same(load_sketch(path), sketch)
        except BadInput as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


def rewrite(path, change, digest=True):
    """Change a file's parts and, like someone who knows how, its digest too."""
    with np.load(path) as parts:
        arrays = {name: parts[name] for name in parts.files}
    described = json.loads(arrays.pop("description").tobytes())
    del described["sha256"]
    change(described, arrays)
    described["sha256"] = files._digest(described, arrays) if digest else "0" * 64
    np.savez(path.with_suffix(".npz"), description=np.frombuffer(json.dumps(described).encode(), np.uint8), **arrays)
    path.with_suffix(".npz").replace(path)


def set_item(described_or_arrays, key, value):
    described_or_arrays[key] = value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said, parts: set_item(parts, "vectors", parts["vectors"] * np.float16(1.5)), "not of unit length"),
        (lambda said, parts: set_item(parts, "vectors", np.full_like(parts["vectors"], np.nan)), "are not finite"),
        (lambda said, parts: set_item(parts, "vectors", parts["vectors"].astype(np.float32)), "not float32"),
        (lambda said, parts: set_item(parts, "vectors", parts["vectors"][:, :8]), "16-dimensional"),
        (lambda said, parts: set_item(parts, "prototypes", parts["prototypes"] * np.float16(2)), "longer than 1.001"),
        (lambda said, parts: set_item(parts, "prototypes", parts["prototypes"][:1]), "2 concepts"),
        (lambda said, parts: set_item(parts, "histograms", parts["histograms"][1:]), "does not add up to 6,000"),
        (lambda said, parts: set_item(parts, "histograms", -parts["histograms"]), "a bin that there is not"),
        (lambda said, parts: set_item(parts, "histograms", parts["histograms"][:, :2]), "of shape ("),
        (lambda said, parts: set_item(parts, "histograms", parts["histograms"].T), "not stored row by row"),
        (lambda said, parts: set_item(parts, "more", parts["vectors"]), "a sketch's parts"),
        (lambda said, parts: set_item(said, "rows", 10), "no sample u < 0.1 of 10 rows"),
        (lambda said, parts: set_item(said, "rate", 1.0), "no sample u < 1 of 6,000 rows"),
        (lambda said, parts: set_item(said, "rate", math.nan), "no sample u < nan"),
        (lambda said, parts: set_item(said, "rows", "many"), "nothing usable of rows"),
        (lambda said, parts: set_item(said, "failures", "few"), "nothing usable of failures"),
        (lambda said, parts: set_item(said, "side", "left"), "no side 'left'"),
        (lambda said, parts: set_item(said, "format", "tailwag sketch 2"), "not of format 'tailwag sketch 1'"),
        (lambda said, parts: said.pop("corpus"), "nothing usable of corpus"),
        (lambda said, parts: said["space"].pop("weights"), "not the record of an embedding space"),
    ],
)
def test_what_does_not_add_up_is_refused_even_with_a_right_digest(path, change, words):
    rewrite(path, change)
    assert_refused(path, words)


def test_a_wrong_digest_is_refused(path):
    rewrite(path, lambda said, parts: None)
    load_sketch(path)
    rewrite(path, lambda said, parts: None, digest=False)
    assert_refused(path, "does not have the digest")


def test_histograms_that_contradict_the_vectors_are_noticed_when_asked(path, prototypes):
    def move(said, parts):
        entries = parts["histograms"].copy()
        entries[:, 1] = 100  # all rows of a concept into one bin far below
        entries[:, 2] = np.where(np.diff(entries[:, 0], prepend=-1) > 0, ROWS, 0)
        kept = entries[entries[:, 2] > 0]
        parts["histograms"] = kept

    rewrite(path, move)
    with pytest.raises(BadInput, match="contradict its vectors"):
        load_sketch(path).estimate(CountQuery(prototypes, -0.1))


def test_what_is_no_sketch_is_refused(tmp_path):
    path = tmp_path / "x.sketch"
    with pytest.raises(NotFound, match="there is no sketch"):
        load_sketch(path)
    path.write_text("no archive")
    assert_refused(path, "not a zip file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert_refused(path, "a sketch's parts")
    with path.open("wb") as file:
        np.savez_compressed(file, description=np.zeros(10**6, np.uint8))
    assert_refused(path, "compressed")
    with path.open("wb") as file:
        np.savez(file, description=np.array([{"an": "object"}]))
    assert_refused(path)
    with path.open("wb") as file:
        np.savez(file, description=np.frombuffer(b"{]", np.uint8))
    assert_refused(path)


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path):
    path = tmp_path / "x.sketch"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (1000000000000, 512), }".ljust(117) + b"\n"
        archive.writestr("description.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert_refused(path)


def test_a_sketch_is_known_by_its_name(sketch, tmp_path):
    with pytest.raises(BadInput, match="let it end in .sketch"):
        save_sketch(sketch, tmp_path / "made.npz")
    with pytest.raises(BadInput, match="cannot be written"):
        save_sketch(sketch, tmp_path / "none" / "made.sketch")
