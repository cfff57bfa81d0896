"""Drawn worlds, embedded by the model that ships: every image's concepts are known, captions are made anew.

Prominence is the size at which a thing is drawn, and not the similarity: how far recall follows similarity is the
model's doing, as with photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tailwag.benchmarks.similarity_simulation import KINDS, Captions
from tailwag.benchmarks.world.shards import TRUTH_FILE, WorldPlan, make_world
from tailwag.progress import progress
from tailwag.retrieval.concepts import load_concepts

from .embedded import embed_once, similarities_to, text_prototypes
from .made_captions import made_mentions
from .protocol import Case, Observed, histograms_of

MODEL = "tailwag:world"
PLANS = {
    "flat": WorldPlan(20_000, seed=20, exponent=1.0),
    "steep": WorldPlan(20_000, seed=21, exponent=1.5),
    "steepest": WorldPlan(60_000, seed=22, exponent=2.0),
    "repeated": WorldPlan(20_000, seed=23, exponent=1.5, near_duplicates=0.1),
    "elsewhere": WorldPlan(20_000, seed=24, exponent=1.5),
}
LARGE = {"large": WorldPlan(200_000, seed=25, exponent=2.0)}
# As in the simulation, but that look-alikes, here whatever shows the concept of the nearest name, may be a thousand
# times as many as what is looked for: one caption in a hundred takes one for the other.
_NAMING = {
    name: replace(captions, look_alikes_named=0.01)
    for name, captions in {**KINDS, "many false mentions": Captions((0.3, 0.92), 0.5, false_mentions=1e-3)}.items()
}
CASES = (
    ("flat", "random"),
    ("flat", "prominence"),
    ("steep", "prominence"),
    ("steep", "many false mentions"),
    ("steepest", "random"),
    ("steepest", "prominence"),
    ("steepest", "seldom"),
    ("steepest", "many false mentions"),
    ("repeated", "prominence"),
)
LARGE_CASES = (("large", "random"), ("large", "prominence"), ("large", "many false mentions"))
_QUICK_IMAGES = 400


@dataclass(frozen=True, eq=False)
class EmbeddedWorld:
    """A world's concepts, what every image shows, and its similarities.

    Attributes
    ----------
    names
        C concepts.
    similarities
        (N, C) float64.
    shown, alike
        (N, C) bool: whether the image shows the concept; whether it shows the one of its family whose name is nearest
        in the space, and not the concept itself.
    prominence
        (N, C) float64: of the things that show it, the largest one's size in standard deviations; 0 for numbers and
        backgrounds.
    repeats
        (N,) int64: the row of which each is a near-duplicate, else itself.
    """

    names: tuple[str, ...]
    similarities: np.ndarray
    shown: np.ndarray
    alike: np.ndarray
    prominence: np.ndarray
    repeats: np.ndarray


def embedded_world(cache: Path, name: str, plan: WorldPlan) -> EmbeddedWorld:
    """Draw and embed a world, or read what an earlier run left."""
    kept = cache / "worlds" / f"{name}.npz"
    if not kept.is_file():
        made = _draw_and_embed(cache, name, plan)
        temporary = kept.with_suffix(".tmp")
        arrays: dict[str, Any] = {each.name: np.array(getattr(made, each.name)) for each in fields(made)}
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(kept)
    with np.load(kept) as held:
        values = {each: held[each] for each in held.files}
    return EmbeddedWorld(tuple(values.pop("names").tolist()), **values)


def _draw_and_embed(cache: Path, name: str, plan: WorldPlan) -> EmbeddedWorld:
    folder = cache / "worlds" / name
    if not (folder / TRUTH_FILE).is_file():
        with progress(f"drawing {name}", total=plan.n, unit="images") as bar:
            make_world(plan, folder, progress=bar)
    corpus = embed_once(cache, name, folder, MODEL)
    concepts = load_concepts("world")
    prototypes = text_prototypes(corpus, concepts, MODEL)
    families = [concept.family for concept in concepts]
    shown, prominence, repeats = _truth(folder, corpus.column("key").to_pylist(), concepts.names)
    nearness = prototypes.vectors.astype(np.float64) @ prototypes.vectors.astype(np.float64).T
    same = np.array([[one == other for other in families] for one in families])
    np.fill_diagonal(same, False)
    nearest = np.where(same, nearness, -2).argmax(axis=1)
    alike = shown[:, nearest] & ~shown
    return EmbeddedWorld(concepts.names, similarities_to(corpus, prototypes), shown, alike, prominence, repeats)


def world_cases(cache: Path, quick: bool, large: bool = False) -> Iterator[Case]:
    """Yield worlds of several exponents, captioned in several ways; every concept of every family is asked for."""
    plans, cases = (LARGE, LARGE_CASES) if large else (PLANS, CASES)
    if quick:
        plans = {f"quick-{name}": replace(plan, n=_QUICK_IMAGES) for name, plan in PLANS.items()}
        cases = (("quick-steep", "prominence"),)
        elsewhere_name = "quick-elsewhere"
    else:
        elsewhere_name = "elsewhere"
    other = embedded_world(cache, elsewhere_name, plans.get(elsewhere_name) or PLANS["elsewhere"])
    elsewhere = histograms_of(other.similarities, other.shown, np.zeros_like(other.shown))
    made: dict[str, EmbeddedWorld] = {}
    for number, (name, naming) in enumerate(cases):
        if name not in made:
            made = {name: embedded_world(cache, name, plans[name])}  # one at a time: some hold 200 MB
        one = made[name]
        generator = np.random.default_rng([100, number])
        named = made_mentions(one.shown, one.prominence, one.alike, _NAMING[naming], generator, one.repeats)
        known = histograms_of(one.similarities, one.shown, named)
        observed = Observed(one.names, known.rows, known.mentions, True, elsewhere)
        yield Case("world, large" if large else "world", f"{name}, {naming}", observed, known, seed=number)


def _truth(folder: Path, keys: list[str], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place_of = {key: place for place, key in enumerate(keys)}
    concept_of = {name: place for place, name in enumerate(names)}
    shown = np.zeros((len(keys), len(names)), dtype=bool)
    size = np.full(shown.shape, -1.0)
    repeats = np.arange(len(keys))
    for row in pq.read_table(folder / TRUTH_FILE).to_pylist():
        place = place_of[row["key"]]
        shown[place, [concept_of[name] for name in row["concepts"]]] = True
        for thing in row["things"]:
            for what in (thing["kind"], thing["colour"], thing["texture"]):
                size[place, concept_of[what]] = max(size[place, concept_of[what]], thing["size"])
        if row["near_duplicate_of"] is not None:
            repeats[place] = place_of[f"{row['key'].rsplit('/', 1)[0]}/{row['near_duplicate_of']}"]
    # A size is uniform between 0 and 1.
    return shown, np.where(size >= 0, (size - 0.5) * np.sqrt(12), 0.0), repeats
