"""Centred prototypes: one product still, what they refuse, and when a space asks for them."""

import csv
import json

import numpy as np
import pytest

from tailwag.errors import BadInput, SpaceMismatch
from tailwag.retrieval.centring import (
    Background,
    centre,
    centred_recipe,
    choose_centring,
    is_centred,
    measure_hub_strength,
    vocabulary_digest,
    vocabulary_texts,
)
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import make_space

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


def test_the_vocabulary_names_each_noun_once():
    texts = vocabulary_texts()
    assert 1000 <= len(texts) == len(set(texts)) <= 1500


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
            [
                average_precision(pictures.astype(float) @ one.vectors[row].astype(float), *seen)
                for row, seen in labels.items()
            ]
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


def average_precision(similarities, yes, unsure):
    order = [row for row in np.argsort(-similarities) if row not in set(unsure)]
    hits = np.isin(order, yes)
    return float((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
