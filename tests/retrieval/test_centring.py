"""Centred prototypes: one product still, what they refuse, and when a space asks for them."""

import csv
import json

import numpy as np
import pytest

from tailwag.errors import BadInput, SpaceMismatch
from tailwag.retrieval.background import Background, vocabulary_digest, vocabulary_texts
from tailwag.retrieval.centring import centre, centred_recipe, is_centred, kind_of, making_of, with_reason
from tailwag.retrieval.centring_choice import (
    average_precision,
    choose_by_labels,
    choose_centring,
    labelled_sample,
    measure_hub_strength,
    sample_vectors,
)
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import make_corpus, make_space, random_unit

D = 16


def cone(rows, seed, pull=1.5):
    """Unit vectors about one direction, as CLIP's texts lie."""
    wide = np.random.default_rng(seed).normal(size=(rows, D)) / np.sqrt(D)
    wide[:, 0] += pull
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)


def background(seed=1, rows=40):
    return Background(cone(rows, seed), make_space(D), "0" * 8)


def prototypes(rows=3, seed=2):
    names = tuple(f"thing {row}" for row in range(rows))
    return PrototypeSet(names, cone(rows, seed), make_space(D), tuple(f'text "a {name}"' for name in names))


def test_a_centred_similarity_is_the_cosine_less_the_pictures_own_mean_over_the_vocabulary():
    plain, texts, pictures = prototypes(), background(), cone(50, 3).astype(np.float64)
    cosine = pictures @ plain.vectors.astype(np.float64).T
    own = (pictures @ texts.vectors.astype(np.float64).T).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        pictures @ centre(plain, texts).vectors.astype(np.float64).T, cosine - own, atol=D * 2**-11
    )
    assert (np.linalg.norm(centre(plain, texts).vectors.astype(float), axis=1) < 0.95).all()  # not normalised


def test_recipes_say_so_and_no_prototype_is_centred_twice():
    once = centre(prototypes(), background())
    assert once.recipes[0] == 'text "a thing 0", less the mean of 40 texts (vocabulary 00000000)'
    assert all(map(is_centred, once.recipes)) and not is_centred(prototypes().recipes[0])
    with pytest.raises(BadInput, match="centred already"):
        centre(once, background())


def test_the_recipe_of_the_shipped_vocabulary_is_known_without_a_model():
    texts = vocabulary_texts()
    assert f"{len(texts)} texts (vocabulary {vocabulary_digest(texts)})" in centred_recipe('text "a dog"')
    assert vocabulary_digest(texts) == vocabulary_digest(texts[::-1]) != vocabulary_digest(texts[1:])


def test_another_space_and_a_prototype_that_would_be_too_long_are_refused():
    other = Background(cone(9, 1)[:, :8], make_space(8), "0" * 8)
    with pytest.raises(SpaceMismatch, match="one model"):
        centre(prototypes(), other)
    opposite = PrototypeSet(("x",), -cone(1, 4), make_space(D), ("r",))
    with pytest.raises(BadInput, match="little in common"):
        centre(opposite, background())


def test_a_recipe_says_its_kind_whatever_words_someone_typed():
    for plain in (
        'text "a dog"',
        "mean of 3 example images",
        'text "x, less the mean of 3 texts (vocabulary 00000000)"',
    ):
        centred = centred_recipe(plain)
        assert (kind_of(plain), kind_of(centred)) == ("plain", "centred")
        for recipe in (plain, centred):
            told = with_reason(recipe, "hub strength 0.9 on [some] rows")
            assert making_of(told) == recipe == making_of(recipe) and kind_of(told) == kind_of(recipe)
            assert told.endswith(f" [{kind_of(recipe)}: hub strength 0.9 on (some) rows]")


def test_hub_strength_is_what_the_whole_table_of_similarities_gives():
    pictures, texts = cone(60, 5), background()
    table = pictures.astype(float) @ texts.vectors.astype(float).T
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    assert measure_hub_strength(pictures, texts) == pytest.approx(table.mean(axis=1).std() / left.std(), rel=1e-9)


def test_auto_follows_hub_strength_and_a_wish_is_a_wish():
    texts = background()
    hubs = cone(200, 6)
    flat = np.zeros((200, D), np.float16)
    flat[:, 1:] = np.random.default_rng(7).normal(size=(200, D - 1))
    flat -= np.outer(flat @ texts.mean, texts.mean / (texts.mean @ texts.mean)).astype(np.float16)
    assert choose_centring("auto", hubs, texts).centred
    choice = choose_centring("auto", flat, texts)
    assert not choice.centred and "under 0.7" in choice.reason and "200 rows" in choice.reason
    assert choice.kind == "plain" and str(choice) == f"plain: {choice.reason}"
    few = choose_centring("auto", hubs[:199], texts)
    assert not few.centred and few.hub_strength is None and "199 rows are under 200" in few.reason
    assert choose_centring("yes", flat, texts).centred and not choose_centring("no", hubs, texts).centred
    with pytest.raises(BadInput, match="none of auto"):
        choose_centring("maybe", hubs, texts)
    with pytest.raises(BadInput, match="two pictures"):
        measure_hub_strength(hubs[:1], texts)


@pytest.mark.photos
def test_true_clip_asks_for_centring_and_ranks_better_with_it(data):
    folder = data / "data" / "clip-vectors"
    pictures, texts = np.load(folder / "image_vectors.npy"), np.load(folder / "text_vectors_lvis.npy")
    names = json.loads((folder / "text_names_lvis.json").read_text())
    space = make_space(pictures.shape[1])
    vocabulary = Background(texts, space, "0" * 8)
    strength = choose_centring("auto", pictures, vocabulary)
    assert strength.centred and 0.8 < strength.hub_strength < 0.95
    plain = PrototypeSet(tuple(names), texts, space, tuple(names))
    labels = read_labels(folder / "labels_by_eye.csv", names)
    plain_map, centred_map = (
        np.mean(
            [precision(pictures.astype(float) @ one.vectors[row].astype(float), *seen) for row, seen in labels.items()]
        )
        for one in (plain, centre(plain, vocabulary))
    )
    assert centred_map > plain_map + 0.05


def read_labels(path, names):
    found = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            yes, unsure = found.setdefault(names.index(row["lvis_name"]), ([], []))
            (yes if row["shows_it"] == "yes" else unsure).append(int(row["row"]))
    return found


def precision(similarities, yes, unsure):
    told = np.setdiff1d(np.arange(len(similarities)), unsure)
    return average_precision(similarities[told], np.isin(told, yes))


def test_average_precision_is_the_mean_precision_at_each_hit():
    generator = np.random.default_rng(8)
    for _ in range(20):
        similarities, shown = generator.normal(size=30), generator.random(30) < 0.3
        shown[0] = True
        order = np.argsort(-similarities)
        at = [shown[order[: place + 1]].mean() for place in range(30) if shown[order[place]]]
        assert average_precision(similarities, shown) == pytest.approx(np.mean(at))
    # Rows that cannot be told apart are no ranking: whichever stands first, it is the same.
    assert average_precision(np.zeros(4), np.array([1, 0, 0, 0], bool)) == 0.25


def hubs_and_things(rows=400, things=4, seed=9):
    """Pictures of things of which some resemble every text, and the prototypes of the things."""
    generator = np.random.default_rng(seed)
    shows = generator.integers(0, things, rows)
    texts = cone(things, 10)
    wide = texts.astype(float)[shows] * 0.5 + generator.normal(size=(rows, D)) / 8
    wide += np.outer(generator.exponential(1.5, rows), background().mean)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float16), shows, texts


def test_labels_choose_what_ranks_better_and_say_nothing_where_they_are_few():
    pictures, shows, texts = hubs_and_things()
    plain = PrototypeSet(tuple("abcd"), texts, make_space(D), tuple("abcd"))
    centred = centre(plain, background())
    shown = shows[:, None] == np.arange(4)
    choice = choose_by_labels(plain, centred, pictures, shown)
    means = [
        np.mean([average_precision(pictures.astype(float) @ v.astype(float), shown[:, c]) for c, v in enumerate(vs)])
        for vs in (plain.vectors, centred.vectors)
    ]
    assert choice.centred == (means[1] > means[0]) and f"{means[1]:.3f} centred, {means[0]:.3f} plain" in choice.reason
    assert choose_by_labels(centred, plain, pictures, shown).centred != choice.centred
    assert choose_by_labels(plain, centred, pictures[:9], shown[:9]) is None


def test_samples_are_of_the_corpus_and_the_same_each_time(tmp_path):
    vectors = random_unit(50, D)
    labels = ["Red Panda" if row % 5 == 0 else None if row % 5 == 1 else "zebra" for row in range(50)]
    corpus = make_corpus(tmp_path, vectors, labels=labels)
    assert np.array_equal(sample_vectors(corpus, "image"), vectors)
    few = sample_vectors(corpus, "image", 10)
    assert few.shape == (10, D) and np.array_equal(few, sample_vectors(corpus, "image", 10))
    assert all((vectors == one).all(axis=1).any() for one in few) and len(np.unique(few, axis=0)) == 10
    concepts = ConceptSet("x", (Concept("red_panda"), Concept("horse", ("Zebra",)), Concept("dog")))
    found, shown = labelled_sample(corpus, concepts)
    assert np.array_equal(found, vectors[[label is not None for label in labels]])
    assert shown.sum(axis=0).tolist() == [10, 30, 0]
    assert labelled_sample(make_corpus(tmp_path, vectors, name="bare"), concepts) is None
