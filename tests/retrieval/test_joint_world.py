"""In a made world whose images are read without error, image, caption and joint counts are the truth itself."""

import random

import numpy as np
import pytest

from tailwag.benchmarks.world.captions import write_caption
from tailwag.benchmarks.world.scenes import SceneSampler
from tailwag.benchmarks.world.slips import Slipper, SlipShares
from tailwag.benchmarks.world.vocabulary import plural
from tailwag.retrieval.captions.counting import count_captions
from tailwag.retrieval.captions.joint import joint_frequency
from tailwag.retrieval.concepts import Concept, ConceptSet, load_concepts
from tailwag.retrieval.counting import CountQuery
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import make_corpus

IMAGES = 3000
# Where `ringed` is no concept of its own, it is a form of `ring`.
LEFT_OUT = {"ring"}


@pytest.fixture(scope="module")
def world():
    """What each image shows and each caption names, of all kinds; and the captions."""
    rng, sampler = random.Random(3), SceneSampler(1.0, 4)
    slipper = Slipper(SlipShares(omit=0.25, wrong=0.1), sampler, 4)
    shown, named, captions = [], [], []
    for _ in range(IMAGES):
        scene = sampler.sample(rng)
        slips = slipper.slips(scene, rng)
        shown.append({thing.kind for thing in scene.things})
        named.append({slips.get(kind, kind) for kind in shown[-1]} - {None})
        captions.append(write_caption(scene, rng, slips))
    return shown, named, captions


@pytest.fixture(scope="module")
def kinds():
    kinds = [one for one in load_concepts("world") if one.family == "kind" and one.name not in LEFT_OUT]
    # The world's plurals are not always English: it shows two "dendoxs".
    return ConceptSet("kinds", tuple(Concept(one.name, (*one.synonyms, plural(one.name))) for one in kinds))


@pytest.fixture(scope="module")
def found(world, kinds, tmp_path_factory):
    """Each image's vector points along the kinds that it shows: at 0.5, what it shows are its hits and nothing else."""
    shown, _, captions = world
    image = np.array([[name in one for name in kinds.names] for one in shown], dtype=np.float64)
    image = np.concatenate([image, np.full((IMAGES, 1), 0.1)], axis=1)  # for images of nothing else
    image = (image / np.linalg.norm(image, axis=1, keepdims=True)).astype(np.float16)
    corpus = make_corpus(tmp_path_factory.mktemp("world"), image, captions=captions)
    axes = np.eye(*image.shape[1:], dtype=np.float16)[: len(kinds)]
    prototypes = PrototypeSet(kinds.names, axes, corpus.space, ("an axis",) * len(kinds))
    counted = count_captions(corpus, kinds, keep="words")
    return joint_frequency(corpus, CountQuery(prototypes, 0.5), counted, misalignment=True)


def test_image_caption_and_joint_counts_are_the_truth(world, kinds, found):
    shown, named, _ = world
    for one in found:
        images = [one.concept in each for each in shown]
        captions = [one.concept in each for each in named]
        both = sum(image and caption for image, caption in zip(images, captions, strict=True))
        assert (one.concept, one.image, one.caption, one.joint) == (one.concept, sum(images), sum(captions), both)


def test_the_misalignment_degree_is_that_of_the_slips(world, found):
    shown, named, _ = world
    pairs = list(zip(shown, named, strict=True))
    pairs = [(images - LEFT_OUT, names - LEFT_OUT) for images, names in pairs]
    misaligned = sum(bool(names) and bool(images) and not names & images for images, names in pairs)
    (one,) = found.misalignment
    assert one.misaligned_rows == misaligned > 100
    assert one.hit_rows == sum(bool(images) for images, _ in pairs)
    assert one.named_rows == sum(bool(names) for _, names in pairs) < IMAGES
    assert one.both_rows == sum(bool(names) and bool(images) for images, names in pairs)
    assert one.degree == misaligned / IMAGES


def test_captions_that_leave_out_a_quarter_leave_as_many_images_unnamed(found):
    unnamed = 1 - found.joint_counts.sum() / found.image_counts.sum()
    assert unnamed == pytest.approx(0.35, abs=0.02)  # a quarter left out, a tenth named wrongly
    assert np.nanmedian([one.lift for one in found]) > 5
