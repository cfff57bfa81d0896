"""What true CLIP vectors must give: the numbers that were found when they were collected.

541 photographs and 500 CIFAR-10 images with OpenAI's ViT-B/32, texts "a NAME", 24 names labelled by eye.
"""

import csv
import json

import numpy as np
import pytest

from tailwag.embed.space import Space
from tailwag.retrieval.concepts import fold, load_concepts
from tailwag.retrieval.counting import CountQuery, count, similarities
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import make_corpus
from tests.running import RUNNING

pytestmark = pytest.mark.photos

SPACE = Space("ViT-B-32", "openai", "made elsewhere", "openai", "{}", "tokenizer", 512)
THRESHOLDS = (0.24, 0.25, 0.26, 0.27)


@pytest.fixture(scope="module")
def folder(data):
    return data / "data" / "clip-vectors"


@pytest.fixture(scope="module")
def photos(folder):
    return np.load(folder / "image_vectors.npy")


@pytest.fixture(scope="module")
def labelled(folder):
    """The 24 prototypes, and for each photo and name whether it shows it and whether that is unsure."""
    names = json.loads((folder / "text_names_lvis.json").read_text())
    texts = np.load(folder / "text_vectors_lvis.npy")
    with (folder / "labels_by_eye.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    chosen = sorted({label["lvis_name"] for label in labels})
    prototypes = PrototypeSet(
        tuple(chosen),
        texts[[names.index(name) for name in chosen]],
        SPACE,
        tuple(f'text "a {name}"' for name in chosen),
    )
    shows, unsure = np.zeros((2, 541, len(chosen)), dtype=bool)
    for label in labels:
        (shows if label["shows_it"] == "yes" else unsure)[int(label["row"]), chosen.index(label["lvis_name"])] = True
    assert (len(chosen), shows.sum()) == (24, 59)
    return prototypes, shows, unsure


@pytest.fixture(scope="module")
def cifar10(folder):
    images, texts = (np.load(folder / "cifar10" / f"{kind}_vectors.npy") for kind in ("image", "text"))
    return images, texts, np.load(folder / "cifar10" / "labels.npy")


@pytest.mark.parametrize("backend", RUNNING)
def test_counts_at_four_thresholds_with_their_precision_and_recall(tmp_path, photos, labelled, backend):
    prototypes, shows, unsure = labelled
    corpus = make_corpus(tmp_path, photos, name="photos", space=SPACE)
    result = count(corpus, CountQuery(prototypes, THRESHOLDS), backend)
    hits = similarities(photos, prototypes.vectors)[:, :, None] >= np.array(THRESHOLDS)
    np.testing.assert_array_equal(result.counts, hits.sum(axis=0))
    assert result.counts.sum(axis=0).tolist() == [122, 69, 40, 26]
    right = (hits & shows[:, :, None]).sum(axis=(0, 1))
    in_doubt = (hits & unsure[:, :, None]).sum(axis=(0, 1))
    assert (right / shows.sum()).round(2).tolist() == [0.90, 0.73, 0.56, 0.37]
    assert (right / (result.counts.sum(axis=0) - in_doubt)).round(2).tolist() == [0.48, 0.68, 0.92, 0.96]


def test_the_nearest_of_24_names_is_right_for_57_of_59(photos, labelled):
    prototypes, shows, _ = labelled
    rows, names = np.nonzero(shows)
    nearest = similarities(photos, prototypes.vectors).argmax(axis=1)
    assert (nearest[rows] == names).sum() == 57


def test_similarities_of_photos_and_their_ranking(photos, labelled):
    prototypes, shows, unsure = labelled
    found = similarities(photos, prototypes.vectors)
    negative = ~shows & ~unsure
    assert (found[shows].mean().round(3), found[shows].std().round(3)) == (0.264, 0.021)
    assert (found[negative].mean().round(3), found[negative].std().round(3)) == (0.185, 0.019)
    precisions = []
    for scores, right, left_out in zip(found.T, shows.T, unsure.T, strict=True):
        ranked = right[~left_out][np.argsort(-scores[~left_out])]
        precisions.append((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())
    assert round(float(np.mean(precisions)), 3) == 0.897


def test_no_photo_shows_a_pizza_and_the_best_says_so(tmp_path, folder, photos):
    names = json.loads((folder / "text_names_lvis.json").read_text())
    pizza = np.load(folder / "text_vectors_lvis.npy")[[names.index("pizza")]]
    corpus = make_corpus(tmp_path, photos, name="photos", space=SPACE)
    counts = count(corpus, CountQuery(PrototypeSet(("pizza",), pizza, SPACE, ("text",)), [0.228, 0.2295])).counts
    assert counts.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("texts", "others", "shared"),
    [("coco", "lvis", 59), ("objects365", "coco", 70), ("openimages", "coco", 66), ("openimages", "lvis", 236)],
)
def test_lists_of_names_line_up_with_their_vectors(folder, texts, others, shared):
    def load(which):
        names = json.loads((folder / f"text_names_{which}.json").read_text())
        return [fold(name) for name in names], np.load(folder / f"text_vectors_{which}.npy")

    (names, vectors), (other_names, other_vectors) = load(texts), load(others)
    both = [name for name in names if name in other_names]
    nearest = similarities(vectors, other_vectors).argmax(axis=1)
    right = sum(other_names[nearest[names.index(name)]] == name for name in both)
    assert (len(both), right) == (shared, shared)


def test_cifar10_zero_shot(cifar10):
    images, texts, labels = cifar10
    found = similarities(images, texts)
    assert (found.argmax(axis=1) == labels).mean() == pytest.approx(0.898)
    own = np.eye(10, dtype=bool)[labels]
    assert (found[own].mean().round(3), found[own].std().round(3)) == (0.255, 0.015)
    assert (found[~own].mean().round(3), found[~own].std().round(3)) == (0.207, 0.018)


def test_cifar10_counts_agree_over_all_backends(tmp_path, cifar10):
    images, texts, _ = cifar10
    names = load_concepts("cifar10").names
    prototypes = PrototypeSet(names, texts, SPACE, ("text",) * 10)
    corpus = make_corpus(tmp_path, images, name="cifar10", space=SPACE)
    ladder = np.arange(-100, 101) / 100
    results = [count(corpus, CountQuery(prototypes, ladder), backend).counts for backend in RUNNING]
    for counts in results:
        np.testing.assert_array_equal(counts, results[0])
