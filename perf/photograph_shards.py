"""Real photographs with their captions, packed anew into tar shards of one size: what embedding is measured on.

Not here: the measurements.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

SHARED = Path(__file__).parent.parent / os.environ.get("TAILWAG_TEST_DATA", "../shared")
PHOTOGRAPHS = SHARED / "data" / "photos"
MODEL = SHARED / "models" / "mini"
_PARTS = (".jpg", ".txt", ".json")


def samples() -> list[dict[str, bytes]]:
    """Give every photograph of the shared shards: its .jpg, .txt and .json."""
    return [sample for tar in sorted(PHOTOGRAPHS.glob("*/*.tar")) for sample in _samples(tar)]


def pack(folder: Path, shards: int, most: int | None = None, copies: int = 1) -> int:
    """Write shards as img2dataset does, dealing the photographs to them in turn, so that all are alike.

    Parameters
    ----------
    folder
        Where `00000.tar` and so on are written.
    shards
        How many.
    most
        Photographs to take, evenly out of all; None for all.
    copies
        How often each is packed, under another key each time.

    Returns
    -------
    int
        Samples written.
    """
    taken = samples()
    if most is not None:
        taken = taken[:: max(1, len(taken) // most)][:most]
    # Each copy begins one photograph later, so that copies of one are dealt to different shards.
    taken = [sample for copy in range(copies) for sample in taken[copy:] + taken[:copy]]
    folder.mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number, sample in enumerate(taken[shard::shards]):
                for suffix, data in sample.items():
                    member = tarfile.TarInfo(f"{shard:05d}{number:05d}{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return len(taken)


def pattern(folder: Path, shards: int) -> str:
    """Name packed shards as both tailwag and clip-retrieval read it."""
    return f"{folder}/{{00000..{shards - 1:05d}}}.tar"


def _samples(path: Path) -> Iterator[dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, dot, suffix = member.name.rpartition(".")
            file = tar.extractfile(member)
            if file is not None and dot + suffix in _PARTS:
                found.setdefault(key, {})[dot + suffix] = file.read()
    for sample in found.values():
        if len(sample) == len(_PARTS):
            yield sample
