"""How much sooner than the full count does an estimate come, and does the truth lie inside? On a made corpus on disk.

    python perf/estimate_speed.py [ROWS]        writes perf/results/estimate_speed_ROWS.json; 200000 by default

512 float16 numbers a row. One prototype at the thresholds that a given share of the rows reaches, and a thousand
prototypes at one threshold; each question is counted whole and estimated in turn, five rounds, median seconds. What is
read lies in the system's memory, where reading whole blocks is as cheap as it gets: that favours the full count.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pyarrow as pa

from tailwag.embed.corpus import Corpus, corpus_schema, sampling_number, vector_column
from tailwag.embed.space import Space
from tailwag.retrieval.counting import CountQuery, count, sample, similarities
from tailwag.retrieval.estimates import (
    EstimateResult,
    Sketch,
    estimate,
    hypergeometric_interval,
    load_sketch,
    save_sketch,
)
from tailwag.retrieval.prototypes import PrototypeSet

DIMENSION, ROUNDS, APPEND, MANY = 512, 5, 50_000, 1000
SHARES = (0.1, 0.01, 0.001)
WITHIN = ("10%", "0.01")


def make_corpus(folder: Path, rows: int) -> Corpus:
    """Write a corpus of clustered vectors, a fragment every 50,000 rows."""
    space = Space("made", "", "architecture", "weights", "{}", "tokenizer", DIMENSION)
    corpus = Corpus.create(folder, "made", space)
    for start in range(0, rows, APPEND):
        vectors = peers.clustered(min(APPEND, rows - start), DIMENSION, 10 + start)
        keys = [f"s/{number}" for number in range(start, start + len(vectors))]
        same = {"shard": "s", "caption": "", "url": "", "width": 640, "height": 480, "sha256": "", "label": None}
        columns: dict[str, Any] = {name: [value] * len(keys) for name, value in same.items()}
        columns |= {"key": keys, "u": [sampling_number(key) for key in keys]}
        columns |= {side: vector_column(vectors) for side in ("image", "text")}
        schema = corpus_schema(space)
        corpus.append(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    return corpus


def questions(corpus: Corpus) -> dict[str, CountQuery]:
    """Make the questions, by name."""

    def prototypes(many: int) -> PrototypeSet:
        names = tuple(f"made {number}" for number in range(many))
        return PrototypeSet(names, peers.clustered(many, DIMENSION, 2), corpus.space, names)

    one = prototypes(1)
    scores = np.concatenate([similarities(block.vectors, one.vectors)[:, 0] for block in corpus.scan()])
    asked = {f"{share:g} of the rows": CountQuery(one, float(np.quantile(scores, 1 - share))) for share in SHARES}
    asked[f"{MANY:,} concepts"] = CountQuery(prototypes(MANY), float(np.quantile(scores, 0.99)))
    return asked


def measure(corpus: Corpus, query: CountQuery) -> dict[str, Any]:
    """Count one question whole and estimate it, in turn."""
    truth = count(corpus, query).counts
    full: list[float] = []
    taken: dict[str, list[float]] = {within: [] for within in WITHIN}
    last: dict[str, EstimateResult] = {}
    for _ in range(ROUNDS):
        full.append(seconds(lambda: count(corpus, query)))
        for within in WITHIN:
            start = time.perf_counter()
            last[within] = estimate(corpus, query, within=within)
            taken[within].append(time.perf_counter() - start)
    found = {}
    for within, result in last.items():
        inside = (result.lower <= truth) & (truth <= result.upper)
        found[within] = {
            "seconds": round(statistics.median(taken[within]), 4),
            "sampled": result.sampled,
            "first": [result[0].lower, result[0].estimate, result[0].upper],
            "truth_inside": f"{int(inside.sum())} of {inside.size}",
        }
    return {"truth": int(truth[0, 0]), "full_seconds": round(statistics.median(full), 4), "estimates": found}


def inside_by_eighths(corpus: Corpus, query: CountQuery) -> list[float]:
    """Which part of the concepts' truths lies in the 95 % interval of one look, for the rows of each eighth of u?

    Each eighth is a sample as good as the first. One sample serves all concepts, and alike ones are missed together.
    """
    truth, parts = count(corpus, query).counts, []
    for eighth in range(8):
        found = count(corpus, replace(query, control=sample((eighth + 1) / 8, eighth / 8)))
        lower, upper = hypergeometric_interval(found.counts, found.rows, len(corpus))
        parts.append(round(float(((lower <= truth) & (truth <= upper)).mean()), 3))
    return parts


def seconds(run: Callable[[], object]) -> float:
    """Time something once."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Make the corpus, measure, print a table, write the JSON."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), rows)
        asked = questions(corpus)
        measured = {name: measure(corpus, query) for name, query in asked.items()}
        inside = inside_by_eighths(corpus, asked[f"{MANY:,} concepts"])
        path = Path(folder) / "made.sketch"
        save_sketch(Sketch.of_corpus(corpus), path)
        sketch, size = load_sketch(path), path.stat().st_size
        sketched = statistics.median(seconds(lambda: sketch.estimate(asked["0.01 of the rows"])) for _ in range(ROUNDS))
    print("| asked | within | full, s | estimate, s | times as quick | read | first interval | truth | inside |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, one in measured.items():
        for within, found in one["estimates"].items():
            low, _, high = found["first"]
            print(
                f"| {name} | {within} | {one['full_seconds']:.2f} | {found['seconds']:.2f} "
                f"| {one['full_seconds'] / found['seconds']:.1f} | {found['sampled'] / rows:.1%} "
                f"| {low:,}–{high:,} | {one['truth']:,} | {found['truth_inside']} |"
            )
    print(f"\na sketch of {len(sketch.vectors):,} rows, {size / 1e6:.1f} MB, answers in {sketched:.3f} s")
    print(f"\ninside one look's interval, {MANY:,} concepts, by eighths of the corpus: {inside}")
    result = {
        "rows": rows,
        "inside_by_eighths": inside,
        "dimension": DIMENSION,
        "rounds": ROUNDS,
        "questions": measured,
        "sketch": {"rows": len(sketch.vectors), "bytes": size, "seconds": round(sketched, 4)},
        "machine": peers.machine(),
    }
    out = Path(__file__).parent / "results" / f"estimate_speed_{rows}.json"
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
