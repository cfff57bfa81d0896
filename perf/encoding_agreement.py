"""How near are vectors to those of open_clip's own path, in each precision, and what would a quicker decoder change?

    python perf/encoding_agreement.py PHOTOS.tar MODEL...        writes perf/results/encoding_agreement.json

The reference takes one photograph at a time through open_clip's own preprocessing and `encode_image` in float32 on the
CPU. Against it: the encoder in float32, float16 and bfloat16, and in float32 with JPEGs that libjpeg shrinks while it
decodes (Pillow's draft mode: to no less than the model's size, and to no less than twice that). Last, what the
precisions do to a similarity of a photograph with a text, which is what a threshold meets.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tailwag.embed import encoder as encoding
from tailwag.embed.decoding import decode_image
from tailwag.embed.encoder import PRECISIONS, Encoder

PHOTOGRAPHS = 24
TEXTS = ("a photo of a dog", "a red bus in the rain", "two people on a beach", "a plate of food", "snow", "")


def read_photographs(tar: Path, most: int) -> list[bytes]:
    """Give the first JPEG files of a shard."""
    with tarfile.open(tar) as shard:
        files = (shard.extractfile(member) for member in shard if member.name.endswith(".jpg"))
        return [file.read() for file, _ in zip(files, range(most), strict=False) if file is not None]


def drafted(data: bytes, least: int) -> Image.Image:
    """Decode a JPEG at the smallest of libjpeg's scales that leaves both sides at least so many pixels."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (least, least))
    image.load()
    return image


def reference(model: str, images: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    """Encode photographs and texts one by one, by open_clip alone: (n, d) and (t, d) float32, unit length."""
    import torch

    from tailwag.embed.models import load_model

    loaded = load_model(model)
    with torch.no_grad():
        pictures = [loaded.network.encode_image(loaded.transform(image)[None], normalize=True)[0] for image in images]
        texts = [loaded.network.encode_text(loaded.tokenizer([text]), normalize=True)[0] for text in TEXTS]
    return torch.stack(pictures).numpy(), torch.stack(texts).numpy()


def compare(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Give the least, the first percentile and the median of the cosines of rows."""
    left, right = expected.astype(np.float64), found.astype(np.float64)
    cosines = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    least, percentile, median = np.quantile(cosines, [0, 0.01, 0.5])
    return {"least": round(least, 6), "percentile_1": round(percentile, 6), "median": round(median, 6)}


def seconds(work: Callable[[], Any], rounds: int = 2) -> float:
    """Give the best of some rounds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure(model: str, files: list[bytes]) -> dict[str, Any]:
    """Compare everything for one model."""
    encoding.LEAST_COSINE = -1.0  # what would be refused is measured here
    images = [decode_image(data) for data in files]
    pictures, texts = reference(model, images)
    encoder = Encoder.load(model, device="cpu")
    told: dict[str, Any] = {"photographs": len(files), "precision": {}, "draft": {}}
    plain = encoder.encode_images(images, 16).astype(np.float64) @ encoder.encode_texts(TEXTS).astype(np.float64).T
    for precision in PRECISIONS:
        one = Encoder.load(model, device="cpu", precision=precision)
        found, written = one.encode_images(images, 16), one.encode_texts(TEXTS)
        moved = np.abs(found.astype(np.float64) @ written.astype(np.float64).T - plain)
        told["precision"][precision] = {
            "images": compare(pictures, found),
            "texts": compare(texts, written),
            "similarity_moved": {"median": round(float(np.median(moved)), 6), "most": round(float(moved.max()), 6)},
        }
    side = encoder.preprocessing.height
    whole = seconds(lambda: [decode_image(data) for data in files])
    for times in (1, 2):
        found = encoder.encode_images([drafted(data, times * side) for data in files], 16)
        quick = seconds(lambda least=times * side: [drafted(data, least) for data in files])
        told["draft"][f"{times} x {side}"] = {**compare(pictures, found), "decoding_speedup": round(whole / quick, 2)}
    return told


def main() -> None:
    """Measure, print, write the JSON."""
    files = read_photographs(Path(sys.argv[1]), PHOTOGRAPHS)
    results = {model.rpartition("/")[2]: measure(model, files) for model in sys.argv[2:]}
    rows = []
    for model, told in results.items():
        for precision, found in told["precision"].items():
            cells = [f"{found[side][which]:.5f}" for side in ("images", "texts") for which in ("least", "median")]
            rows.append([model, precision, *cells, f"{found['similarity_moved']['most']:.4f}", "1"])
        for least, found in told["draft"].items():
            cells = [f"{found[which]:.5f}" for which in ("least", "median")]
            rows.append([model, f"float32, draft to {least}", *cells, "", "", "", f"{found['decoding_speedup']:.1f}"])
    headings = ["model", "way", "pictures: least", "median", "texts: least", "median", "similarity moved", "decoding"]
    for row in (headings, *rows):
        print("".join(f"{cell:>20}" for cell in row))
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    versions = {name: metadata.version(name) for name in ("torch", "open_clip_torch", "pillow")}
    path = Path(__file__).parent / "results" / "encoding_agreement.json"
    told = {**machine, "versions": versions, "texts": len(TEXTS), "models": results}
    path.write_text(json.dumps(told | {"table": {"headings": headings, "rows": rows}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
