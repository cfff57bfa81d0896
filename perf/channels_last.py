"""What do pictures as bytes, in memory as they are decoded, save on a CPU? CPU time a picture, one thread.

    python perf/channels_last.py MODEL...        writes perf/results/channels_last.json

Before: float32 pixels prepared by the threads that decode, a plane a channel. Now: bytes, normalised where the model
runs, channels last, weights too. Both are measured in one process, round about, by the CPU's own clock, which others
on the machine disturb little. Preparing the floats is not counted for the first way.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.embed.encoder import Encoder

ROUNDS, BATCH = 3, 16


def measure(model: str) -> dict[str, float]:
    """Give CPU milliseconds a picture for both ways, and how many times as quick the second is."""
    import torch

    planes, last = Encoder.load(model, device="cpu"), Encoder.load(model, device="cpu")
    planes._network.to(memory_format=torch.contiguous_format)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *last.preprocessing.shape), dtype=np.uint8)
    floats = last.preprocessing.normalise(torch.from_numpy(pixels)).contiguous()
    ways: dict[str, Callable[[], Any]] = {
        "before": lambda: planes.encode_pixels(floats),
        "now": lambda: last.encode_pixels(pixels),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    with last.shared_by_threads():
        for number in range(ROUNDS + 1):
            for way, encode in ways.items():
                start = time.process_time()
                encode()
                if number:  # the first round warms up
                    taken[way].append(1000 * (time.process_time() - start) / BATCH)
    told = {way: round(statistics.median(each), 3) for way, each in taken.items()}
    return told | {"times_as_quick": round(told["before"] / told["now"], 2)}


def main() -> None:
    """Measure, print, write the JSON."""
    models = {model.rpartition("/")[2]: measure(model) for model in sys.argv[1:]}
    headings = ["model", "floats, a plane a channel", "bytes, channels last", "times as quick"]
    rows = [
        [model, f"{told['before']:.2f} ms", f"{told['now']:.2f} ms", f"{told['times_as_quick']:.2f}"]
        for model, told in models.items()
    ]
    for row in (headings, *rows):
        print("".join(f"{cell:>28}" for cell in row))
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    about = {**machine, "load": round(os.getloadavg()[0], 1), "batch": BATCH, "rounds": ROUNDS, "models": models}
    path = Path(__file__).parent / "results" / "channels_last.json"
    path.write_text(json.dumps(about | {"table": {"headings": headings, "rows": rows}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
