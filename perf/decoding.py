"""What do a model's pixels of photographs cost: in threads or processes, with open_clip's steps or ours?

    python perf/decoding.py PHOTOS.tar [SIDE]        writes perf/results/decoding.json

Ways: in threads with open_clip's own preprocessing, which makes float32 tensors; in threads with tailwag's, which makes
the same bytes and leaves the numbers to the device; in processes. Wall time needs a quiet machine; CPU time per picture
does not, and what the job's own process spends bounds how many pictures a second can pass through it, whatever the
cores. Rounds are interleaved.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.embed.decoding import InThisThread, decode_image
from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.embed.pixel_workers import PixelWorkers
from tailwag.embed.preprocessing import Preprocessing

ROUNDS, BATCH = 7, 32
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IN_PROCESSES = "in processes"


def children_seconds() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print, write the JSON."""
    import torch

    torch.set_num_threads(1)
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 224
    with tarfile.open(sys.argv[1]) as shard:
        found = (shard.extractfile(member) for member in shard if member.name.endswith(".jpg"))
        files = [file.read() for file in found if file is not None]
    values = {"size": side, "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic", "fill_color": 0}
    transform = import_open_clip().transform
    reference = transform.image_transform_v2(transform.PreprocessCfg(**values), is_train=False)
    preprocessing = Preprocessing.from_json(json.dumps(values))
    cores = os.cpu_count() or 1
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    processes = PixelWorkers(preprocessing, cores, BATCH)
    ways: dict[str, Callable[[Sequence[bytes]], Any]] = {
        "open_clip's steps in threads": lambda batch: torch.stack([reference(decode_image(data)) for data in batch]),
        "in threads": InThisThread(preprocessing).decode,
        IN_PROCESSES: processes.decode,
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    own: dict[str, list[float]] = {way: [] for way in ways}
    before = children_seconds()
    with ThreadPoolExecutor(cores) as pool:
        with processes:
            for number in range(ROUNDS + 1):
                for way, decode in ways.items():
                    start, used = time.perf_counter(), time.process_time()
                    list(pool.map(decode, batches))
                    if number:  # the first round warms up
                        rates[way].append(len(files) / (time.perf_counter() - start))
                        own[way].append(1000 * (time.process_time() - used) / len(files))
        theirs = 1000 * (children_seconds() - before) / len(files) / (ROUNDS + 1)
    told = {
        way: {
            "images_per_second": round(statistics.median(rates[way]), 1),
            "cpu_ms_here": round(statistics.median(own[way]), 3),
            "cpu_ms_in_processes": round(theirs, 3) if way == IN_PROCESSES else 0.0,
        }
        for way in ways
    }
    headings = ["way", "images/s", "CPU ms a picture, in the job's process", "in others"]
    rows = [
        [way, f"{one['images_per_second']:,.0f}", f"{one['cpu_ms_here']:.2f}", f"{one['cpu_ms_in_processes']:.2f}"]
        for way, one in told.items()
    ]
    for row in (headings, *rows):
        print(f"{row[0]:<32}" + "".join(f"{cell:>40}" for cell in row[1:]))
    path = Path(__file__).parent / "results" / "decoding.json"
    about = {
        "machine": platform.machine(),
        "cores": cores,
        "python": platform.python_version(),
        "pillow": metadata.version("pillow"),
        "load": round(os.getloadavg()[0], 1),
        "photographs": len(files),
        "bytes_a_picture": round(float(np.mean([len(data) for data in files]))),
        "side": side,
        "rounds": ROUNDS,
        "ways": told,
    }
    path.write_text(json.dumps(about | {"table": {"headings": headings, "rows": rows}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
