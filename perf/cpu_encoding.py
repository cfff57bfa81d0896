"""What do keeping freed memory, one thread a core and channels last save? The encoder alone on the CPU, in four ways.

    python perf/cpu_encoding.py MODEL...        writes perf/results/cpu_encoding.json

Ways: as torch does it; with `keep_freed_memory`; also with a batch in each of as many threads as there are cores; and
also with pictures as bytes and memory in their order, channels last, as the job does it. Each is measured on an idle
machine and beside a process that keeps one core busy, as decoding does.
Every round runs all of it in fresh processes, one after the other, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

ROUNDS, BATCH, SECONDS = 3, 32, 3.0
WAYS = ("as torch does", "keeping memory", "and a thread a core", "and channels last")
LOADS = ("idle", "one core busy")

MEASURE = """
import contextlib, json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
import torch
from tailwag.embed import open_clip_loading
model, way, batch, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
if way == "as torch does":
    open_clip_loading.keep_freed_memory = lambda: False
from tailwag.embed.encoder import Encoder
encoder = Encoder.load(model, device="cpu")
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
    print(images / (time.perf_counter() - start))
"""


def measure(model: str, way: str, load: str) -> float:
    """Give images per second of one way under one load, in a process of its own."""
    spinning = None if load == "idle" else subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        command = [sys.executable, "-c", MEASURE, model, way, str(BATCH), str(SECONDS)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    finally:
        if spinning is not None:
            spinning.kill()
            spinning.wait()


def main() -> None:
    """Measure, print a table, write the JSON."""
    results = {}
    for model in sys.argv[1:]:
        rounds = [{case: measure(model, *case) for case in product(WAYS, LOADS)} for _ in range(ROUNDS)]
        median = {case: statistics.median(each[case] for each in rounds) for case in rounds[0]}
        name = model.rpartition("/")[2]
        results[name] = {way: {load: round(median[way, load], 1) for load in LOADS} for way in WAYS}
        print(f"{name + ', images/s':<30}" + "".join(f"{load:>16}" for load in LOADS))
        for way in WAYS:
            print(f"{way:<30}" + "".join(f"{median[way, load]:>16.1f}" for load in LOADS))
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    path = Path(__file__).parent / "results" / "cpu_encoding.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"batch": BATCH, "rounds": ROUNDS, **machine, "median": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
