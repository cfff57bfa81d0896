"""On true CLIP vectors: captions that were dealt out by number meet none of their images, those that describe do."""

import csv
import json

import numpy as np
import pytest

from tailwag.embed.space import Space
from tailwag.retrieval.captions.counting import count_captions
from tailwag.retrieval.captions.joint import joint_frequency
from tailwag.retrieval.concepts import Concept, ConceptSet, fold
from tailwag.retrieval.counting import CountQuery, chosen_rows
from tailwag.retrieval.prototypes import PrototypeSet
from tests.corpora import make_corpus

pytestmark = pytest.mark.photos

SPACE = Space("ViT-B-32", "openai", "made elsewhere", "openai", "{}", "tokenizer", 512)


def test_captions_that_describe_their_photographs_are_told_from_those_that_do_not(data, tmp_path):
    folder = data / "data" / "clip-vectors"
    with (folder / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = json.loads((folder / "text_names_lvis.json").read_text())
    once = {fold(name): position for position, name in reversed(list(enumerate(names)))}
    places = sorted(once.values())
    concepts = ConceptSet("lvis", tuple(Concept(names[place]) for place in places))
    texts = np.load(folder / "text_vectors_lvis.npy")[places]
    prototypes = PrototypeSet(concepts.names, texts, SPACE, ("text",) * len(concepts))
    photos, captions = np.load(folder / "image_vectors.npy"), [row["caption"] for row in rows]
    corpus = make_corpus(tmp_path, photos, space=SPACE, captions=captions)
    found = {}
    for describes in "01":
        control = chosen_rows(describes, np.array([row["caption_describes_photo"] == describes for row in rows]))
        query = CountQuery(prototypes, [0.24, 0.26], control=control)
        counted = count_captions(corpus, concepts, control=control)
        found[describes] = joint_frequency(corpus, query, counted, misalignment=True)
    dealt_out, describing = found["0"], found["1"]
    assert dealt_out.caption_counts.sum() > 100 and (dealt_out.image_counts.sum(axis=0) > 500).all()
    assert dealt_out.joint_counts.sum() == 0
    assert [one.degree_of_both for one in dealt_out.misalignment] == [1, 1]
    assert all(one.degree_of_both < 0.9 for one in describing.misalignment)
    expected = np.array([one.expected for one in describing]).reshape(describing.joint_counts.shape).sum(axis=0)
    assert (describing.joint_counts.sum(axis=0) > 5 * expected).all()
