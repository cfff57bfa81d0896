"""Signs that a vocabulary does not name all there is, or names a thing twice."""

import numpy as np
import pytest

from tailwag.analysis.calibration.closed_world import LabelledClasses
from tailwag.analysis.calibration.open_world import is_low, lowest_usual, near_prototypes, nested_names
from tailwag.retrieval.concepts import Concept, ConceptSet, load_concepts

from ..corpora import random_unit


def named(*concepts):
    made = [Concept(one) if isinstance(one, str) else Concept(one[0], tuple(one[1:])) for one in concepts]
    return ConceptSet("made", tuple(made))


@pytest.mark.parametrize(
    ("concepts", "pairs"),
    [
        (("dog", "guide_dog", "cat"), (("guide_dog", "dog"),)),
        (("dog", "dog house", "hotdog"), ()),
        (("dog", ("poodle", "Standard Dog")), (("poodle", "dog"),)),
        ((("car", "automobile"), ("vehicle", "Automobile")), (("vehicle", "car"),)),
        (
            ("wild cat", "cat", "big wild cat"),
            (("wild cat", "cat"), ("big wild cat", "wild cat"), ("big wild cat", "cat")),
        ),
    ],
)
def test_a_kind_is_known_by_its_head_noun_and_a_double_by_its_name(concepts, pairs):
    assert set(nested_names(named(*concepts))) == set(pairs)


def test_shipped_vocabularies_are_read_as_they_are():
    assert nested_names(load_concepts("cifar10")) == ()
    assert ("cougar face", "face") in nested_names(load_concepts("caltech101"))


def test_prototypes_that_nearly_coincide_stand_out_and_usual_ones_do_not():
    vectors = random_unit(12, 256).astype(float)
    names = tuple(f"concept {number}" for number in range(12))
    assert near_prototypes(names, vectors) == ()
    vectors[5] = vectors[3] + 0.02 * vectors[7]
    ((one, other, cosine),) = near_prototypes(names, vectors)
    assert (one, other) == ("concept 3", "concept 5") and cosine > 0.99
    assert near_prototypes(names[:3], vectors[:3]) == ()  # too few pairs to know what is usual


def test_rows_like_the_labelled_ones_are_seldom_low_and_rows_of_nothing_often():
    random = np.random.default_rng(0)

    def rows(number, own):
        labels = np.repeat(np.arange(3), number)
        scores = 0.2 + random.normal(0, 0.02, (len(labels), 3))
        scores[np.arange(len(labels)), labels] += own
        return LabelledClasses(scores, labels)

    limits = lowest_usual(rows(200, 0.1))
    assert limits.shape == (3,)
    assert is_low(rows(2000, 0.1).similarities, limits).mean() == pytest.approx(0.01, abs=0.01)
    assert is_low(rows(2000, 0.0).similarities, limits).mean() > 0.9


def test_a_class_that_wins_few_labelled_rows_takes_the_limit_of_all():
    scores = np.vstack([np.tile([0.3, 0.1], (50, 1)), np.tile([0.1, 0.5], (3, 1))])
    labels = LabelledClasses(scores, np.array([0] * 50 + [1] * 3))
    assert lowest_usual(labels).tolist() == pytest.approx([0.3, 0.3])
