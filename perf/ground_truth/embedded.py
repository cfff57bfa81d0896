"""Corpora that have to be embedded once: kept in a folder outside the repository, and read from there as float64.

Not here: what is asked of them (`world.py`, `photographs.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.progress import progress
from tailwag.retrieval.concepts import ConceptSet
from tailwag.retrieval.prototypes import PrototypeSet, prototypes_from_texts


def embed_once(cache: Path, name: str, source: Path, model: str) -> Corpus:
    """Open the corpus of that name in the cache's database, embedding what of the source it lacks."""
    database = cache / "db"
    plan = plan_embedding([str(source)], database, name)
    if plan.shards:
        with progress(f"embedding {name}", total=plan.samples, unit="images") as bar:
            run_embedding(plan, Encoder.load(model), progress=bar)
    return Corpus.open(database, name)


def similarities_to(corpus: Corpus, prototypes: PrototypeSet) -> np.ndarray:
    """Give (N, C) float64 similarities, which are exact: see docs/counting.md."""
    wanted = prototypes.vectors.astype(np.float64).T
    return np.concatenate([block.vectors.astype(np.float64) @ wanted for block in corpus.scan("image")])


def text_prototypes(corpus: Corpus, concepts: ConceptSet, model: str) -> PrototypeSet:
    """Give the prototypes of concepts in the corpus's space."""
    return prototypes_from_texts(concepts, Encoder.for_space(corpus.space, model))
