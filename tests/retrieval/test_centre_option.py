"""`--centre` as someone types it: counts equal a brute-force twin; saved ones are never taken for the other kind."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.main import main
from tailwag.retrieval.background import encode_background, vocabulary_texts
from tailwag.retrieval.centring import centre, centred_recipe
from tailwag.retrieval.centring_choice import measure_hub_strength
from tailwag.retrieval.concepts import query_concepts
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.counting.bins import EDGES
from tailwag.retrieval.prototypes import prototypes_from_texts
from tailwag.retrieval.records import save_counts
from tailwag.retrieval.thresholds import write_threshold_table
from tests.corpora import make_corpus, unit

ROWS = 240


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def background(encoder):
    return encode_background(encoder)


@pytest.fixture(scope="module")
def database(encoder, background, tmp_path_factory):
    """Pictures of which some resemble every text; `small` has too few to tell; `hubs` and `flat` are clear cases."""
    folder = tmp_path_factory.mktemp("centred")
    generator = np.random.default_rng(0)
    noise = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(20)]
    plain = encoder.encode_images(noise).astype(np.float64)
    mean = background.mean / np.linalg.norm(background.mean)
    spread = generator.normal(size=(ROWS, 32)) / 8
    pulled = plain[generator.integers(0, 20, ROWS)] + spread + np.outer(generator.exponential(0.5, ROWS), mean)
    level = spread - np.outer(spread @ mean, mean)
    captions = [f"picture number {number}" for number in range(ROWS)]
    texts = encoder.encode_texts(captions)
    for name, vectors in (("photos", pulled), ("hubs", pulled + 2 * np.outer(pulled @ mean, mean)), ("flat", level)):
        make_corpus(folder, unit(vectors), texts, name=name, space=encoder.space, captions=captions)
    make_corpus(folder, unit(pulled[:50]), name="small", space=encoder.space)
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


def by_brute_force(encoder, corpus, text):
    """Similarities to a centred prototype, worked out from what it is said to be."""
    words = encoder.encode_texts(vocabulary_texts()).astype(np.float64)
    prototype = (encoder.encode_texts([text])[0].astype(np.float64) - words.mean(axis=0)).astype(np.float16)
    vectors = np.concatenate([block.vectors for block in corpus.scan("image")])
    return vectors.astype(np.float64) @ prototype.astype(np.float64)


def test_a_centred_count_equals_its_brute_force_twin(tailwag, encoder, database):
    similarities = by_brute_force(encoder, Corpus.open(database, "photos"), "a photo of a red panda")
    threshold = float(np.sort(similarities)[-70])
    status, out, err = tailwag(
        "count", "photos", "red panda", "--centre", "yes", "--threshold", repr(threshold), "--json"
    )
    (found,) = json.loads(out)["counts"]
    assert (status, err, found["count"]) == (0, "", (similarities >= threshold).sum())
    assert found["count"] == 70 and found["recipe"] == centred_recipe('text "a photo of a red panda"')
    _, out, _ = tailwag("count", "photos", "red panda", "--threshold", repr(threshold), "--json")
    plain = json.loads(out)["counts"][0]
    assert plain["recipe"] == 'text "a photo of a red panda"' and plain["count"] != 70


def test_a_search_ranks_by_the_centred_similarity(tailwag, encoder, database):
    corpus = Corpus.open(database, "photos")
    similarities = by_brute_force(encoder, corpus, "red panda")
    best = np.array(corpus.column("key").to_pylist())[np.argsort(-similarities)[:10]]
    status, out, err = tailwag("search", "photos", "red panda", "--centre", "yes", "-k", 10, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, err) == (0, "") and [row["key"] for row in rows] == best.tolist()
    _, plain, _ = tailwag("search", "photos", "red panda", "-k", 10, "--csv", "-")
    assert [row["key"] for row in csv.DictReader(io.StringIO(plain))] != best.tolist()


@pytest.mark.parametrize(("corpus", "kind"), [("hubs", "centred"), ("flat", "plain")])
def test_auto_measures_the_corpus_says_why_and_records_it(tailwag, background, database, corpus, kind):
    vectors = np.concatenate([block.vectors for block in Corpus.open(database, corpus).scan("image")])
    strength = measure_hub_strength(vectors, background)
    assert (strength >= 0.7) == (kind == "centred")
    status, out, err = tailwag("count", corpus, "red panda", "--centre", "auto", "--json")
    reason = f"hub strength {strength:.2f} on {ROWS} rows is {'at least' if kind == 'centred' else 'under'} 0.7"
    assert (status, err) == (0, f"tailwag: {kind} prototypes: {reason}\n")
    assert json.loads(out)["counts"][0]["recipe"].endswith(f" [{kind}: {reason}]")
    assert tailwag("search", corpus, "red panda", "--centre", "auto", "-k", 3)[2] == err
    ladder = tailwag("count", corpus, "red panda", "--centre", "auto")[1]
    assert ("then pass --threshold with --centre yes" in ladder) == (kind == "centred")


def test_auto_is_plain_where_there_are_too_few_rows_and_for_numbers_and_pictures(tailwag, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    for arguments, reason in (
        (["count", "small", "a dog"], "50 rows are under 200 and too few to measure hubs on"),
        (["count", "hubs", "a dog", "--threshold", 0.2], "a threshold given as a number is taken for one of plain"),
        (["count", "hubs", "--image", tmp_path / "black.png"], "prototypes of pictures are not centred"),
        (["search", "hubs", "--image", tmp_path / "black.png"], "prototypes of pictures are not centred"),
    ):
        status, _, err = tailwag(*arguments, "--centre", "auto")
        assert status == 0 and err.startswith(f"tailwag: plain prototypes: {reason}") and err.count("\n") == 1


def test_a_file_of_thresholds_decides_and_one_of_the_other_kind_is_refused(tailwag, encoder, database, tmp_path):
    similarities = by_brute_force(encoder, Corpus.open(database, "photos"), "a photo of a red panda")
    path, threshold = tmp_path / "centred.csv", float(np.sort(similarities)[-30])
    known = {"space": encoder.space, "sources": "made up"}
    write_threshold_table(path, ["red panda"], np.array([threshold]), kind="centred", **known)
    asked = ("count", "photos", "red panda", "--thresholds", path, "--json")
    status, out, err = tailwag(*asked, "--centre", "auto")
    assert (status, json.loads(out)["counts"][0]["count"]) == (0, 30)
    assert err == f"tailwag: centred prototypes: the thresholds in {path} hold for centred prototypes\n"
    assert json.loads(tailwag(*asked, "--centre", "yes")[1])["counts"][0]["count"] == 30
    status, out, err = tailwag(*asked)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "holds for centred prototypes, and these are plain: pass --centre yes" in err
    assert tailwag("diff", "photos", "photos", "red panda", "--thresholds", path)[0] == 1
    assert tailwag("diff", "photos", "photos", "red panda", "--thresholds", path, "--centre", "yes")[0] == 0
    path.write_text("concept,threshold\nred panda,0.2\n")
    status, _, err = tailwag(*asked, "--centre", "yes")
    assert status == 1 and "holds for plain prototypes, and these are centred: pass --centre no" in err
    status, out, err = tailwag(*asked, "--centre", "auto")
    assert status == 0 and "tailwag: plain prototypes: the thresholds in" in err


def test_saved_histograms_of_a_centred_prototype_are_not_taken_for_the_plain_one(tailwag, encoder, database, tmp_path):
    vectors = np.concatenate([block.vectors for block in Corpus.open(database, "photos").scan("image")])
    corpus = make_corpus(tmp_path, vectors, name="photos", space=encoder.space)
    asked = ("count", "photos", "red panda", "--threshold")
    assert tailwag(*asked, 0.05, "--centre", "yes", "--save", db=tmp_path)[0] == 0
    # Only the centred one is saved: the plain one is not answered by it.
    status, out, err = tailwag(*asked, 0.2, "--rethreshold", db=tmp_path)
    assert (status, out) == (1, "") and "less the mean of" in err and "name one of them by --centre yes" in err
    similarities = by_brute_force(encoder, corpus, "a photo of a red panda")
    edge = float(EDGES[np.argmin(np.abs(EDGES - np.sort(similarities)[-60]))])
    _, out, err = tailwag(*asked, edge, "--centre", "yes", "--rethreshold", "--json", db=tmp_path)
    assert json.loads(out)["counts"][0]["count"] == (similarities >= edge).sum()
    # Both are saved: each answers for itself.
    assert tailwag(*asked, 0.2, "--save", db=tmp_path)[0] == 0
    plain = count(corpus, CountQuery(prototypes_from_texts(query_concepts("red panda"), encoder), edge)).counts[0, 0]
    assert plain != (similarities >= edge).sum()
    for wish, expected in (("no", plain), ("yes", (similarities >= edge).sum())):
        out = tailwag(*asked, edge, "--centre", wish, "--rethreshold", "--json", db=tmp_path)[1]
        assert json.loads(out)["counts"][0]["count"] == expected
    # The reason for a kind is no part of how a prototype is made: what auto saved is found as well.
    status, _, err = tailwag("count", "photos", "zebra", "--centre", "auto", "--save", db=tmp_path)
    assert status == 0 and "hub strength" in err
    kind = "yes" if "centred prototypes" in err else "no"
    assert (
        tailwag("count", "photos", "zebra", "--threshold", 0.1, "--centre", kind, "--rethreshold", db=tmp_path)[0] == 0
    )


def test_each_kind_is_answered_and_continued_by_its_own_saved_count(tailwag, encoder, background, database, tmp_path):
    vectors = np.concatenate([block.vectors for block in Corpus.open(database, "photos").scan("image")])
    corpus = make_corpus(tmp_path, vectors, name="photos", space=encoder.space)
    plain = prototypes_from_texts(query_concepts("red panda"), encoder)
    for prototypes in (centre(plain, background), plain):
        query = CountQuery(prototypes, 0.1, histogram=True, partials=True)
        save_counts(corpus, query, count(corpus, query))
    for wish, prototypes in (("no", plain), ("yes", centre(plain, background))):
        expected = count(corpus, CountQuery(prototypes, 0.2)).counts[0, 0]
        asked = ("count", "photos", "red panda", "--threshold", 0.2, "--rethreshold", "--json", "--centre", wish)
        assert json.loads(tailwag(*asked, db=tmp_path)[1])["counts"][0]["count"] == expected
    # --since rests on the vectors themselves: the plain count never continues the centred one.
    status, out, _ = tailwag("count", "photos", "red panda", "--threshold", 0.1, "--since", 2, "--json", db=tmp_path)
    assert status == 0 and json.loads(out)["rows_reused"] == ROWS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count", "photos", "dog", "--rethreshold", "--centre", "auto"], "no vectors to decide --centre auto by"),
        (["count", "photos", "--image", "x.png", "--threshold", 0.1, "--centre", "yes"], "takes a mean of texts off"),
        (["search", "photos", "--image", "x.png", "--centre", "yes"], "takes a mean of texts off"),
        (["count", "photos", "--since", 2, "--centre", "yes"], "leave out --centre"),
        (["diff", "photos", "photos", "--centre", "yes"], "--centre goes with CONCEPT"),
        (["count", "photos", "dog", "--centre", "maybe"], "'maybe' is not one of"),
    ],
)
def test_what_cannot_be_centred_is_a_usage_error(tailwag, arguments, message):
    status, out, err = tailwag(*arguments)
    assert (status, out) == (2, "") and message in " ".join(err.split())


def test_a_sketch_is_asked_in_either_kind(tailwag, encoder, database, tmp_path):
    sketch = tmp_path / "hubs.sketch"
    assert tailwag("sketch", "hubs", "--out", sketch)[0] == 0
    similarities = by_brute_force(encoder, Corpus.open(database, "hubs"), "a photo of a dog")
    threshold = float(np.sort(similarities)[-40])
    asked = ("count", sketch, "dog", "--json", "--threshold", repr(threshold))
    assert json.loads(tailwag(*asked, "--centre", "yes")[1])["estimates"][0]["estimate"] == 40
    assert "tailwag: centred prototypes: hub strength" in tailwag("count", sketch, "dog", "--centre", "auto")[2]
