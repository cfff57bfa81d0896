"""Image, caption and joint counts, and the misalignment degree, beside the truth of a made world: for docs/joint.md.

    make demo && python perf/joint_world.py tailwag-demo      writes perf/results/joint_*.json; half a minute

Counted twice: at the thresholds that ship with the world's model, which were found on other images; and at thresholds
found with the truth of this very world, at which every image count is right. The second is no way to count: it shows
what is left to go wrong when all counts are right.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tailwag.benchmarks.world.packaged_model import MODEL_FOLDER
from tailwag.benchmarks.world.shards import TRUTH_FILE
from tailwag.benchmarks.world.truth import read_plan
from tailwag.benchmarks.world.vocabulary import plural
from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.retrieval.captions.counting import count_captions
from tailwag.retrieval.captions.joint import JointCounts, joint_frequency
from tailwag.retrieval.captions.misalignment import Misalignment
from tailwag.retrieval.concepts import ConceptSet, load_concepts
from tailwag.retrieval.counting import CountQuery
from tailwag.retrieval.prototypes import prototypes_from_texts
from tailwag.retrieval.thresholds import match_thresholds, read_threshold_table

RESULTS = Path(__file__).parent / "results"
SHOWN = 8


def true_rows(corpus: Corpus, folder: Path, concepts: ConceptSet) -> np.ndarray:
    """(N, C) bool: does the image show the concept?"""
    truth = pq.read_table(folder / TRUTH_FILE, columns=["key", "concepts"])
    shown = dict(zip(truth["key"].to_pylist(), map(set, truth["concepts"].to_pylist()), strict=True))
    keys = corpus.column("key").to_pylist()
    return np.array([[name in shown[key] for name in concepts.names] for key in keys])


def named_rows(corpus: Corpus, concepts: ConceptSet) -> np.ndarray:
    """(N, C) bool: does the caption name the concept, going by the world's own words?"""
    patterns = []
    for concept in concepts:
        words = {word for name in (concept.name, *concept.synonyms) for word in (name, plural(name))}
        patterns.append(re.compile(rf"\b({'|'.join(map(re.escape, sorted(words)))})\b"))
    captions = corpus.column("caption").to_pylist()
    return np.array([[pattern.search(caption) is not None for pattern in patterns] for caption in captions])


def right_thresholds(corpus: Corpus, prototypes: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(C, 1) thresholds at which as many images are hits as truly show the concept."""
    wide = [block.vectors.astype(np.float64) @ prototypes.astype(np.float64).T for block in corpus.scan("image")]
    scores = np.sort(np.concatenate(wide), axis=0)[::-1]
    return np.array([[scores[max(count, 1) - 1, concept]] for concept, count in enumerate(shown.sum(axis=0))])


def true_misalignment(shown: np.ndarray, named: np.ndarray) -> Misalignment:
    """The degree by what images show and captions name."""
    both = shown.any(axis=1) & named.any(axis=1)
    common = (shown & named).any(axis=1)
    sides = (int(shown.any(axis=1).sum()), int(named.any(axis=1).sum()))
    return Misalignment(None, len(shown), *sides, int(both.sum()), int(common.sum()))


def counted(corpus: Corpus, concepts: ConceptSet, prototypes: np.ndarray, thresholds: np.ndarray) -> JointCounts:
    """Count both sides, by thresholds and by words."""
    return joint_frequency(
        corpus,
        CountQuery(prototypes, thresholds),
        count_captions(corpus, concepts, keep="words"),
        misalignment=True,
    )


def cells_of(one: Misalignment) -> list[str]:
    """One line of the table of degrees."""
    return [f"{one.hit_rows:,}", f"{one.named_rows:,}", f"{one.both_rows:,}", f"{one.misaligned_rows:,}"] + [
        f"{100 * share:.2f} %" for share in (one.degree, one.degree_of_both)
    ]


def write(name: str, headings: Sequence[str], rows: Sequence[Sequence[str]], **more: object) -> None:
    """Write one table for docs/joint.md, and print it."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**more, "table": {"headings": headings, "rows": rows}}, indent=1) + "\n")
    print("\n".join(" | ".join(row) for row in (headings, *rows)), "\n")


def main(folder: Path) -> None:
    """Count, compare, write."""
    corpus, world = Corpus.open(folder / "db", "demo"), folder / "world"
    every = load_concepts("world")
    table = read_threshold_table(MODEL_FOLDER / "thresholds.csv")
    plan = {"world": vars(read_plan(world)), "corpus_version": corpus.version, "images": len(corpus)}
    lists = {"67 kinds": [one.name for one in every if one.family == "kind" and one.name != "ring"]}
    lists["all 121 concepts"] = list(every.names)
    degrees = []
    for title, names in lists.items():
        concepts = every.select(names)
        chosen = match_thresholds(table, concepts.names)
        prototypes = prototypes_from_texts(concepts, Encoder.for_space(corpus.space))
        shown, named = true_rows(corpus, world, concepts), named_rows(corpus, concepts)
        shipped = counted(corpus, concepts, prototypes, chosen.thresholds)
        right = counted(corpus, concepts, prototypes, right_thresholds(corpus, prototypes.vectors, shown))
        degrees.append([title, "truth", *cells_of(true_misalignment(shown, named))])
        degrees.append([title, "shipped thresholds", *cells_of(shipped.misalignment[0])])
        degrees.append([title, "counts all right", *cells_of(right.misalignment[0])])
        if title == "67 kinds":
            order = np.argsort(-shown.sum(axis=0), kind="stable")
            picked = order[np.unique(np.geomspace(1, len(order), SHOWN).astype(int) - 1)]
            rows = []
            for concept in picked:
                image, caption = shown[:, concept], named[:, concept]
                truth, one, best = (image & caption).sum(), shipped[int(concept)], right[int(concept)]
                lift = truth * len(shown) / (image.sum() * caption.sum())
                numbers = (image.sum(), one.image, caption.sum(), one.caption, truth, one.joint, best.joint)
                lifts = [f"{value:.3g}" for value in (lift, one.lift)]
                rows.append([concepts.names[concept], *(f"{number:,}" for number in numbers), *lifts])
            headings = ["kind", "shown", "image", "named", "caption", "both", "joint", "joint, counts right"]
            write("joint_world", [*headings, "lift, true", "lift, counted"], rows, **plan)
    headings = ["list", "by", "any hit", "any name", "both", "misaligned", "of all", "of both"]
    write("joint_misalignment", headings, degrees, **plan)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tailwag-demo"))
