"""Writing a world as img2dataset would have downloaded it, and beside it `truth.parquet`: what each image really holds.

What is in the images is decided by `scenes.py`, drawn by `drawing.py`, worded by `captions.py` and `slips.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import tarfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from .captions import write_caption
from .drawing import IMAGE_SIZE, draw_scene, jpeg_bytes, near_duplicate, sprite_bank
from .scenes import Scene, SceneSampler
from .slips import Slipper, SlipShares

TRUTH_FILE = "truth.parquet"
_THING = pa.struct([("kind", pa.string()), ("colour", pa.string()), ("texture", pa.string()), ("size", pa.float32())])
TRUTH_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("sample_key", pa.string()),
        ("concepts", pa.list_(pa.string())),
        ("things", pa.list_(_THING)),
        ("omitted", pa.list_(pa.string())),
        ("named_wrongly", pa.list_(pa.string())),
        ("near_duplicate_of", pa.string()),
    ]
)


@dataclass(frozen=True)
class WorldPlan:
    """Everything that decides the bytes of a world.

    Attributes
    ----------
    n
        Images.
    seed
        Decides all that is drawn by chance.
    exponent
        Of the Zipf law of kinds, colours, textures and backgrounds; 0 makes a balanced world.
    omit, wrong, prominence
        How captions fall short, as in `SlipShares`.
    near_duplicates
        Share of images that show an earlier image of their shard again, cropped and brighter or darker.
    shard_size
        Images a shard.
    """

    n: int
    seed: int = 0
    exponent: float = 1.0
    omit: float = 0.0
    wrong: float = 0.0
    prominence: float = 0.0
    near_duplicates: float = 0.0
    shard_size: int = 2000

    def check(self) -> None:
        """Refuse a plan that cannot be drawn, naming everything that is wrong with it.

        Raises
        ------
        BadInput
        """
        wrongs = [f"--{name} is {value}, must be at least 1" for name, value in self._counts() if value < 1]
        for name in ("omit", "wrong", "prominence", "near_duplicates"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                wrongs.append(f"--{name.replace('_', '-')} is {value}, must be from 0 to 1")
        if not (math.isfinite(self.exponent) and self.exponent >= 0):
            wrongs.append(f"--exponent is {self.exponent}, must be 0 (balanced) or more")
        if self.omit + self.wrong > 1 and not wrongs:
            wrongs.append(f"--omit {self.omit} and --wrong {self.wrong} add up to more than 1: lower one")
        if wrongs:
            raise BadInput("; ".join(wrongs))

    def _counts(self) -> tuple[tuple[str, int], ...]:
        return (("n", self.n), ("shard-size", self.shard_size))

    @property
    def n_shards(self) -> int:
        """How many shards the world fills; the last may be short."""
        return -(-self.n // self.shard_size)

    def shard_images(self, shard: int) -> int:
        """How many images a shard holds."""
        return min(self.shard_size, self.n - shard * self.shard_size)

    def sample_key(self, shard: int, index: int) -> str:
        """The key img2dataset would give: shard and index side by side, zero-padded."""
        digits = max(1, math.ceil(math.log10(self.shard_size)))
        return f"{shard * 10**digits + index:0{5 + digits}d}"


@lru_cache(maxsize=1)
def _makers(plan: WorldPlan) -> tuple[SceneSampler, Slipper]:
    sampler = SceneSampler(plan.exponent, plan.seed)
    return sampler, Slipper(SlipShares(plan.omit, plan.wrong, plan.prominence), sampler, plan.seed)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def draw_shard(plan: WorldPlan, shard: int, folder: Path) -> list[dict[str, Any]]:
    """Draw one shard into the folder and return its rows of truth.

    Every image has its own source of chance, so neither other shards nor other processes matter.
    """
    sampler, slipper = _makers(plan)
    bank = sprite_bank(plan.seed)
    name = f"{shard:05d}"
    truth: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    originals: list[tuple[str, Scene, Any]] = []
    with tarfile.open(folder / f"{name}.tar.tmp", "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(plan.shard_images(shard)):
            rng = random.Random(f"world/{plan.seed}/{shard}/{index}")
            key = plan.sample_key(shard, index)
            if originals and rng.random() < plan.near_duplicates:
                source, scene, picture = rng.choice(originals)
                picture = near_duplicate(picture, rng)
            else:
                source, scene = None, sampler.sample(rng)
                picture = draw_scene(scene, bank, rng)
                originals.append((key, scene, picture))
            slips = slipper.slips(scene, rng)
            image = jpeg_bytes(picture)
            row = _metadata(plan, key, write_caption(scene, rng, slips), image)
            _add(tar, f"{key}.jpg", image)
            _add(tar, f"{key}.txt", row["caption"].encode())
            _add(tar, f"{key}.json", json.dumps(row, indent=4).encode())
            rows.append(row)
            truth.append(
                {
                    "key": f"{folder.name}/{name}/{key}",
                    "shard": name,
                    "sample_key": key,
                    "concepts": sorted(scene.concepts()),
                    "things": [vars(thing) for thing in scene.things],
                    "omitted": sorted(concept for concept, named in slips.items() if named is None),
                    "named_wrongly": sorted({named for named in slips.values() if named is not None}),
                    "near_duplicate_of": source,
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / f"{name}_stats.json").write_text(json.dumps(_stats(len(rows)), indent=4))
    (folder / f"{name}.tar.tmp").replace(folder / f"{name}.tar")
    return truth


def _metadata(plan: WorldPlan, key: str, caption: str, image: bytes) -> dict[str, Any]:
    return {
        "url": f"https://world.invalid/{plan.seed}/{key}.jpg",
        "caption": caption,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": IMAGE_SIZE,
        "height": IMAGE_SIZE,
        "original_width": IMAGE_SIZE,
        "original_height": IMAGE_SIZE,
        "sha256": hashlib.sha256(image).hexdigest(),
    }


def _stats(n: int) -> dict[str, Any]:
    # No clock: the same plan gives the same bytes.
    return {
        "count": n,
        "successes": n,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": {"success": n},
    }


def make_world(plan: WorldPlan, out: Path, workers: int | None = None, progress: Progress | None = None) -> Path:
    """Write a world: shards in img2dataset's layout and `truth.parquet`; returns the path of the truth.

    Parameters
    ----------
    plan
        What to draw.
    out
        A folder that does not exist yet, or is empty.
    workers
        Processes that draw; None takes one a core. The bytes do not depend on it.
    progress
        Told of every image written.

    Raises
    ------
    BadInput
        For a plan that cannot be drawn, or a folder that is not empty.
    """
    plan.check()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out} exists and is not an empty folder: name another one, or remove it first")
    out = out.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out} cannot be made ({error.strerror}): name a folder that you may write to") from error
    progress = progress or NoProgress()
    workers = min(workers or len(os.sched_getaffinity(0)), plan.n_shards)
    truths: list[list[dict[str, Any]]] = [[] for _ in range(plan.n_shards)]
    if workers == 1:
        for shard in range(plan.n_shards):
            truths[shard] = draw_shard(plan, shard, out)
            progress.advance(plan.shard_images(shard))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = {pool.submit(draw_shard, plan, shard, out): shard for shard in range(plan.n_shards)}
            for job in as_completed(jobs):
                truths[jobs[job]] = job.result()
                progress.advance(plan.shard_images(jobs[job]))
    schema = TRUTH_SCHEMA.with_metadata({"tailwag.world": json.dumps(asdict(plan))})
    table = pa.Table.from_pylist([row for rows in truths for row in rows], schema=schema)
    pq.write_table(table, out / f"{TRUTH_FILE}.tmp")
    (out / f"{TRUTH_FILE}.tmp").replace(out / TRUTH_FILE)
    return out / TRUTH_FILE
