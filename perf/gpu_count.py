"""How near to the hardware does counting on a GPU come? Each question beside the operation that bounds it, in one run.

    python perf/gpu_count.py        writes perf/results/gpu_count.json

Unit vectors of 512 float16 numbers in clusters in a narrow cone, made on the GPU. Questions, and what each is a share
of:

1. 512 prototypes at eight thresholds, without and with histograms, rows on the GPU: of torch's float16 product of the
   same matrices (aim: 75 %). Thresholds lie on quantiles, where the kernel compares, or on edges of the histogram,
   which answers them. For every tile size that the kernels are tried with.
2. One prototype, rows on the GPU: of the rate at which the GPU copies its own memory (aim: 85 %).
3. 512 prototypes, rows streamed from the host, out of pinned memory and out of ordinary memory: of the rate of copies
   from pinned memory (aim: 90 %).
4. The 2,048 most similar rows of 512 prototypes by FAISS on the same GPU, as the nearest thing to a count that it has.

Before anything is timed, counts and histograms are compared with a float64 brute force. All ways have warmed up and are
timed in turn; medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tailwag.retrieval.counting import Asked
from tailwag.retrieval.counting import cuda as cuda_backend
from tailwag.retrieval.counting.bins import BINS, EDGES

DIMENSION, CONCEPTS, ROUNDS, CLUSTERS = 512, 512, 7, 1000
ROWS, ROWS_FOR_ONE, ROWS_STREAMED, TILE = 1 << 20, 1 << 24, 1 << 22, 1 << 16
SHARES = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)  # of rows that reach each of the eight thresholds
FAISS_K = 2048  # the most that FAISS's GPU indices give
RESULT = Path(__file__).parent / "results" / "gpu_count.json"

Ways = dict[str, Callable[[], object]]


def clustered(rows: int, seed: int, device: str):  # noqa: ANN201
    """Make (rows, 512) float16 unit vectors about common centres, all in one cone."""
    import torch

    centres = torch.Generator(device).manual_seed(0)
    own = torch.Generator(device).manual_seed(seed)
    middle = torch.randn((CLUSTERS, DIMENSION), generator=centres, device=device) + 1
    made = torch.empty((rows, DIMENSION), dtype=torch.float16, device=device)
    for start in range(0, rows, TILE):
        here = made[start : start + TILE]
        cluster = torch.randint(CLUSTERS, (len(here),), generator=own, device=device)
        noisy = middle[cluster] + 1.5 * torch.randn(here.shape, generator=own, device=device)
        here.copy_(noisy / noisy.norm(dim=1, keepdim=True))
    return made


def brute_force(rows, prototypes, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN001
    """Count and bin by float64 products on the device, tile by tile."""
    import torch

    wide = prototypes.double()
    limits, edges = (torch.from_numpy(np.array(one)).to(rows.device) for one in (thresholds, EDGES))
    counts = torch.zeros(limits.shape, dtype=torch.int64, device=rows.device)
    bins = torch.zeros((len(wide), BINS), dtype=torch.int64, device=rows.device)
    for start in range(0, len(rows), TILE // 4):
        exact = (rows[start : start + TILE // 4].double() @ wide.T).T.contiguous()
        for column in range(limits.shape[1]):
            counts[:, column] += (exact >= limits[:, column, None]).sum(dim=1)
        place = torch.bucketize(exact, edges, right=True) - 1
        bins.scatter_add_(1, place, torch.ones_like(place))
    return counts.cpu().numpy(), bins.cpu().numpy()


def quantile_thresholds(rows, prototypes) -> np.ndarray:  # noqa: ANN001
    """(C, 8) thresholds that about the wanted shares of rows reach, from a sample; never an edge of the histogram."""
    import torch

    scores = (rows[: TILE // 2].double() @ prototypes.double().T).T
    levels = torch.tensor([1 - share for share in SHARES], dtype=torch.float64, device=rows.device)
    return torch.stack([torch.quantile(one, levels) for one in scores]).cpu().numpy() + 1e-9


def counting(work, rows) -> Callable[[], tuple[np.ndarray, np.ndarray | None]]:  # noqa: ANN001
    """Count rows that lie on the device and are known to be fine, as `Resident` does."""

    def run() -> tuple[np.ndarray, np.ndarray | None]:
        work.start()
        for submitted in [
            work.submit(rows[start : start + work.most_rows], None, checked=True)
            for start in range(0, len(rows), work.most_rows)
        ]:
            work.collect(submitted)
        return work.sums()

    return run


def median_seconds(ways: Ways, device: str, rounds: int) -> dict[str, float]:
    """Time all ways in turn, after each has run once."""
    import torch

    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, run in ways.items():
            wait()
            start = time.perf_counter()
            run()
            wait()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def measure_products(device: str, rows_wanted: int, rounds: int) -> dict[str, object]:
    """Question 1."""
    import torch

    from tailwag.retrieval.counting.cuda.fused import FusedForm
    from tailwag.retrieval.counting.cuda.launches import CANDIDATES
    from tailwag.retrieval.counting.cuda.torch_form import TorchForm

    rows, prototypes = clustered(rows_wanted, 1, device), clustered(CONCEPTS, 2, device)
    between = quantile_thresholds(rows, prototypes)
    on_edges = EDGES[np.searchsorted(EDGES, between)]
    on_host = prototypes.cpu().numpy()
    questions = {
        "8 thresholds": Asked(between),
        "8 thresholds and histogram": Asked(between, histogram=True),
        "8 thresholds on edges and histogram": Asked(on_edges, histogram=True),
    }
    slices = [rows[start : start + (1 << 18)] for start in range(0, len(rows), 1 << 18)]
    product = torch.empty((len(slices[0]), CONCEPTS), dtype=torch.float16, device=device)
    ways: Ways = {"torch float16 product": lambda: [torch.matmul(one, prototypes.T, out=product) for one in slices]}
    for name, asked in questions.items():
        expected = brute_force(rows, prototypes, asked.thresholds)
        forms = {f"{one.concepts} x {one.rows}, {one.warps} warps, {one.stages} stages": one for one in CANDIDATES}
        works = {size: FusedForm(device, one).work(on_host, asked) for size, one in forms.items()}
        works["plain torch"] = TorchForm(device).work(on_host, asked)
        for form, work in works.items():
            run = counting(work, rows)
            counts, histogram = run()
            assert np.array_equal(counts, expected[0]), f"{name}, {form}: wrong counts"
            assert not asked.histogram or np.array_equal(histogram, expected[1]), f"{name}, {form}: wrong histograms"
            ways[f"{name} | {form}"] = run
    seconds = median_seconds(ways, device, rounds)
    bound = seconds.pop("torch float16 product")
    flop = 2 * len(rows) * CONCEPTS * DIMENSION
    return {
        "rows": len(rows),
        "torch float16 product, TFLOP/s": flop / bound / 1e12,
        "share of it": {name: bound / one for name, one in seconds.items()},
        "seconds": {"torch float16 product": bound, **seconds},
    }


def measure_one(device: str, rows_wanted: int, rounds: int) -> dict[str, object]:
    """Question 2."""
    import torch

    from tailwag.retrieval.counting.cuda.fused import FusedForm

    rows, prototypes = clustered(rows_wanted, 3, device), clustered(1, 4, device)
    asked = Asked(quantile_thresholds(rows, prototypes)[:, 4:5])
    run = counting(FusedForm(device).work(prototypes.cpu().numpy(), asked), rows)
    assert np.array_equal(run()[0], brute_force(rows, prototypes, asked.thresholds)[0]), "wrong counts"
    half = len(rows) // 2
    copy = torch.empty_like(rows[:half])
    seconds = median_seconds({"count": run, "copy": lambda: copy.copy_(rows[:half])}, device, rounds)
    read, moved = rows.nbytes / seconds["count"], 2 * copy.nbytes / seconds["copy"]
    return {"rows": len(rows), "GB/s read": read / 1e9, "GB/s copied": moved / 1e9, "share of it": read / moved}


def measure_stream(device: str, rows_wanted: int, rounds: int) -> dict[str, object]:
    """Question 3."""
    import torch

    on_device, prototypes = clustered(rows_wanted, 5, device), clustered(CONCEPTS, 6, device)
    asked = Asked(quantile_thresholds(on_device, prototypes)[:, 4:5])
    expected = brute_force(on_device, prototypes, asked.thresholds)[0]
    on_gpu = torch.device(device).type == "cuda"
    pinned = torch.empty(on_device.shape, dtype=torch.float16, pin_memory=on_gpu).copy_(on_device).numpy()
    del on_device
    ordinary = pinned.copy()
    ordinary.setflags(write=False)  # as a table's buffers are
    counter = cuda_backend.CudaBackend((device,)).prepare(prototypes.cpu().numpy(), asked)

    def stream(rows: np.ndarray) -> np.ndarray:
        tiles = ((rows[start : start + TILE], None) for start in range(0, len(rows), TILE))
        return sum(answer.counts for answer in counter.count_tiles(tiles))

    target = torch.empty((TILE, DIMENSION), dtype=torch.float16, device=device)

    def copy() -> None:
        for start in range(0, len(pinned), TILE):
            part = torch.from_numpy(pinned[start : start + TILE])
            target[: len(part)].copy_(part, non_blocking=True)

    for rows in (pinned, ordinary):
        assert np.array_equal(stream(rows), expected), "wrong counts"
    ways: Ways = {"pinned": lambda: stream(pinned), "ordinary": lambda: stream(ordinary), "copy": copy}
    seconds = median_seconds(ways, device, rounds)
    return {
        "rows": len(pinned),
        "GB/s copied": pinned.nbytes / seconds["copy"] / 1e9,
        "share of it": {name: seconds["copy"] / seconds[name] for name in ("pinned", "ordinary")},
    }


def measure_faiss(device: str, rows_wanted: int, rounds: int) -> dict[str, object]:
    """Question 4."""
    import faiss

    if not faiss.get_num_gpus():
        return {"not measured": "this FAISS sees no GPU"}
    rows, prototypes = clustered(rows_wanted, 1, device), clustered(CONCEPTS, 2, device)
    settings = faiss.GpuIndexFlatConfig()
    settings.useFloat16, settings.device = True, 0
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), DIMENSION, settings)
    for start in range(0, len(rows), TILE):
        index.add(rows[start : start + TILE].float().cpu().numpy())
    queries = prototypes.float().cpu().numpy()
    seconds = median_seconds({"search": lambda: index.search(queries, FAISS_K)}, device, rounds)["search"]
    return {"rows": len(rows), "k": FAISS_K, "seconds": seconds}


def environment(device: str) -> dict[str, object]:
    """What the numbers hold for."""
    import torch

    found: dict[str, object] = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("torch", "triton", "numpy", "faiss-gpu"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory, GB": round(properties.total_memory / 1e9),
            "cuda": torch.version.cuda,
        }
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=RESULT.parent)
    return {**found, "commit": git.stdout.strip()}


def print_table(results: dict[str, dict]) -> None:
    """Print the shares, a line each."""
    products, one, stream, faiss_ = (results[name] for name in ("products", "one", "stream", "faiss"))
    print(f"torch float16 product: {products['torch float16 product, TFLOP/s']:.0f} TFLOP/s; of it")
    for name, share in products["share of it"].items():
        print(f"  {name:<64}{share:>8.1%}")
    print(f"one prototype reads {one['GB/s read']:.0f} of {one['GB/s copied']:.0f} GB/s {one['share of it']:>28.1%}")
    for name, share in stream["share of it"].items():
        print(f"streamed from {name} memory, of {stream['GB/s copied']:.1f} GB/s {share:>28.1%}")
    if "seconds" in faiss_:
        fused = {name: one for name, one in products["seconds"].items() if name.startswith("8 thresholds |")}
        ratio = faiss_["seconds"] / min(fused.values())
        print(f"FAISS, the {FAISS_K} nearest: {ratio:.1f} times as long as counts at eight thresholds")
    else:
        print(f"FAISS: not measured, {faiss_['not measured']}")


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    reason = cuda_backend.why_not() or cuda_backend.why_not_fused("cuda:0")
    if reason is not None:
        sys.exit(f"nothing was measured: {reason}")
    device = "cuda:0"
    results = {
        "products": measure_products(device, ROWS, rounds),
        "one": measure_one(device, ROWS_FOR_ONE, rounds),
        "stream": measure_stream(device, ROWS_STREAMED, rounds),
        "faiss": measure_faiss(device, ROWS, rounds),
    }
    print_table(results)
    RESULT.parent.mkdir(exist_ok=True)
    unfinished = RESULT.with_suffix(".new")
    written = {"environment": environment(device), "rounds": rounds, "dimension": DIMENSION, "concepts": CONCEPTS}
    from tailwag.retrieval.counting.cuda.launches import tile_sizes

    written["default sizes"] = asdict(tile_sizes(CONCEPTS, DIMENSION))
    unfinished.write_text(json.dumps({**written, **results}, indent=2) + "\n")
    unfinished.replace(RESULT)


if __name__ == "__main__":
    main()
