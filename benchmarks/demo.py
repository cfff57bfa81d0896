"""The demo: from images to counts and pictures, on a made world with its truth, or on someone's own shards.

Runs the library's own steps one after the other. Not here: the page they end in (`demo_report.py`).
"""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import progress

from ..analysis.agreement import Agreement, compare_with_truth
from ..analysis.calibration.calibrating import calibrate
from ..embed.corpus import Corpus
from ..embed.database import Database
from ..embed.encoder import Encoder
from ..embed.job import EmbeddingReport, plan_embedding, run_embedding
from ..embed.ledger import Ledger
from ..retrieval.concepts import Concept, ConceptSet, fold, load_concepts, query_concepts
from ..retrieval.counting import CountQuery, CountResult, count
from ..retrieval.index import build_index, open_index
from ..retrieval.prototypes import prototypes_from_texts
from ..retrieval.search import SearchResult, search
from ..retrieval.thresholds import LADDER, match_thresholds, read_threshold_table
from .world.packaged_model import MODEL_FOLDER
from .world.shards import WorldPlan, make_world
from .world.truth import read_plan, true_counts

Say = Callable[[str], None]
_THRESHOLDS = MODEL_FOLDER / "thresholds.csv"
_PICTURES = 24
_CORRECTED = ("frequency", "lower", "upper", "grade")


@dataclass(frozen=True)
class ConceptCount:
    """One line of the demo's table.

    Attributes
    ----------
    estimate
        The count over the share of true images that the threshold lets through; None where that share is not known.
    truth
        How many images truly show the concept; None where nobody knows.
    frequency, lower, upper, grade
        How many images show the concept by the captions, without a label, with a 95 % interval, and how far to trust
        that; None where it was not estimated.
    """

    concept: str
    family: str
    threshold: float
    count: int
    estimate: float | None = None
    truth: int | None = None
    frequency: float | None = None
    lower: float | None = None
    upper: float | None = None
    grade: str | None = None


@dataclass
class Demo:
    """What the demo did and found. Filled step by step by `run_world_demo` and `run_source_demo`."""

    folder: Path
    title: str
    corpus: Corpus
    embedding: EmbeddingReport
    failures: int
    counts: list[ConceptCount] = field(default_factory=list)
    threshold_source: str = ""
    truth_source: str = ""
    count_result: CountResult | None = None
    count_agreement: Agreement | None = None
    estimate_agreement: Agreement | None = None
    frequency_agreement: Agreement | None = None
    found: SearchResult | None = None
    steps: list[tuple[str, float]] = field(default_factory=list)

    def inside(self) -> int:
        """Count the concepts whose interval holds the truth."""
        return sum(
            each.lower <= each.truth <= each.upper
            for each in self.counts
            if each.truth is not None and each.lower is not None and each.upper is not None
        )

    def summary(self) -> dict[str, Any]:
        """Give what was found as plain values, for JSON."""
        agreements = {"counts": self.count_agreement, "estimates": self.estimate_agreement}
        agreements["frequencies"] = self.frequency_agreement
        return {
            "rows": len(self.corpus),
            "failures": self.failures,
            "space": self.corpus.space.fingerprint,
            "threshold_source": self.threshold_source,
            "truth_source": self.truth_source,
            "agreement": {name: asdict(found) for name, found in agreements.items() if found is not None},
            "concepts": [asdict(each) for each in self.counts],
            "steps": dict(self.steps),
        }


def run_world_demo(folder: Path, plan: WorldPlan, query: str, say: Say, device: str | None = None) -> Demo:
    """Draw a world, embed it, index it, count every concept in one pass, and compare with the truth.

    Parameters
    ----------
    folder
        Where everything goes. A run of the same plan goes on where an earlier one stopped.
    plan
        The world to draw.
    query
        The ad-hoc question that is answered with pictures.
    say
        Is told what happens, a line a step.
    device
        As for `Encoder.load`.

    Raises
    ------
    BadInput
        When the folder holds a world of another plan.
    """
    steps: list[tuple[str, float]] = []
    with _step(f"drawing {plan.n:,} pairs", steps, say):
        _make_world_once(folder / "world", plan)
    demo, encoder = _embed_and_index(
        folder, [str(folder / "world")], Encoder.load("tailwag:world", device=device), steps, say
    )
    concepts = load_concepts("world")
    table = read_threshold_table(_THRESHOLDS)
    table.require_space(demo.corpus.space)
    chosen = match_thresholds(table, concepts.names)
    wanted = concepts.select(chosen.names)
    with _step(f"counting {len(concepts)} concepts in one pass", steps, say):
        prototypes = prototypes_from_texts(wanted, encoder)
        demo.count_result = count(demo.corpus, CountQuery(prototypes, chosen.thresholds, "image", chosen.sources))
    with _step("correcting the counts by captions", steps, say):
        calibrated = calibrate(demo.corpus, wanted, prototypes)
    truth = true_counts(folder / "world")
    recall = _recalls(_THRESHOLDS)
    family = {concept.name: concept.family or "" for concept in concepts}
    demo.counts = [
        ConceptCount(
            each.concept,
            family[each.concept],
            each.threshold,
            each.count,
            min(each.count / recall[each.concept], each.rows),
            truth[each.concept],
            one.estimate,
            one.lower,
            one.upper,
            one.grade,
        )
        for each, one in zip(demo.count_result, calibrated, strict=True)
    ]
    demo.threshold_source = f"per concept, {chosen.sources[0]}"
    demo.truth_source = "what the program drew"
    return _compare_and_search(demo, encoder, query, say)


def run_source_demo(
    folder: Path, sources: Sequence[str], encoder: Encoder, concepts: str | None, query: str | None, say: Say
) -> Demo:
    """Do the same with someone's own images, as far as it goes without a known truth.

    One threshold serves all concepts: where they have as many hits together as there are images (labelled images, where
    the source has labels; then the labels are the concepts and their numbers the truth).

    Parameters
    ----------
    folder
        Where the database and the report go.
    sources
        As for `tailwag embed`.
    encoder
        The model.
    concepts
        A concept set's name or file; None for the source's labels, or ``everyday`` where it has none.
    query
        The ad-hoc question; None asks for the most frequent concept.
    say
        Is told what happens, a line a step.
    """
    demo, encoder = _embed_and_index(folder, list(sources), encoder, [], say)
    spelt = Counter(label for label in demo.corpus.column("label").to_pylist() if label is not None and fold(label))
    labels: Counter[str] = Counter()
    for label, number in spelt.items():
        labels[fold(label)] += number
    asked = load_concepts(concepts or "everyday") if concepts or not labels else _label_concepts(spelt)
    with _step(f"counting {len(asked)} concepts in one pass", demo.steps, say):
        result = count(demo.corpus, CountQuery(prototypes_from_texts(asked, encoder), LADDER))
    images = labels.total() or result.rows
    rung = int(np.argmin(np.abs(result.counts.sum(axis=0) - images)))
    demo.count_result = result
    known = bool(labels) and not concepts
    demo.counts = [
        ConceptCount(
            concept.name,
            concept.family or "",
            float(LADDER[rung]),
            int(result.counts[row, rung]),
            truth=labels[fold(concept.name)] if known else None,
        )
        for row, concept in enumerate(asked)
    ]
    demo.threshold_source = (
        f"one for all concepts, where together they have about as many hits as there are {'labelled ' * bool(labels)}"
        f"images ({images:,})"
    )
    demo.truth_source = "the source's labels, one an image" if known else ""
    most = max(demo.counts, key=lambda each: each.count).concept
    return _compare_and_search(demo, encoder, query or f"a photo of a {most}", say)


def write_counts(demo: Demo, path: Path) -> None:
    """Write the demo's table as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["concept", "family", "threshold", "count", "estimate", "truth", *_CORRECTED])
        for each in demo.counts:
            estimate = "" if each.estimate is None else f"{each.estimate:.1f}"
            corrected = [getattr(each, name) for name in _CORRECTED]
            writer.writerow([each.concept, each.family, each.threshold, each.count, estimate, each.truth, *corrected])


def _embed_and_index(
    folder: Path, sources: list[str], encoder: Encoder, steps: list[tuple[str, float]], say: Say
) -> tuple[Demo, Encoder]:
    database = Database(folder / "db")
    plan = plan_embedding(sources, database, "demo")
    if plan.other_shards:
        raise BadInput(f"{database.uri} holds other images ({plan.other_shards[0]}): pass another --out")
    with (
        _step(f"embedding {len(plan.shards)} shards with {encoder.space.title}", steps, say),
        progress("embedding", plan.samples, "images") as bar,
    ):
        report = run_embedding(plan, encoder, progress=bar)
    corpus = Corpus.open(database, "demo")
    if not len(corpus):
        raise BadInput(
            f"no image of {', '.join(sources)} could be embedded: see `tailwag info demo --db {database.uri}`"
        )
    with _step("building the search index", steps, say):
        build_index(corpus)
    failures = Ledger(database, "demo").failure_count()
    return Demo(folder, corpus.space.title, corpus, report, failures, steps=steps), encoder


def _compare_and_search(demo: Demo, encoder: Encoder, query: str, say: Say) -> Demo:
    known = [each for each in demo.counts if each.truth is not None]
    if known:
        truth = np.array([each.truth for each in known], dtype=float)
        demo.count_agreement = compare_with_truth(np.array([each.count for each in known], dtype=float), truth)
        if all(each.estimate is not None for each in known):
            demo.estimate_agreement = compare_with_truth(
                np.array([each.estimate for each in known], dtype=float), truth
            )
        if all(each.frequency is not None for each in known):
            frequencies = np.array([each.frequency for each in known], dtype=float)
            demo.frequency_agreement = compare_with_truth(frequencies, truth)
    with _step(f"looking for “{query}”", demo.steps, say):
        prototypes = prototypes_from_texts(query_concepts(query, "{}"), encoder)
        demo.found = search(demo.corpus, prototypes, _PICTURES, index=open_index(demo.corpus, "image"))
    return demo


def _label_concepts(labels: Counter[str]) -> ConceptSet:
    """Make a concept of each label; labels that differ only in case, ``_`` and ``-`` are one, spelt as most often."""
    spelling = {fold(label): label for label, _ in reversed(labels.most_common())}
    return ConceptSet("labels", tuple(Concept(label) for label in sorted(spelling.values())))


def _recalls(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["concept"]: float(row["recall"]) for row in csv.DictReader(file)}


@contextmanager
def _step(what: str, steps: list[tuple[str, float]], say: Say) -> Iterator[None]:
    start = time.perf_counter()
    say(f"{what} …")
    yield
    steps.append((what, time.perf_counter() - start))


def _make_world_once(folder: Path, plan: WorldPlan) -> None:
    if folder.exists():
        if read_plan(folder) != plan:
            raise BadInput(f"{folder} holds a world of other settings: pass another --out, or remove it first")
        return
    # Drawn aside and renamed, so that a world that is there is whole.
    unfinished = folder.parent / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with progress("drawing", plan.n, "images") as bar:
        make_world(plan, unfinished / folder.name, progress=bar)
    (unfinished / folder.name).rename(folder)
    unfinished.rmdir()
