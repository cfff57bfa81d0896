"""How fast `tailwag import` takes in released vectors, against copying the same bytes on the same disk.

Makes a set as LAION-400M was released (512 float16 numbers a side, metadata with captions and addresses), then in turn
copies its files and imports them, each to its end on the disk (fsync). The files are out of the page cache before each.

    python perf/import_speed.py [--rows 1000000] [--parts 4] [--rounds 3] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parent / "results" / "import_speed.json"
DIMENSION = 512
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


def copy(source: Path, target: Path) -> float:
    """Copy a folder's files, to the disk; seconds."""
    start = time.perf_counter()
    shutil.copytree(source, target)
    to_disk(files_of(target))
    return time.perf_counter() - start


def take_in(source: Path, database: Path) -> tuple[float, float, int]:
    """Import a folder in a process of its own, to the disk; seconds of all, of the import itself, bytes of memory."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--import-into", str(database), "--folder", str(source)],
        check=True,
        capture_output=True,
        text=True,
    )
    to_disk(files_of(database))
    seconds = time.perf_counter() - start
    answer = json.loads(done.stdout)
    return seconds, answer["seconds"], answer["peak_bytes"]


def import_once(source: str, database: str) -> None:
    """Import in this process; print seconds and peak memory."""
    from tailwag.embed.imports.job import plan_import, run_import
    from tailwag.embed.space import Space

    plan = plan_import([source], database, "made")
    report = run_import(plan, Space.by_name("ViT-B-32", "openai", plan.dimension))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": report.seconds, "rows": report.rows, "peak_bytes": peak}))


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the files are made  [default: the system's]")
    parser.add_argument("--import-into", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.import_into:
        import_once(options.folder, options.import_into)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name) / "released"
        make_set(root, options.rows, options.parts)
        files = files_of(root)
        to_disk(files)
        size = sum(path.stat().st_size for path in files)
        copies, imports = [], []
        for _ in range(options.rounds):
            out_of_cache(files)
            copies.append(copy(root, Path(name) / "copy"))
            shutil.rmtree(Path(name) / "copy")
            out_of_cache(files)
            imports.append(take_in(root, Path(name) / "db"))
            written = sum(path.stat().st_size for path in files_of(Path(name) / "db"))
            shutil.rmtree(Path(name) / "db")
            print(f"copy {copies[-1]:.2f} s, import {imports[-1][0]:.2f} s (job {imports[-1][1]:.2f} s)", flush=True)
    print(size, written)


if __name__ == "__main__":
    main()
