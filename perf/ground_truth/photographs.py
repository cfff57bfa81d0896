"""Real photographs seen by a small model that is not CLIP: Caltech-101's rare classes hidden among COCO and Pascal.

Also Pascal with its human captions; there a photograph has one label and shows more, so that its truth is a lower
bound, and the targets leave it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tailwag.benchmarks.similarity_simulation import Captions
from tailwag.embed.corpus import Corpus
from tailwag.retrieval.captions import count_captions
from tailwag.retrieval.concepts import Concept, ConceptSet, templates_from

from .embedded import embed_once, similarities_to, text_prototypes
from .made_captions import made_mentions, standardised
from .protocol import Case, LabelledImages, Observed, histograms_of

SETS = ("caltech101", "pascal-sentences", "coco")
# No caption of the others names these, and still some of the photographs may show them.
PERHAPS_SHOWN = frozenset({"windsor chair", "ketch sailboat", "schooner", "pigeon", "electric guitar", "strawberry"})
_DRAWS = 6
_SMALLEST, _LARGEST = 2, 20
_NAMING = {
    "random": Captions((0.7, 0.7), 0.0, false_mentions=0.0),
    "prominence": Captions((0.3, 0.92), 0.5, false_mentions=0.0),
}
# Of the captions of the hidden photographs, the share that names another class.
_WRONG = 0.05
PASCAL_SYNONYMS = {
    "aeroplane": ("airplane", "plane", "jet", "aircraft"),
    "bicycle": ("bike", "cyclist"),
    "boat": ("ship", "canoe", "sailboat", "kayak"),
    "bus": ("double decker",),
    "car": ("automobile", "sedan", "convertible"),
    "cat": ("kitten",),
    "chair": ("armchair", "seat"),
    "cow": ("cattle", "bull", "calf"),
    "dining table": ("table",),
    "dog": ("puppy",),
    "horse": ("pony",),
    "motorbike": ("motorcycle",),
    "person": ("man", "woman", "boy", "girl", "child", "people", "lady", "baby"),
    "potted plant": ("plant", "flower"),
    "sheep": ("lamb",),
    "sofa": ("couch",),
    "tv monitor": ("television", "tv", "monitor", "screen"),
    "train": ("locomotive",),
}


class Photographs:
    """The three sets embedded, with their labels and the concepts of the two labelled ones."""

    def __init__(self, cache: Path, data: Path) -> None:
        self.model = f"local-dir:{data / 'models' / 'mini'}"
        self._folder = data / "data" / "photos"
        self.corpora: dict[str, Corpus] = {
            name: embed_once(cache, name, self._folder / name, self.model) for name in SETS
        }

    def labels(self, name: str) -> list[str]:
        """What each row of a labelled set is said to show, in the corpus's order."""
        called = {}
        for path in sorted((self._folder / name).glob("*.parquet")):
            table = pq.read_table(path, columns=["key", "label_name"])
            called.update(zip(table["key"].to_pylist(), table["label_name"].to_pylist(), strict=True))
        return [called[key.rsplit("/", 1)[1]] for key in self.corpora[name].column("key").to_pylist()]

    def similarities(self, name: str, concepts: ConceptSet) -> np.ndarray:
        """Give (N, C) float64 of one set."""
        corpus = self.corpora[name]
        return similarities_to(corpus, text_prototypes(corpus, concepts, self.model))

    def named(self, name: str, concepts: ConceptSet) -> np.ndarray:
        """Give (N, C) bool: which of the set's own captions name which concepts, by all words in any form."""
        corpus = self.corpora[name]
        found = count_captions(corpus, concepts, keep="words").mentions
        assert found is not None  # it was asked for
        named = np.zeros((len(corpus), len(concepts)), dtype=bool)
        named[found.offsets, found.concepts] = True
        return named


def photograph_cases(cache: Path, data: Path, quick: bool) -> Iterator[Case]:
    """Yield draws of Caltech's classes hidden among COCO and Pascal, then Pascal as it is."""
    photographs = Photographs(cache, data)
    yield from hidden_cases(photographs, 1 if quick else _DRAWS)
    yield pascal_case(photographs)


def hidden_cases(photographs: Photographs, draws: int) -> Iterator[Case]:
    """Cut Caltech's classes down to 2 to 20 photographs each and hide them among the others; the rest is elsewhere."""
    labels = np.array(photographs.labels("caltech101"))
    every = _concepts(tuple(Concept(name) for name in sorted(set(labels))))
    others_name = [photographs.named(name, every) for name in ("coco", "pascal-sentences")]
    never = ~np.concatenate(others_name).any(axis=0)
    kept = [name for name, free in zip(every.names, never, strict=True) if free and name not in PERHAPS_SHOWN]
    concepts = every.select(kept)
    caltech = photographs.similarities("caltech101", concepts)
    others = np.concatenate([photographs.similarities(name, concepts) for name in ("coco", "pascal-sentences")])
    for draw in range(draws):
        generator = np.random.default_rng([7, draw])
        taken = np.zeros(len(labels), dtype=bool)
        for name in kept:
            own = np.flatnonzero(labels == name)
            wanted = round(float(np.exp(generator.uniform(np.log(_SMALLEST), np.log(_LARGEST + 1)))))
            taken[generator.permutation(own)[: min(wanted, len(own))]] = True
        for naming, captions in _NAMING.items():
            shown = np.concatenate([_shows(labels[taken], kept), np.zeros((len(others), len(kept)), dtype=bool)])
            similarities = np.concatenate([caltech[taken], others])
            prominence = standardised(similarities, shown)
            named = made_mentions(shown, prominence, np.zeros_like(shown), captions, generator)
            wrong = np.flatnonzero(generator.random(int(taken.sum())) < _WRONG)
            named[wrong] = False
            named[wrong, generator.integers(0, len(kept), len(wrong))] = True
            known = histograms_of(similarities, shown, named)
            rest = ~taken & np.isin(labels, kept)
            there = _shows(labels[rest], kept)
            elsewhere = histograms_of(caltech[rest], there, np.zeros_like(there))
            labelled = LabelledImages(caltech[rest], there.argmax(axis=1))
            observed = Observed(tuple(kept), known.rows, known.mentions, True, elsewhere, similarities, labelled)
            yield Case("photographs", f"hidden, {naming}", observed, known, seed=draw)


def pascal_case(photographs: Photographs) -> Case:
    """Take Pascal's twenty classes with the first of its human captions; its labels leave out much that is shown."""
    labels = np.array(photographs.labels("pascal-sentences"))
    names = sorted(set(labels))
    concepts = _concepts(tuple(Concept(name, PASCAL_SYNONYMS.get(name, ())) for name in names))
    shown = _shows(labels, names)
    named = photographs.named("pascal-sentences", concepts)
    known = histograms_of(photographs.similarities("pascal-sentences", concepts), shown, named)
    return Case("pascal", "human captions", Observed(tuple(names), known.rows, known.mentions, True), known)


def _concepts(concepts: tuple[Concept, ...]) -> ConceptSet:
    return ConceptSet("photographs", concepts, templates_from("plain"))


def _shows(labels: np.ndarray, names: list[str]) -> np.ndarray:
    return labels[:, None] == np.array(names)[None, :]
