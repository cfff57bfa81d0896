"""What makes the encoder quick on a CPU, and which batch? The model alone, on random pictures.

    python perf/cpu_encoding.py ways       writes perf/results/cpu_encoding.json
    python perf/cpu_encoding.py batches    writes perf/results/cpu_batches.json

Models: the one of the made world, the small one of the folder that TAILWAG_TEST_DATA names (default ../shared), and
ViT-B-32 with random weights.

Ways: as torch does it; with `keep_freed_memory`; also with a batch in each of as many threads as there are cores; and
also with pictures as bytes and memory in their order, channels last, as the job does it. Each is measured on an idle
machine and beside a process that keeps one core busy, as decoding does. Batches: the last way, idle, with the peak of
resident memory. Every round runs all of it in fresh processes, one after the other, so that a noisy machine disturbs
all alike. Medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import peers
import photograph_shards
from embed_peer import random_weights

RESULTS = Path(__file__).parent / "results"
ROUNDS, BATCH, SECONDS = 3, 32, 2.0
WAYS = ("as torch does", "keeping memory", "and a thread a core", "and channels last")
LOADS = ("idle", "one core busy")
BATCHES = (4, 8, 16, 32)

MEASURE = """
import contextlib, json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
import torch
from tailwag.embed import open_clip_loading
model, weights, way, batch, seconds = *sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])
if way == "as torch does":
    open_clip_loading.keep_freed_memory = lambda: False
from tailwag.embed.encoder import Encoder
encoder = Encoder.load(model, weights or None, device="cpu")
pixels = torch.randint(0, 256, (batch, *encoder.preprocessing.shape), dtype=torch.uint8)
if way != "and channels last":
    pixels = encoder.preprocessing.normalise(pixels).contiguous()
    encoder._network.to(memory_format=torch.contiguous_format)
threads = (os.cpu_count() or 1) if way.startswith("and") else 1
with encoder.shared_by_threads() if threads > 1 else contextlib.nullcontext(), ThreadPoolExecutor(threads) as pool:
    run = lambda: list(pool.map(encoder.encode_pixels, [pixels] * threads))
    run()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        images += batch * threads
    rate = images / (time.perf_counter() - start)
import peers
print(json.dumps({"rate": rate, "peak": peers.peak_bytes()}))
"""


def measure(model: tuple[str, str], way: str, load: str, batch: int = BATCH) -> dict[str, float]:
    """Give images per second and peak bytes of a model and its weights, in a process of its own."""
    spinning = None if load == "idle" else subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        command = [sys.executable, "-c", MEASURE, *model, way, str(batch), str(SECONDS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
        return json.loads(done.stdout)
    finally:
        if spinning is not None:
            spinning.kill()
            spinning.wait()


def medians(model: tuple[str, str], cases: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, float]]:
    """Measure every case in each round."""
    rounds = [{case: measure(model, *case) for case in cases} for _ in range(ROUNDS)]
    return {
        case: {of: statistics.median(each[case][of] for each in rounds) for of in ("rate", "peak")} for case in cases
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ways", "batches"])
    what = parser.parse_args().what
    measured_on = peers.machine()
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "tailwag:world": ("tailwag:world", ""),
            "mini": (f"local-dir:{photograph_shards.MODEL}", ""),
            "ViT-B-32": ("ViT-B-32", str(random_weights(Path(folder) / "vit-b-32.pt"))),
        }
        for name, model in models.items():
            if what == "ways":
                found = medians(model, list(product(WAYS, LOADS)))
                rows += [[name, way, *(f"{found[way, load]['rate']:,.1f}" for load in LOADS)] for way in WAYS]
            else:
                found = medians(model, [(WAYS[-1], LOADS[0], batch) for batch in BATCHES])
                rows += [
                    [name, str(case[2]), f"{each['rate']:,.1f}", f"{each['peak'] / 1e6:,.0f} MB"]
                    for case, each in found.items()
                ]
    headings = ["model", "way, images/s", *LOADS] if what == "ways" else ["model", "batch", "images/s", "peak memory"]
    told = {"rounds": ROUNDS, "machine": measured_on, "table": {"headings": headings, "rows": rows}}
    path = RESULTS / ("cpu_encoding.json" if what == "ways" else "cpu_batches.json")
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    for row in (headings, *rows):
        print(" | ".join(row))


if __name__ == "__main__":
    main()
