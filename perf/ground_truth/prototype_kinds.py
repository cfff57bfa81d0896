"""Ways to make a prototype, each as an array of C vectors, and the corpora on which they are tried.

Not here: scores and tables (`prototype_quality.py`, one folder up).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.space import Space
from tailwag.retrieval.background import Background, open_background
from tailwag.retrieval.centring_choice import measure_hub_strength
from tailwag.retrieval.concepts import Concept, ConceptSet, load_concepts
from tailwag.retrieval.prototypes import prototypes_from_texts

from .photographs import PASCAL_SYNONYMS, PERHAPS_SHOWN, Photographs
from .world import MODEL, PLANS, embedded_world

NAME, ENSEMBLE, SYNONYMS, OWN = "name", "80 prompts", "name and synonyms", "the set's own prompts"
CENTRED = ", centred"
MANY = 5
_SEED = 17


@dataclass(frozen=True, eq=False)
class Trial:
    """One corpus, its truth, and the prototypes of its concepts made in several ways.

    Attributes
    ----------
    corpus
        The group in the table.
    images
        (N, d) float64.
    shown, told
        (N, C) bool: whether the image shows the concept, and whether that is known and the image was no example of it.
    made
        (C, d) float64 by the way in which they are made.
    """

    corpus: str
    images: np.ndarray
    shown: np.ndarray
    told: np.ndarray
    made: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Hubs:
    """How strong a corpus's hubs are."""

    corpus: str
    strength: float
    rows: int


@dataclass(frozen=True, eq=False)
class Texts:
    """The vectors of C concepts' texts: (C, d) float64 unit rows by way, and the vocabulary whose mean is taken off."""

    made: Mapping[str, np.ndarray]
    background: Background

    def select(self, chosen: np.ndarray) -> Texts:
        """Keep some concepts."""
        return replace(self, made={way: vectors[chosen] for way, vectors in self.made.items()})

    def hubs(self, corpus: str, images: np.ndarray) -> Hubs:
        """Measure a corpus's hubs."""
        return Hubs(corpus, measure_hub_strength(images, self.background), len(images))


def clip_trials(data: Path, draws: int) -> Iterator[Trial | Hubs]:
    """Yield the 24 names by eye, those of them with a photograph to give away, and CIFAR-10 with a long tail."""
    folder = data / "data" / "clip-vectors"
    images, lvis = _load(folder / "image_vectors.npy"), _load(folder / "text_vectors_lvis.npy")
    space = Space("ViT-B-32", "openai", "", "", "", "", lvis.shape[1])
    background = Background(lvis.astype(np.float16), space, "0" * 8)
    every = json.loads((folder / "text_names_lvis.json").read_text("utf-8"))
    with (folder / "labels_by_eye.csv").open(encoding="utf-8", newline="") as file:
        labels = list(csv.DictReader(file))
    names = sorted({row["lvis_name"] for row in labels})
    shown = np.zeros((len(images), len(names)), dtype=bool)
    told = np.ones_like(shown)
    for row in labels:
        yes = row["shows_it"] == "yes"
        (shown if yes else told)[int(row["row"]), names.index(row["lvis_name"])] = yes
    texts = Texts({NAME: lvis[[every.index(name) for name in names]]}, background)
    yield texts.hubs("CLIP, 24 names", images)
    yield trial("CLIP, 24 names", texts, images, shown, told)
    several = np.flatnonzero(shown.sum(axis=0) >= 2)
    for draw in range(draws):
        generator = np.random.default_rng([_SEED, draw])
        given = [generator.choice(np.flatnonzero(shown[:, concept])) for concept in several]
        still = told[:, several]
        still[given, np.arange(len(several))] = False
        examples = [images[[row]] for row in given]
        yield trial("CLIP, of 24 with two photos", texts.select(several), images, shown[:, several], still, examples)
    images, classes = _load(folder / "cifar10" / "image_vectors.npy"), np.load(folder / "cifar10" / "labels.npy")
    texts = Texts({NAME: _load(folder / "cifar10" / "text_vectors.npy")}, background)
    yield texts.hubs("CLIP, CIFAR-10", images)
    sizes = np.round(np.geomspace(25, 2, 10)).astype(int)
    for draw in range(draws):
        wanted = np.random.default_rng([_SEED, draw]).permutation(sizes)
        yield from _drawn("CLIP, CIFAR-10", texts, images, classes, wanted, draw)


def photograph_trials(cache: Path, data: Path, draws: int) -> Iterator[Trial | Hubs]:
    """Yield Caltech's classes hidden among COCO and Pascal, and Pascal, whose labels leave out much that is shown."""
    photographs = Photographs(cache, data)
    encoder = Encoder.load(photographs.model)
    vectors = {name: vectors_of(corpus) for name, corpus in photographs.corpora.items()}
    known = load_concepts("caltech101")
    every = {name: np.array(photographs.labels(name)) for name in ("caltech101", "pascal-sentences")}
    classes = sorted(set(every["caltech101"]) - PERHAPS_SHOWN)
    concepts = ConceptSet("caltech101", tuple(_with_synonyms(name, known) for name in classes))
    never = ~np.concatenate([photographs.named(name, concepts) for name in ("coco", "pascal-sentences")]).any(axis=0)
    concepts = concepts.select([name for name, free in zip(classes, never, strict=True) if free])
    texts = texts_by(encoder, concepts, photographs.corpora["caltech101"])
    others = np.concatenate([vectors["coco"], vectors["pascal-sentences"]])
    yield texts.hubs("mini, photographs", np.concatenate([others, vectors["caltech101"]]))
    numbers = np.array([concepts.names.index(one) if one in concepts.names else -1 for one in every["caltech101"]])
    for draw in range(draws):
        generator = np.random.default_rng([7, draw])
        wanted = np.exp(generator.uniform(np.log(2), np.log(21), len(concepts))).round().astype(int)
        yield from _drawn("mini, photographs", texts, vectors["caltech101"], numbers, wanted, draw, others)
    classes = sorted(set(every["pascal-sentences"]))
    concepts = ConceptSet("pascal", tuple(Concept(name, PASCAL_SYNONYMS.get(name, ())) for name in classes))
    texts = texts_by(encoder, concepts, photographs.corpora["pascal-sentences"])
    numbers = np.array([classes.index(one) for one in every["pascal-sentences"]])
    for draw in range(draws):
        wanted = np.full(len(classes), len(numbers))
        yield from _drawn("mini, Pascal", texts, vectors["pascal-sentences"], numbers, wanted, draw)


def world_trials(cache: Path, draws: int) -> Iterator[Trial | Hubs]:
    """Yield drawn worlds; the example images are of another one."""
    encoder = Encoder.load(MODEL)
    concepts = load_concepts("world")
    elsewhere = embedded_world(cache, "elsewhere", PLANS["elsewhere"])
    pool = vectors_of(Corpus.open(cache / "db", "elsewhere"))
    for name in ("flat", "steep"):
        shown = embedded_world(cache, name, PLANS[name]).shown
        corpus = Corpus.open(cache / "db", name)
        images, texts = vectors_of(corpus), texts_by(encoder, concepts, corpus)
        yield texts.hubs(f"world, {name}", images)
        for draw in range(draws):
            generator = np.random.default_rng([_SEED, draw])
            rows = [generator.permutation(np.flatnonzero(column))[:MANY] for column in elsewhere.shown.T]
            chosen = np.flatnonzero([len(own) == MANY for own in rows])
            examples = [pool[rows[concept]] for concept in chosen]
            yield trial(f"world, {name}", texts.select(chosen), images, shown[:, chosen], None, examples)


def trial(
    corpus: str,
    texts: Texts,
    images: np.ndarray,
    shown: np.ndarray,
    told: np.ndarray | None,
    examples: Sequence[np.ndarray] | None = None,
) -> Trial:
    """Make prototypes in every way that there are texts and examples for.

    Parameters
    ----------
    corpus, texts, images, shown, told
        As in `Trial`; where `told` is None, all is known.
    examples
        For each of the C concepts (n, d) float64 vectors of example images, at most `MANY` of which are used.
    """
    mean = texts.background.mean
    made = {
        f"{way}{kind}": vectors - taken
        for way, vectors in texts.made.items()
        for kind, taken in (("", 0.0), (CENTRED, mean))
    }
    if examples is not None:
        for number in (1, MANY):
            if min(map(len, examples)) >= number or number == 1:
                called = "1 image" if number == 1 else f"{number} images"
                given = _unit(np.stack([own[:number].mean(axis=0) for own in examples]))
                made |= _of_images(called, given, texts.made[NAME], mean, images)
    return Trial(corpus, images, shown, np.ones_like(shown) if told is None else told, made)


def texts_by(encoder: Encoder, concepts: ConceptSet, corpus: Corpus) -> Texts:
    """Encode names, many prompts of each, and synonyms; the vocabulary is kept in the corpus's database."""
    bare = tuple(replace(one, synonyms=(), templates=None) for one in concepts)
    synonyms = tuple(replace(one, templates=None) for one in concepts)
    sets = {
        NAME: replace(concepts, concepts=bare, templates="plain"),
        ENSEMBLE: replace(concepts, concepts=bare, templates="openai-imagenet"),
        SYNONYMS: replace(concepts, concepts=synonyms, templates="plain"),
    }
    if concepts.templates != "plain":
        sets[OWN] = concepts
    made = {way: prototypes_from_texts(one, encoder).vectors.astype(np.float64) for way, one in sets.items()}
    return Texts(made, open_background(corpus.database, encoder))


def vectors_of(corpus: Corpus) -> np.ndarray:
    """Give (N, d) float64 image vectors."""
    return np.concatenate([block.vectors.astype(np.float64) for block in corpus.scan("image")])


def _drawn(
    corpus: str,
    texts: Texts,
    images: np.ndarray,
    numbers: np.ndarray,
    wanted: np.ndarray,
    draw: int,
    others: np.ndarray | None = None,
) -> Iterator[Trial]:
    """Cut each class down to so many images, at most half of them; of the rest some are examples, the others gone."""
    generator = np.random.default_rng([_SEED, draw, 1])
    taken, examples = [], []
    for concept, number in enumerate(wanted):
        own = generator.permutation(np.flatnonzero(numbers == concept))
        half = max(len(own) // 2, len(own) - MANY) if number >= len(own) else len(own) // 2
        taken.append(own[: min(number, half)])
        examples.append(images[own[half:][:MANY]])
    rows = np.concatenate(taken)
    shown = numbers[rows][:, None] == np.arange(len(wanted))
    corpus_images = images[rows]
    if others is not None:
        corpus_images = np.concatenate([corpus_images, others])
        shown = np.concatenate([shown, np.zeros((len(others), len(wanted)), dtype=bool)])
    yield trial(corpus, texts, corpus_images, shown, None, examples)


def _of_images(
    called: str, examples: np.ndarray, name: np.ndarray, mean: np.ndarray, images: np.ndarray
) -> dict[str, np.ndarray]:
    """Make prototypes of examples alone, and mixed with the name: as they are, or so that both reach equally far.

    The mean of the corpus is to images what the vocabulary's is to texts. The spread of the similarities over the
    corpus says how far each of the two reaches.
    """
    less = examples - images.mean(axis=0)
    return {
        called: examples,
        f"{called}{CENTRED}": _unit(less),
        f"name + {called}": _unit(name + examples),
        f"name + {called}, balanced": _unit(_even(name, images) + _even(examples, images)),
        f"name + {called}, balanced{CENTRED}": _unit(_even(name - mean, images) + _even(less, images)),
    }


def _even(vectors: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Scale prototypes so that their similarities to a corpus have a standard deviation of 1."""
    return vectors / (images @ vectors.T).std(axis=0)[:, None]


def _with_synonyms(name: str, known: ConceptSet) -> Concept:
    return next((one for one in known if one.name == name), Concept(name))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _load(path: Path) -> np.ndarray:
    return np.load(path).astype(np.float64)
