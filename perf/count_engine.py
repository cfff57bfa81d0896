"""How long does counting take, and how long do others take for the same? Each question beside its peers, in one run.

    python perf/count_engine.py [NAME...]        writes perf/results/count_engine.json

Vectors of 512 float16 numbers in clusters in a narrow cone (`peers.clustered`); one pair in a thousand reaches the
threshold unless said. All ways have the same cores, have warmed up, and are timed in turn; medians. Counts are compared
with a float64 brute force before anything is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import peers

from tailwag.embed.corpus import Corpus, corpus_schema, sampling_number, vector_column
from tailwag.embed.space import Space
from tailwag.retrieval.counting import Asked, CountQuery, choose_backend, count, similarities
from tailwag.retrieval.counting.backends import describe_backend
from tailwag.retrieval.counting.bins import BINS
from tailwag.retrieval.prototypes import PrototypeSet

REPEATS, DIMENSION, SHARE, DENSE = 5, 512, 0.001, 0.08
ROWS, ROWS_FOR_ONE, TILE = 200_000, 1_000_000, 8192
COUNT_IN_A_PROCESS = """
import sys, numpy as np, tailwag
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.prototypes import PrototypeSet
prototypes = PrototypeSet.load(sys.argv[2])
print(count(tailwag.Corpus.open(sys.argv[1], "made"), CountQuery(prototypes, float(sys.argv[3]))).counts.sum())
"""

Times = dict[str, float]


def counting(rows: np.ndarray, prototypes: np.ndarray, asked: Asked) -> Callable[[], np.ndarray]:
    """Count all rows in memory with the engine's backend, tile by tile, as a pass over a corpus does."""

    def run() -> np.ndarray:
        counter = choose_backend("cpu").prepare(prototypes, asked)
        total = np.zeros(asked.thresholds.shape, dtype=np.int64)
        for start in range(0, len(rows), TILE):
            total += counter.count_tile(rows[start : start + TILE]).counts
        if asked.histogram and hasattr(counter, "take_histogram"):
            counter.take_histogram()
        return total

    return run


def check_counts(rows: np.ndarray, prototypes: np.ndarray, thresholds: np.ndarray, found: np.ndarray) -> None:
    """Stop unless the counts equal those of a float64 brute force."""
    expected = np.zeros(thresholds.shape, dtype=np.int64)
    for start in range(0, len(rows), TILE):
        exact = similarities(rows[start : start + TILE], prototypes)
        expected += np.stack([(exact >= column).sum(axis=0) for column in thresholds.T], axis=1)
    if not np.array_equal(found, expected):
        sys.exit("the counts are wrong: nothing was timed")


def many() -> dict[str, Times]:
    """512 prototypes in memory: one threshold, one that many pairs reach, eight, and histograms."""
    concepts = 512
    rows, prototypes = peers.clustered(ROWS, DIMENSION, 1), peers.clustered(concepts, DIMENSION, 2)
    wide, wide_prototypes = rows.astype(np.float32), prototypes.astype(np.float32)
    shares = np.geomspace(DENSE, SHARE, 8)
    levels = np.array([peers.threshold_at(rows, prototypes, share) for share in shares])
    rare, dense = np.full((concepts, 1), levels[-1]), np.full((concepts, 1), levels[0])
    eight = np.tile(levels, (concepts, 1))
    for thresholds in (rare, eight):
        check_counts(rows, prototypes, thresholds, counting(rows, prototypes, Asked(thresholds))())
    product = peers.torch_product(wide, wide_prototypes)
    histogram = Asked(np.zeros((concepts, 0)), histogram=True)
    return {
        "512 × 200k, in memory": peers.interleaved(
            {
                "tailwag": counting(rows, prototypes, Asked(rare)),
                "faiss IndexFlatIP.range_search": peers.faiss_range_search(wide, wide_prototypes, levels[-1]),
                "numpy, rows float32": peers.numpy_tiles(wide, wide_prototypes, levels[-1]),
                "numpy, rows float16": peers.numpy_tiles(rows, wide_prototypes, levels[-1]),
                "torch int8 product alone": peers.torch_int8_product(rows, prototypes),
                "torch float32 product alone": product,
            },
            REPEATS,
        ),
        "the same, 8 % of pairs pass": peers.interleaved(
            {"tailwag": counting(rows, prototypes, Asked(dense)), "torch float32 product alone": product}, REPEATS
        ),
        "the same, eight thresholds, 8 % to 0.1 %": peers.interleaved(
            {"tailwag": counting(rows, prototypes, Asked(eight)), "torch float32 product alone": product}, REPEATS
        ),
        "2,048-bin histograms, 512 × 200k": peers.interleaved(
            {
                "tailwag": counting(rows, prototypes, histogram),
                "numpy, product and bincount": peers.numpy_histograms(wide, wide_prototypes, BINS),
                "torch float32 product alone": product,
            },
            REPEATS,
        ),
    }


def one() -> dict[str, Times]:
    """One prototype in memory: how near to the speed of reading?"""
    rows, prototype = peers.clustered(ROWS_FOR_ONE, DIMENSION, 1), peers.clustered(1, DIMENSION, 2)
    threshold = peers.threshold_at(rows, prototype, SHARE)
    asked = Asked(np.array([[threshold]]))
    check_counts(rows, prototype, asked.thresholds, counting(rows, prototype, asked)())
    ways = {
        "tailwag": counting(rows, prototype, asked),
        "faiss SQfp16 range_search": peers.faiss_half_range_search(rows, prototype.astype(np.float32), threshold),
        "torch float16 product, compared": peers.torch_half_product(rows, prototype[0], threshold),
        "reading alone": peers.streaming(rows),
    }
    return {"1 × 1M, in memory": peers.interleaved(ways, REPEATS)}


def table() -> dict[str, Times]:
    """From a Lance table: 4,000 prototypes against torch in memory, 64 against LanceDB's own search."""
    rows, prototypes = peers.clustered(ROWS, DIMENSION, 1), peers.clustered(4000, DIMENSION, 2)
    threshold = peers.threshold_at(rows, prototypes[:500], SHARE)
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), rows)
        asked, few = prototype_set(corpus, prototypes), prototype_set(corpus, prototypes[:64])
        asked.save(Path(folder) / "prototypes.parquet")
        command = [sys.executable, "-c", COUNT_IN_A_PROCESS, folder, f"{folder}/prototypes.parquet", repr(threshold)]
        found = count(corpus, CountQuery(few, threshold)).counts
        check_counts(rows, prototypes[:64], np.full((64, 1), threshold), found)
        large = peers.interleaved(
            {
                "tailwag": lambda: count(corpus, CountQuery(asked, threshold)),
                "tailwag, start of the process included": lambda: subprocess.run(
                    command, check=True, capture_output=True
                ),
                "torch float32 product alone": peers.torch_product(
                    rows.astype(np.float32), prototypes.astype(np.float32)
                ),
            },
            3,
        )
        small = peers.interleaved(
            {
                "tailwag": lambda: count(corpus, CountQuery(few, threshold)),
                "LanceDB distance_range, 64 in one call": peers.lancedb_range(
                    folder, "made", "image", few.vectors.astype(np.float32), threshold, ROWS
                ),
            },
            REPEATS,
        )
        single = prototype_set(corpus, prototypes[:1])
        alone = peers.interleaved({"tailwag": lambda: count(corpus, CountQuery(single, threshold))}, REPEATS)
    return {
        "4,000 × 200k, from a Lance table": large,
        "64 × 200k, from a Lance table": small,
        "1 × 200k, from a Lance table": alone,
    }


def make_corpus(folder: Path, rows: np.ndarray) -> Corpus:
    """Make a corpus whose images and captions have these vectors."""
    import pyarrow as pa

    space = Space("made", "", "architecture", "weights", "{}", "tokenizer", rows.shape[1])
    corpus = Corpus.create(folder, "made", space)
    keys = [f"s/{number}" for number in range(len(rows))]
    columns = {
        **dict.fromkeys(("shard", "caption", "url", "sha256", "label"), pa.array([""] * len(keys))),
        **dict.fromkeys(("width", "height"), pa.array(np.full(len(keys), 256, np.int32))),
        **dict.fromkeys(("image", "text"), vector_column(rows)),
        "key": keys,
        "u": [sampling_number(key) for key in keys],
    }
    schema = corpus_schema(space)
    corpus.append(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    return corpus


def prototype_set(corpus: Corpus, vectors: np.ndarray) -> PrototypeSet:
    """Name prototypes by their numbers."""
    names = tuple(map(str, range(len(vectors))))
    return PrototypeSet(names, vectors, corpus.space, names)


def as_table(measured: Mapping[str, Times]) -> dict[str, list]:
    """Lay the medians out for people: a row a question and a way to answer it."""
    rows = []
    for question, times in measured.items():
        base = times["tailwag"]
        for way, taken in times.items():
            shown = f"{taken * 1e3:,.0f} ms" if taken < 10 else f"{taken:,.1f} s"
            rows.append([question if way == "tailwag" else "", way, shown, f"{taken / base:.2f}"])
    return {"headings": ["question", "way", "median", "over tailwag"], "rows": rows}


def main() -> None:
    """Measure what is named, or everything; print the table, write the JSON."""
    questions = {"many": many, "one": one, "table": table}
    chosen = sys.argv[1:] or list(questions)
    machine, measured = peers.machine(), {}
    for name in chosen:
        measured |= questions[name]()
    shown = as_table(measured)
    for row in (shown["headings"], *shown["rows"]):
        print(f"{row[0]:<42}{row[1]:<42}{row[2]:>12}{row[3]:>14}")
    results = {
        "machine": machine,
        "backend": describe_backend("cpu"),
        "repeats": REPEATS,
        "dimension": DIMENSION,
        "median seconds": {
            name: {way: round(one, 5) for way, one in times.items()} for name, times in measured.items()
        },
        "table": shown,
    }
    if not sys.argv[1:]:
        path = Path(__file__).parent / "results" / "count_engine.json"
        path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
