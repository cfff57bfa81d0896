"""What does keeping freed memory save? The encoder alone on the CPU, with and without `keep_freed_memory`.

    python perf/allocator.py local-dir:FOLDER        writes perf/results/allocator.json

Each round runs both ways in fresh processes, one after the other, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS, BATCH, SECONDS = 5, 64, 4.0

MEASURE = """
import json, os, sys, time
import torch
from tailwag.embed import open_clip_loading
if sys.argv[2] == "off":
    open_clip_loading.keep_freed_memory = lambda: False
from tailwag.embed.encoder import Encoder
encoder = Encoder.load(sys.argv[1], device="cpu")
side = json.loads(encoder.space.preprocessing)["size"][0]
pixels = torch.rand(int(sys.argv[3]), 3, side, side)
encoder.encode_pixels(pixels)
start, before, images = time.perf_counter(), os.times(), 0
while time.perf_counter() - start < float(sys.argv[4]):
    encoder.encode_pixels(pixels)
    images += len(pixels)
after = os.times()
print(json.dumps({"images_per_second": images / (time.perf_counter() - start),
                  "system_share": (after.system - before.system) / (sum(after[:2]) - sum(before[:2]))}))
"""


def measure(model: str, way: str) -> dict[str, float]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-c", MEASURE, model, way, str(BATCH), str(SECONDS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, print a table, write the JSON."""
    model = sys.argv[1]
    rounds = [{way: measure(model, way) for way in ("off", "on")} for _ in range(ROUNDS)]
    medians = {
        way: {key: statistics.median(each[way][key] for each in rounds) for key in rounds[0][way]}
        for way in ("off", "on")
    }
    ratio = statistics.median(each["on"]["images_per_second"] / each["off"]["images_per_second"] for each in rounds)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    result = {"batch": BATCH, "rounds": ROUNDS, "median": medians, "median_ratio": ratio, **machine}
    print(f"{'keeping freed memory':<22}{'images/s':>10}{'system time':>13}")
    for way in ("off", "on"):
        print(f"{way:<22}{medians[way]['images_per_second']:>10.1f}{medians[way]['system_share']:>13.0%}")
    print(f"median ratio of {ROUNDS} rounds: {ratio:.1f}")
    path = Path(__file__).parent / "results" / "allocator.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
