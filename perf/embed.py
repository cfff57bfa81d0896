"""How fast is an embedding job: over the model's forward pass alone, and beside clip-retrieval?

    python perf/embed.py --alone [--model MODEL]     writes perf/results/embed.json
    python perf/embed.py --peer VENV                 writes perf/results/embed_peer.json (`embed_peer.py`)
    python perf/embed.py --gpu                       writes perf/results/embed_gpu.json; needs CUDA

The photographs of the folder that TAILWAG_TEST_DATA names (default ../shared) are packed into equal tar shards.

--alone: `run_job` in this process from the loaded model to the last commit (reading, decoding, captions, writing)
over `Encoder.images_per_second` with the same threads and batch; forward pass and job in turn, medians. Then where the
processors' time goes, each step apart on the same photographs. --gpu: the same for ViT-B-32 with random weights in
the engine of one machine; decoding and copying to the device are shown apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import peers
import photograph_shards

from tailwag.embed.encoder import Encoder

RESULTS = Path(__file__).parent / "results"
# Forward passes are short beside a job: so many measurements are one.
_FORWARDS = 4
PACKAGES = ("open_clip_torch", "torchvision", "pillow", "pyarrow", "timm")


def forward(encoder: Encoder, threads: int, batch_size: int) -> dict[str, float]:
    """Measure the forward pass alone: images a second, and seconds of a core a thousand images."""
    processor = time.process_time()
    rates = [encoder.images_per_second(threads, batch_size) for _ in range(_FORWARDS)]
    # A batch a thread warms up, two are timed.
    images = _FORWARDS * 3 * threads * batch_size
    return {
        "images_per_second": statistics.harmonic_mean(rates),
        "core_seconds_a_thousand": (time.process_time() - processor) / images * 1000,
    }


def job(encoder: Encoder, pattern: str, threads: int, batch_size: int) -> dict[str, float]:
    """Run a job in this process, and measure it from the loaded model to its end."""
    from tailwag.embed.job import plan_embedding, run_job
    from tailwag.embed.job.running import ThisProcess

    with tempfile.TemporaryDirectory() as database:
        plan = plan_embedding([pattern], database, "photographs")
        begun: list[float] = []
        report = run_job(
            plan,
            ThisProcess(encoder, plan.reader, threads, batch_size),
            on_ready=lambda: begun.extend([time.perf_counter(), time.process_time()]),
        )
        seconds, processor = time.perf_counter() - begun[0], time.process_time() - begun[1]
    if report.rows != report.samples:
        raise SystemExit(f"{report.failures} photographs failed: {dict(report.reasons)}")
    return {
        "images_per_second": report.rows / seconds,
        "core_seconds_a_thousand": processor / report.rows * 1000,
        "writing_seconds": report.write_seconds,
        "rows": report.rows,
    }


def steps(encoder: Encoder, pattern: str, threads: int, batch_size: int) -> dict[str, float]:
    """Seconds of a core a thousand images of each step that is not the image half of the model."""
    from tailwag.embed.decoding import decode_image
    from tailwag.embed.job import plan_embedding
    from tailwag.embed.shard_work import ShardWork
    from tailwag.embed.sources import Sample
    from tailwag.progress import NoProgress

    with tempfile.TemporaryDirectory() as database:
        plan = plan_embedding([pattern], database, "photographs")
    shards = [[found for found in plan.reader.read(shard) if isinstance(found, Sample)] for shard in plan.shards]
    files = [sample.image for shard in shards for sample in shard]
    thousands = len(files) / 1000

    def cost(work: Callable[[], Any]) -> float:
        start = time.process_time()
        work()
        return (time.process_time() - start) / thousands

    images = [decode_image(data) for data in files]
    with encoder.shared_by_threads(), ThreadPoolExecutor(threads) as pool:
        works = [ShardWork(encoder, shard) for shard in plan.shards]
        for work, shard in zip(works, shards, strict=True):
            work.run(iter(shard), pool, threads, batch_size, NoProgress())
        texts: list[np.ndarray] = []
        return {
            "reading the tar files": cost(lambda: [list(plan.reader.read(shard)) for shard in plan.shards]),
            "decoding JPEG": cost(lambda: [decode_image(data) for data in files]),
            "resizing and cropping": cost(lambda: [encoder.preprocessing.pixels(image) for image in images]),
            "sha256": cost(lambda: [hashlib.sha256(data).hexdigest() for data in files]),
            "captions through the model": cost(
                lambda: texts.extend(work.encode_captions(pool, threads, batch_size) for work in works)
            ),
            "rows as a table": cost(
                lambda: [work.finish(encoder.space, text) for work, text in zip(works, texts, strict=True)]
            ),
        }


def machine() -> dict[str, object]:
    """Say on what was measured, with the versions that matter here."""
    told = peers.machine()
    return {**told, "more_versions": {name: version(name) for name in PACKAGES}}


def measure_alone(
    model: str, shards: int, most: int | None, copies: int, rounds: int, batch_size: int
) -> dict[str, Any]:
    """Measure a job over the forward pass alone, on the CPU."""
    measured_on = machine()
    threads = peers.CORES
    encoder = Encoder.load(model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        photographs = photograph_shards.pack(Path(folder) / "shards", shards, most, copies)
        pattern = photograph_shards.pattern(Path(folder) / "shards", shards)
        job(encoder, pattern, threads, batch_size)  # warms up
        alone = [forward(encoder, threads, batch_size)]
        jobs: list[dict[str, float]] = []
        for _ in range(rounds):
            jobs.append(job(encoder, pattern, threads, batch_size))
            alone.append(forward(encoder, threads, batch_size))
            print(f"job {jobs[-1]['images_per_second']:.1f}, forward {alone[-1]['images_per_second']:.1f}", flush=True)
        apart = steps(encoder, pattern, threads, batch_size)

    # Each job beside the forward passes before and after it: a machine that slows down slows both.
    ratios = [
        each["images_per_second"] / statistics.harmonic_mean([one["images_per_second"] for one in alone[place:][:2]])
        for place, each in enumerate(jobs)
    ]
    ratio = statistics.median(ratios)
    rate, forward_rate = (median(found, "images_per_second") for found in (jobs, alone))
    core, forward_core = (median(found, "core_seconds_a_thousand") for found in (jobs, alone))
    rows = [
        ["forward pass alone", f"{forward_rate:.1f}", "1.00", f"{forward_core:.2f} s", "1.00"],
        ["the whole job", f"{rate:.1f}", f"{ratio:.2f}", f"{core:.2f} s", f"{forward_core / core:.2f}"],
        *([f"of it: {step}", "", "", f"{seconds:.2f} s", ""] for step, seconds in apart.items()),
        ["of it: the rest", "", "", f"{core - forward_core - sum(apart.values()):.2f} s", ""],
    ]
    headings = ["", "images/s", "over the forward pass", "core seconds, 1,000 images", "forward pass over it"]
    return {
        "model": model.rpartition("/")[2],
        "photographs": photographs,
        "shards": shards,
        "threads": threads,
        "batch_size": batch_size,
        "rounds": rounds,
        "ratio": round(ratio, 4),
        "ratio_of_each_round": [round(each, 4) for each in ratios],
        "ratio_of_core_seconds": round(forward_core / core, 4),
        "jobs": jobs,
        "forward": alone,
        "core_seconds_a_thousand_images": apart,
        "machine": measured_on,
        "load_at_the_end": round(os.getloadavg()[0], 2),
        "table": {"headings": headings, "rows": rows},
    }


def measure_gpu(shards: int, copies: int, rounds: int) -> dict[str, Any]:
    """Measure a job over the forward pass alone on one GPU, ViT-B-32 with random weights. Never run without CUDA."""
    import torch
    from embed_peer import random_weights

    from tailwag.embed.job import plan_embedding, run_job
    from tailwag.embed.job.local_engine import LocalEngine
    from tailwag.embed.job.worker_settings import WorkerSettings
    from tailwag.embed.pixel_workers import PixelWorkers

    if not torch.cuda.is_available():
        raise SystemExit("--gpu measures where CUDA is; there is none here: run --alone")
    measured_on = machine() | {"gpu": torch.cuda.get_device_name(0)}
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder) / "weights.pt")
        photographs = photograph_shards.pack(Path(folder) / "shards", shards, copies=copies)
        pattern = photograph_shards.pattern(Path(folder) / "shards", shards)
        settings = WorkerSettings("ViT-B-32", str(weights), device="cuda:0")
        encoder = settings.load()
        threads, batch_size = settings.threads_here(), settings.batch_size_on(encoder)
        settings = WorkerSettings("ViT-B-32", str(weights), device="cuda:0", batch_size=batch_size)
        files = [sample[".jpg"] for sample in photograph_shards.samples()]
        batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)] * 8

        def decoding() -> float:
            with (
                PixelWorkers(encoder.preprocessing, threads, batch_size) as workers,
                ThreadPoolExecutor(threads) as pool,
            ):
                list(pool.map(workers.decode, batches[: 2 * threads]))
                start = time.perf_counter()
                list(pool.map(workers.decode, batches))
                return sum(map(len, batches)) / (time.perf_counter() - start)

        def copying() -> float:
            pixels = torch.zeros((batch_size, *encoder.preprocessing.shape), dtype=torch.uint8)
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(32):
                pixels.pin_memory().to("cuda:0", non_blocking=True)
            torch.cuda.synchronize()
            return 32 * batch_size / (time.perf_counter() - start)

        def whole() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as database:
                plan = plan_embedding([pattern], database, "photographs")
                begun: list[float] = []
                engine = LocalEngine(settings, ["cuda:0"])
                report = run_job(plan, engine, on_ready=lambda: begun.append(time.perf_counter()))
                return report.rows / (time.perf_counter() - begun[0])

        ways: dict[str, Callable[[], float]] = {
            "forward pass alone": lambda: forward(encoder, threads, batch_size)["images_per_second"],
            "decoding alone": decoding,
            "copying to the device alone": copying,
            "the whole job": whole,
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, measure in ways.items():
                found[way].append(measure())
                print(f"{way}: {found[way][-1]:,.0f} images/s", flush=True)
    medians = {way: statistics.median(rates) for way, rates in found.items()}
    base = medians["forward pass alone"]
    rows = [[way, f"{rate:,.0f}", f"{rate / base:.2f}"] for way, rate in medians.items()]
    return {
        "model": "ViT-B-32, random weights",
        "precision": encoder.precision,
        "photographs": photographs,
        "threads": threads,
        "batch_size": batch_size,
        "rounds": found,
        "machine": measured_on,
        "table": {"headings": ["", "images/s", "over the forward pass"], "rows": rows},
    }


def median(found: list[dict[str, float]], of: str) -> float:
    """Give the median of one figure over the rounds."""
    return statistics.median(each[of] for each in found)


def main() -> None:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--alone", action="store_true", help="over the model's forward pass alone")
    mode.add_argument("--peer", type=Path, metavar="VENV", help="beside clip-retrieval in that environment")
    mode.add_argument("--gpu", action="store_true", help="over the forward pass alone on a GPU, ViT-B-32")
    parser.add_argument("--model", default=f"local-dir:{photograph_shards.MODEL}", help="for --alone")
    parser.add_argument("--models", nargs="+", default=["mini", "ViT-B-32"], help="for --peer")
    parser.add_argument("--peer-workers", type=int, nargs="+", default=[1, 2, 4], help="that the peer tries")
    parser.add_argument("--photographs", type=int, default=None, help="how many  [default: all]")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--copies", type=int, default=None, help="of each photograph  [default: 4, with --gpu 40]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", type=Path, default=None, help="where the JSON goes  [default: perf/results]")
    options = parser.parse_args()
    if options.peer:
        from embed_peer import measure_peer

        name = "embed_peer.json"
        path = options.out or RESULTS / name
        told = measure_peer(
            options.peer.absolute(),
            options.models,
            options.peer_workers,
            options.shards,
            options.photographs,
            options.rounds,
            options.batch_size,
            json.loads(path.read_text("utf-8"))["models"] if path.is_file() else {},
        )
    elif options.gpu:
        name, told = "embed_gpu.json", measure_gpu(options.shards, options.copies or 40, options.rounds)
    else:
        name = "embed.json"
        # Real shards hold 10,000 samples; what is lost at a job's end should weigh as little here.
        told = measure_alone(
            options.model,
            options.shards,
            options.photographs,
            options.copies or 4,
            options.rounds,
            options.batch_size,
        )
    path = options.out or RESULTS / name
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for row in (told["table"]["headings"], *told["table"]["rows"]):
        print(" | ".join(row))


if __name__ == "__main__":
    main()
