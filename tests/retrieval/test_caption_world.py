"""Captions of the made world name what its pictures show: counts of words against what was drawn."""

import random

import pyarrow as pa

from tailwag.benchmarks.world.captions import write_caption
from tailwag.benchmarks.world.scenes import SceneSampler
from tailwag.benchmarks.world.vocabulary import plural
from tailwag.retrieval.captions import CaptionMatcher, forms
from tailwag.retrieval.concepts import load_concepts


def test_captions_without_slips_name_every_kind_that_was_drawn_and_no_other():
    rng, sampler, concepts = random.Random(5), SceneSampler(0.5, 1), load_concepts("world")
    scenes = [sampler.sample(rng) for _ in range(2000)]
    captions = [write_caption(scene, rng) for scene in scenes]
    found = CaptionMatcher(concepts).match(pa.array(captions))
    for position, concept in enumerate(concepts):
        # The world writes some plurals in a way of its own: hourglasss, dendoxs.
        said = all(plural(word) in forms(word) for word in (concept.name, *concept.synonyms) if " " not in word)
        if concept.family == "kind" and said:
            named = {concept.name, "ringed"} if concept.name == "ring" else {concept.name}  # a form of ring
            drawn = sum(not named.isdisjoint(scene.concepts()) for scene in scenes)
            assert (concept.name, found.words[position]) == (concept.name, drawn)
            assert found.phrase[position] <= drawn
