"""A corpus whose frequencies are known: rows about a text vector of a tiny model, captions that name some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.retrieval.concepts import ConceptSet, query_concepts
from tailwag.retrieval.prototypes import PrototypeSet, prototypes_from_texts

from ..corpora import make_corpus, unit

NAME = "red panda"
ROWS, TRUE = 4_000, 400
RECALL = 0.7


def made_concept(model: str) -> tuple[ConceptSet, PrototypeSet]:
    concepts = query_concepts(NAME)
    return concepts, prototypes_from_texts(concepts, Encoder.load(model))


def make_known_corpus(folder: Path, model: str, *, name: str = "made", captions: bool = True, seed: int = 0) -> Corpus:
    """4,000 rows, every tenth of which shows the concept and lies at .7 from its text; label `yes` where it does."""
    encoder = Encoder.load(model)
    _, prototypes = made_concept(model)
    generator = np.random.default_rng(seed)
    centre = prototypes.vectors[0].astype(float)
    noise = generator.normal(size=(ROWS, len(centre)))
    noise -= (noise @ centre)[:, None] * centre
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    shown = np.arange(ROWS) % (ROWS // TRUE) == 0
    similarity = np.where(shown, generator.normal(0.7, 0.06, ROWS), generator.normal(0.2, 0.1, ROWS)).clip(-0.9, 0.95)
    vectors = unit(similarity[:, None] * centre + np.sqrt(1 - similarity**2)[:, None] * noise)
    named = np.where(shown, generator.random(ROWS) < RECALL, generator.random(ROWS) < 1e-3)
    texts = [f"a {NAME} here" if one else "something else" for one in named] if captions else [""] * ROWS
    labels = [NAME.title() if one else "other" for one in shown]
    return make_corpus(folder, vectors, name=name, space=encoder.space, captions=texts, labels=labels)
