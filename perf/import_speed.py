"""How fast `tailwag import` takes in released vectors, against copying the same bytes on the same disk.

    python perf/import_speed.py [--rows 1000000] [--parts 4] [--rounds 5] [--folder DIR]

Makes a set as LAION-400M was released (512 float16 numbers a side, metadata with captions and addresses). In turn its
files are copied in two ways, imported, and written by Lance alone from rows that lie ready in memory; each way to its
end on the disk (fsync), in a process that has started and loaded its libraries, with the files out of the page cache
before. Medians. What two steps of the import cost plainly and compiled is measured apart. Writes
perf/results/import_speed.json and import_steps.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers

from tailwag.embed.space import Space

RESULTS = Path(__file__).parent / "results"
RESULT, STEPS = RESULTS / "import_speed.json", RESULTS / "import_steps.json"
DIMENSION = 512
SPACE = Space.by_name("ViT-B-32", "openai", DIMENSION)
WORDS = "a of the red small vintage photo dress with print on white wall art canvas for sale by in blue two"


def make_set(root: Path, rows: int, parts: int) -> None:
    """Write the set, part by part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    words = np.array(WORDS.split())
    for folder in ("img_emb", "text_emb", "metadata"):
        (root / folder).mkdir(parents=True)
    each = rows // parts
    for part in range(parts):
        for side in ("img_emb", "text_emb"):
            vectors = np.empty((each, DIMENSION), np.float16)
            for start in range(0, each, 10_000):
                block = generator.normal(size=(min(10_000, each - start), DIMENSION)).astype(np.float32)
                vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
            np.save(root / side / f"{side}_{part}.npy", vectors)
        keys = [f"{part * each + row:012d}" for row in range(each)]
        captions = [" ".join(chosen) for chosen in words[generator.integers(len(words), size=(each, 10))]]
        digits = generator.integers(1 << 62, size=(each, 2))
        table = {
            "image_path": keys,
            "caption": captions,
            "NSFW": ["UNLIKELY"] * each,
            "similarity": generator.uniform(0.3, 0.5, each),
            "LICENSE": ["?"] * each,
            "url": [f"https://made.example/{a:016x}/images/{b:016x}.jpg" for a, b in digits.tolist()],
            "key": keys,
            "status": ["success"] * each,
            "error_message": pa.nulls(each, pa.string()),
            "width": np.full(each, 256),
            "height": np.full(each, 256),
            "original_width": generator.integers(200, 2000, each),
            "original_height": generator.integers(200, 2000, each),
            "exif": ["{}"] * each,
            "md5": [f"{b:032x}" for b in digits[:, 1].tolist()],
        }
        pq.write_table(pa.table(table), root / "metadata" / f"metadata_{part}.parquet")


def files_of(folder: Path) -> list[Path]:
    """List all files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def to_disk(files: list[Path]) -> None:
    """Wait until files are on the disk."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def out_of_cache(files: list[Path]) -> None:
    """Ask the system to forget what it holds of files in memory."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


WAYS = (
    "copying the files",
    "copying, the cache let go of",
    "tailwag import",
    "Lance alone, rows ready in memory",
)
COPY, COPY_AND_LET_GO, IMPORT, LANCE = WAYS


def copy(source: Path, target: Path) -> None:
    """Copy a folder's files."""
    shutil.copytree(source, target)


def copy_and_let_go(source: Path, target: Path) -> None:
    """Copy a folder's files, and let go of what was read, as an import does."""
    for path in files_of(source):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as read, to.open("wb") as written:
            while os.sendfile(written.fileno(), read.fileno(), None, 8 << 20):
                os.posix_fadvise(read.fileno(), 0, read.tell(), os.POSIX_FADV_DONTNEED)


def take_in(source: Path, target: Path) -> None:
    """Import a folder."""
    from tailwag.embed.imports.job import plan_import, run_import

    plan = plan_import([source], target, "made")
    run_import(plan, SPACE)


def rows_in_memory(source: Path) -> list[list[Any]]:
    """Read all parts as rows of a corpus."""
    from tailwag.embed.corpus import corpus_schema
    from tailwag.embed.imports.job import plan_import
    from tailwag.embed.imports.part_rows import PartRows

    plan = plan_import([source], source / "no database", "made")
    return [list(PartRows(part, corpus_schema(SPACE)).batches()) for part in plan.parts]


def write_alone(parts: list[list[Any]], target: Path) -> None:
    """Write rows as fragments, and commit none of them."""
    from tailwag.embed.corpus import Corpus
    from tailwag.embed.fragment_writing import write_rows

    corpus = Corpus.create(target, "made", SPACE)
    for batches in parts:
        write_rows(corpus.database.table_uri(corpus.name), corpus.schema, iter(batches))


def warm(folder: Path) -> None:
    """Load the libraries and compiled loops that a long import loads once: import a set of a few rows."""
    make_set(folder / "small", 100, 1)
    take_in(folder / "small", folder / "small-db")


def once(way: str, source: Path, target: Path) -> dict[str, float]:
    """Do it in this process: seconds to the disk, seconds of the processor, bytes written and of memory."""
    with tempfile.TemporaryDirectory() as folder:
        warm(Path(folder))
    prepared = rows_in_memory(source) if way == LANCE else None
    out_of_cache(files_of(source))
    start, processor = time.perf_counter(), time.process_time()
    if prepared is not None:
        write_alone(prepared, target)
    else:
        {COPY: copy, COPY_AND_LET_GO: copy_and_let_go, IMPORT: take_in}[way](source, target)
    to_disk(files_of(target))
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "bytes_written": sum(path.stat().st_size for path in files_of(target)),
        "peak_bytes": peers.peak_bytes(),
    }


def steps(rows: int = 50_000) -> dict[str, dict[str, float]]:
    """Seconds of the processor a million pairs: unit length of both sides, and sampling numbers, in two ways."""
    import pyarrow as pa

    from tailwag.embed.corpus import sampling_number
    from tailwag.embed.imports.half_floats import normalise_halves
    from tailwag.embed.imports.normalising import normalise_in_numpy
    from tailwag.embed.imports.sampling import sampling_numbers

    vectors = np.random.default_rng(0).normal(size=(2 * rows, DIMENSION)).astype(np.float16)
    keys = pa.array([f"laion400m/12/{row:012d}" for row in range(rows)])
    blocks = [vectors[start : start + 8192] for start in range(0, len(vectors), 8192)]

    def cost(work: Callable[[], Any]) -> float:
        work()
        start = time.thread_time()
        work()
        return (time.thread_time() - start) / rows * 1e6

    return {
        "unit length": {
            "plain": cost(lambda: [normalise_in_numpy(block) for block in blocks]),
            "compiled": cost(lambda: [normalise_halves(block) for block in blocks]),
        },
        "sampling numbers": {
            "plain": cost(lambda: [sampling_number(key) for key in keys.to_pylist()]),
            "compiled": cost(lambda: sampling_numbers(keys)),
        },
    }


def in_process(way: str, source: Path, target: Path) -> dict[str, float]:
    """Do `once` in a process of its own."""
    command = [sys.executable, __file__, "--once", way, "--folder", str(source), "--target", str(target)]
    # Libraries are loaded as they are where Python may keep what it compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    shutil.rmtree(target)
    return json.loads(done.stdout)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="where the files are made  [default: the system's]")
    parser.add_argument("--once", choices=WAYS, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--target", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.once, Path(options.folder), Path(options.target))))
        return
    measured_on = peers.machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name) / "released"
        make_set(root, options.rows, options.parts)
        to_disk(files_of(root))
        size = sum(path.stat().st_size for path in files_of(root))
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, found in rounds.items():
                found.append(in_process(way, root, Path(name) / "target"))
                print(
                    f"{way}: {found[-1]['seconds']:.2f} s, processor {found[-1]['processor_seconds']:.2f} s", flush=True
                )
    medians = {
        way: {of: statistics.median(each[of] for each in found) for of in found[0]} for way, found in rounds.items()
    }
    speeds = {way: size / 1e6 / found["seconds"] for way, found in medians.items()}
    copying = speeds[COPY]
    cost = steps()
    rows = [
        [
            way,
            f"{speeds[way]:,.0f} MB/s",
            f"{speeds[way] / copying:.2f}",
            f"{options.rows / found['seconds'] * 60 / 1e6:,.1f}",
            f"{found['processor_seconds'] / options.rows * 1e6:.1f} s",
            f"{found['peak_bytes'] / 1e6:,.0f} MB" if way == IMPORT else "",
        ]
        for way, found in medians.items()
    ]
    headings = ["way", "speed", "over copying", "million pairs a minute", "processor, a million pairs", "peak memory"]
    result = {
        "rows": options.rows,
        "parts": options.parts,
        "bytes": size,
        "medians": medians,
        "ratio_to_copying": speeds[IMPORT] / copying,
        "ratio_to_copying_and_letting_go": speeds[IMPORT] / speeds[COPY_AND_LET_GO],
        "processor_seconds_a_million_pairs": cost,
        "machine": measured_on,
        "load_at_the_end": round(os.getloadavg()[0], 2),
        "seconds_of_each_round": {way: [round(each["seconds"], 2) for each in found] for way, found in rounds.items()},
        "table": {"headings": headings, "rows": rows},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    steps_rows = [[step, f"{of['plain']:.2f} s", f"{of['compiled']:.2f} s"] for step, of in cost.items()]
    table = {"headings": ["a million pairs", "numpy, Python", "compiled"], "rows": steps_rows}
    STEPS.write_text(json.dumps({"machine": measured_on, "table": table}, indent=1) + "\n", "utf-8")
    for row in [headings, *rows, *steps_rows]:
        print(" | ".join(row))


if __name__ == "__main__":
    main()
