"""What the measurements of counting share: made vectors, the peers at their best settings, interleaved timing.

Not here: the measurements, one file each. A peer is a function of float32 arrays that gives a callable to be timed;
whatever it can prepare beforehand (an index, a tensor) is prepared by then.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

CLUSTERS = 400
# Of a vector's squared length: what all share, what a cluster shares; the rest is its own. So that two vectors have a
# similarity of about 0.2 with a deviation of about 0.05, as CLIP's pictures and names have.
_COMMON, _CLUSTER = 0.2, 0.1
_BLOCK = 1 << 16
_TILE = 2048
CORES = len(os.sched_getaffinity(0))


def clustered(rows: int, dimension: int, seed: int) -> np.ndarray:
    """Make unit vectors in a narrow cone, in clusters of uneven size that are the same for every seed.

    Returns
    -------
    numpy.ndarray
        (rows, dimension) float16.
    """
    fixed, generator = np.random.default_rng(0), np.random.default_rng([seed, 1])
    common = fixed.standard_normal(dimension, dtype=np.float32)
    centres = fixed.standard_normal((CLUSTERS, dimension), dtype=np.float32)
    share = 1 / np.arange(1, CLUSTERS + 1)
    made = np.empty((rows, dimension), dtype=np.float16)
    for start in range(0, rows, _BLOCK):
        here = min(_BLOCK, rows - start)
        cluster = generator.choice(CLUSTERS, size=here, p=share / share.sum())
        own = generator.standard_normal((here, dimension), dtype=np.float32)
        wide = _COMMON**0.5 * common + _CLUSTER**0.5 * centres[cluster] + (1 - _COMMON - _CLUSTER) ** 0.5 * own
        made[start : start + here] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return made


def threshold_at(rows: np.ndarray, prototypes: np.ndarray, share: float) -> float:
    """Which similarity do so many of all pairs reach? By the first rows."""
    return float(np.quantile(rows[:10_000].astype(np.float32) @ prototypes.astype(np.float32).T, 1 - share))


def machine() -> dict[str, object]:
    """Say on what class of machine, with which versions and at which commit a measurement was taken."""
    versions = {}
    for package in ("numpy", "numba", "torch", "faiss-gpu", "faiss-cpu", "pylance"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": platform.machine(),
        "cores": CORES,
        "instructions": _instructions(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
        "load before": round(os.getloadavg()[0], 2),
    }


def peak_bytes() -> int:
    """Give the most memory that this program has held at a time; `getrusage` would count what started it, too."""
    line = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    repeats: int,
    rest: float = 0.05,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time several ways to do a thing, one after the other in each round, so that a noisy machine disturbs all alike.

    Parameters
    ----------
    ways
        By name.
    repeats
        Rounds, after one that warms up.
    rest
        Seconds before each, in which a library's threads stop spinning.
    clock
        `time.process_time` for seconds of a core, all threads together, where others use the machine as well.

    Returns
    -------
    dict[str, float]
        Median seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            time.sleep(rest)
            start = clock()
            way()
            if turn:
                taken[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def faiss_range_search(rows: np.ndarray, prototypes: np.ndarray, threshold: float) -> Callable[[], object]:
    """FAISS's own exact search for all rows above a threshold, all queries in one call."""
    import faiss

    faiss.omp_set_num_threads(CORES)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)  # type: ignore[call-arg]
    return lambda: index.range_search(prototypes, threshold)  # type: ignore[call-arg]


def faiss_half_range_search(rows: np.ndarray, prototypes: np.ndarray, threshold: float) -> Callable[[], object]:
    """The same over vectors that are stored in float16."""
    import faiss

    faiss.omp_set_num_threads(CORES)
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:1000])  # type: ignore[call-arg]
    for start in range(0, len(rows), _BLOCK):
        index.add(rows[start : start + _BLOCK].astype(np.float32))  # type: ignore[call-arg]
    return lambda: index.range_search(prototypes, threshold)  # type: ignore[call-arg]


def torch_product(rows: np.ndarray, prototypes: np.ndarray) -> Callable[[], object]:
    """Torch's float32 product alone, in tiles whose scores are thrown away: where a float32 screen would start from."""
    import torch

    torch.set_num_threads(CORES)
    left, right = torch.from_numpy(rows), torch.from_numpy(prototypes).T
    out = torch.empty(_TILE, len(prototypes))

    def run() -> None:
        for start in range(0, len(left), _TILE):
            tile = left[start : start + _TILE]
            torch.mm(tile, right, out=out[: len(tile)])

    return run


def torch_int8_product(rows: np.ndarray, prototypes: np.ndarray) -> Callable[[], object]:
    """Torch's int8 product alone, of vectors that are rounded already. Without VNNI its sums saturate and are wrong."""
    import torch

    torch.set_num_threads(CORES)
    left = torch.from_numpy(np.clip(np.rint(rows.astype(np.float32) * 500), -127, 127).astype(np.int8))
    right = torch.from_numpy(np.clip(np.rint(prototypes.astype(np.float32) * 500), -127, 127).astype(np.int8)).T
    out = torch.empty(_TILE, len(prototypes), dtype=torch.int32)

    def run() -> None:
        for start in range(0, len(left), _TILE):
            tile = left[start : start + _TILE]
            torch._int_mm(tile, right, out=out[: len(tile)])

    return run


def lancedb_range(
    folder: str, table: str, column: str, prototypes: np.ndarray, threshold: float, rows: int
) -> Callable[[], object]:
    """LanceDB's flat search for all rows within a distance, all queries in one call."""
    import lancedb

    opened = lancedb.connect(folder).open_table(table)

    def run() -> object:
        search = opened.search(list(prototypes), vector_column_name=column).distance_type("cosine")
        # The greater bound is exclusive; the least cosine distance may come out a little below 0.
        return search.distance_range(-0.01, 1 - threshold).limit(rows).select(["_distance"]).to_arrow()

    return run


def torch_half_product(rows: np.ndarray, prototype: np.ndarray, threshold: float) -> Callable[[], object]:
    """Torch's float16 product of all rows and one prototype, compared and counted."""
    import torch

    torch.set_num_threads(CORES)
    left, right = torch.from_numpy(rows), torch.from_numpy(prototype)
    return lambda: int((torch.mv(left, right) >= threshold).sum())


def numpy_tiles(rows: np.ndarray, prototypes: np.ndarray, threshold: float) -> Callable[[], object]:
    """A product a tile, compared and summed; rows that are float16 are widened tile by tile."""

    def run() -> np.ndarray:
        counts = np.zeros(len(prototypes), dtype=np.int64)
        for start in range(0, len(rows), _TILE):
            tile = rows[start : start + _TILE].astype(np.float32, copy=False)
            counts += (tile @ prototypes.T >= threshold).sum(axis=0)
        return counts

    return run


def numpy_histograms(rows: np.ndarray, prototypes: np.ndarray, bins: int) -> Callable[[], object]:
    """A product a tile, binned by thousandths with one bincount; float32, so bins at the edges may be wrong."""
    first = (np.arange(len(prototypes)) * bins + bins // 2).astype(np.float32)

    def run() -> np.ndarray:
        total = np.zeros(len(prototypes) * bins, dtype=np.int64)
        for start in range(0, len(rows), _TILE):
            places = np.floor((rows[start : start + _TILE] @ prototypes.T) * np.float32(1000)) + first
            total += np.bincount(places.astype(np.int32).reshape(-1), minlength=len(total))
        return total

    return run


def streaming(rows: np.ndarray) -> Callable[[], object]:
    """Read all bytes once, on all cores: what no way of counting can be quicker than."""
    words = rows.reshape(-1).view(np.uint64)
    pieces = np.array_split(words, CORES * 8)
    pool = ThreadPoolExecutor(CORES)
    return lambda: list(pool.map(np.bitwise_or.reduce, pieces))


def _instructions() -> str:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split())
    except OSError:
        return platform.machine()
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "amx_int8": "AMX"}
    return ", ".join(name for flag, name in names.items() if flag in flags) or platform.machine()


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
