"""How long does the numba form take to count, and how long do others take for the same?

    python perf/count_numba.py        writes perf/results/count_numba.json

512 prototypes against 200,000 rows, and one against a million, of 512 float16 numbers that lie in memory; about one
pair in a thousand reaches the threshold. The form reads float16; its peers get float32 where that is what they want.
Also: what its products and the settling of a pair cost, by which it chooses, and how long a process waits for its
first count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import peers

from tailwag.retrieval.counting import Asked, TileAnswer
from tailwag.retrieval.counting.bins import BINS
from tailwag.retrieval.counting.numba_form import NumbaBackend, Product

REPEATS, DIMENSION, SHARE = 5, 512, 0.001
MANY, ROWS, ROWS_FOR_ONE = 512, 200_000, 1_000_000
TILE = 8192  # as rows come from a corpus

FIRST_COUNT = """
import sys, time
start = time.perf_counter()
import numpy as np
from tailwag.retrieval.counting import Asked, choose_backend
rows = np.eye(40, 64, dtype=np.float16)
prototypes = np.ascontiguousarray(rows[:int(sys.argv[1])])
choose_backend("numba").prepare(prototypes, Asked(np.full((len(prototypes), 1), 0.5))).count_tile(rows)
print(time.perf_counter() - start)
"""


def counting(
    rows: np.ndarray, prototypes: np.ndarray, asked: Asked, tile: int = TILE, product: Product | None = None
) -> Callable[[], Sequence[TileAnswer]]:
    """Count all rows with the numba form, tile by tile, as a pass over a corpus does."""
    backend = NumbaBackend(product=product)

    def tiles() -> Iterator[tuple[np.ndarray, None]]:
        for start in range(0, len(rows), tile):
            yield rows[start : start + tile], None

    return lambda: list(backend.prepare(prototypes, asked).count_tiles(tiles()))


def many() -> dict[str, dict[str, float]]:
    """512 prototypes: counts at one threshold, and everything else that is asked for, against the product alone."""
    rows, prototypes = peers.clustered(ROWS, DIMENSION, 1), peers.clustered(MANY, DIMENSION, 2)
    wide, wide_prototypes = rows.astype(np.float32), prototypes.astype(np.float32)
    threshold = peers.threshold_at(rows, prototypes, SHARE)
    one, none = np.full((MANY, 1), threshold), np.zeros((MANY, 0))
    ladder = np.tile(np.linspace(-1, 1, 201), (MANY, 1))
    counts = peers.interleaved(
        {
            "numba form": counting(rows, prototypes, Asked(one)),
            "numba form, float32 products": counting(rows, prototypes, Asked(one), product="float32"),
            "torch float32 product alone": peers.torch_product(wide, wide_prototypes),
            "numpy, rows float32": peers.numpy_tiles(wide, wide_prototypes, threshold),
            "numpy, rows float16": peers.numpy_tiles(rows, wide_prototypes, threshold),
            "faiss IndexFlatIP.range_search": peers.faiss_range_search(wide, wide_prototypes, threshold),
        },
        REPEATS,
    )
    others = peers.interleaved(
        {
            "histograms": counting(rows, prototypes, Asked(none, histogram=True)),
            "201 thresholds": counting(rows, prototypes, Asked(ladder)),
            "best prototype": counting(rows, prototypes, Asked(none, best=1)),
            "five best prototypes": counting(rows, prototypes, Asked(none, best=5)),
            "torch float32 product alone": peers.torch_product(wide, wide_prototypes),
            "numpy: product and bincount": peers.numpy_histograms(wide, wide_prototypes, BINS),
        },
        REPEATS,
    )
    return {f"{MANY} x {ROWS}, counts": counts, f"{MANY} x {ROWS}, other answers": others}


def one() -> dict[str, dict[str, float]]:
    """One prototype: how near to the speed of reading?"""
    rows, prototype = peers.clustered(ROWS_FOR_ONE, DIMENSION, 1), peers.clustered(1, DIMENSION, 2)
    threshold = peers.threshold_at(rows, prototype, SHARE)
    asked, wide = Asked(np.array([[threshold]])), prototype.astype(np.float32)
    times = peers.interleaved(
        {
            "numba form": counting(rows, prototype, asked, ROWS_FOR_ONE),
            f"numba form, tiles of {TILE}": counting(rows, prototype, asked),
            "reading alone": peers.streaming(rows),
            "torch float16 product, compared": peers.torch_half_product(rows, prototype[0], threshold),
            "numpy, rows float16": peers.numpy_tiles(rows, wide, threshold),
            "faiss SQfp16 range_search": peers.faiss_half_range_search(rows, wide, threshold),
        },
        REPEATS,
    )
    return {f"1 x {ROWS_FOR_ONE}": times}


def costs() -> dict[str, float]:
    """Nanoseconds of a core for a pair: by each product, and for settling it. All lie on their threshold, or none."""
    rows, prototypes = np.tile(peers.clustered(1, DIMENSION, 1), (TILE, 1)), peers.clustered(MANY, DIMENSION, 2)
    on = rows[:1].astype(np.float64) @ prototypes.astype(np.float64).T
    ways = {
        "float32": counting(rows, prototypes, Asked(on.T - 0.1), product="float32"),
        "int16": counting(rows, prototypes, Asked(on.T - 0.1), product="int16"),
        "all settled": counting(rows, prototypes, Asked(on.T), product="float32"),
    }
    pairs = TILE * MANY / peers.CORES
    found = {name: seconds / pairs * 1e9 for name, seconds in peers.interleaved(ways, REPEATS).items()}
    return {**found, "settling": found["all settled"] - found["float32"]}


def first_counts() -> dict[str, float]:
    """Seconds of a fresh process until its first count: when it has to compile, and when numba's cache has it all.

    Python's own bytecode is there both times, as it is after an ordinary installation.
    """
    found = {}
    for concepts in (1, 40):
        with tempfile.TemporaryDirectory() as folder:
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            for state, kept in (("", "aside"), ("compiling", "kept"), ("from the cache", "kept")):
                places = {"PYTHONPYCACHEPREFIX": folder, "NUMBA_CACHE_DIR": f"{folder}/{kept}"}
                command = [sys.executable, "-c", FIRST_COUNT, str(concepts)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | places)
                if state:
                    found[f"{concepts} prototypes, {state}"] = float(done.stdout)
    return found


def main() -> None:
    """Measure, print tables, write the JSON."""
    start = time.time()
    results: dict[str, object] = {
        "machine": peers.machine(),
        "repeats": REPEATS,
        "dimension": DIMENSION,
        "share": SHARE,
    }
    timed = {**many(), **one()}
    for name, seconds in timed.items():
        base = next(iter(seconds.values()))
        print(f"{name + ' rows':<48}{'ms':>10}{'ratio':>10}")
        for way, taken in seconds.items():
            print(f"  {way:<46}{taken * 1e3:>10.1f}{taken / base:>10.2f}")
        results[name] = {
            "median seconds": {way: round(taken, 4) for way, taken in seconds.items()},
            "over the first": {way: round(taken / base, 2) for way, taken in seconds.items()},
        }
    for name, found in (("nanoseconds a pair and core", costs()), ("seconds to the first count", first_counts())):
        print(name)
        for case, number in found.items():
            print(f"  {case:<46}{number:>10.1f}")
        results[name] = {case: round(number, 2) for case, number in found.items()}
    path = Path(__file__).parent / "results" / "count_numba.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
