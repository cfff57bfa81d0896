"""Shards made on the spot, sound and broken, with the number of samples known."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 30), format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sound_members(numbers: range, label: str | None = None) -> list[tuple[str, bytes]]:
    members = []
    for number in numbers:
        key = f"{number:09d}"
        metadata = {"url": f"made/{key}.jpg", "key": key} | ({"label_name": label} if label else {})
        members += [
            (f"{key}.jpg", picture(number)),
            (f"{key}.txt", f"picture number {number}".encode()),
            (f"{key}.json", json.dumps(metadata).encode()),
        ]
    return members


def sound_shard(path: Path, numbers: range) -> Path:
    return write_tar(path, sound_members(numbers))
