"""Sets of released vectors, written as clip-retrieval, LAION-400M and DataComp write them, what they hold known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...corpora import random_unit


def vectors_of(part: int, side: str, rows: int, dimension: int = 32) -> np.ndarray:
    return random_unit(rows, dimension, seed=2 * part + (side == "text"))


def captions_of(part: int, rows: int) -> list[str]:
    return [f"a photo of thing {row} in part {part}" for row in range(rows)]


def write_clip_retrieval(
    root: Path,
    parts: dict[int, int],
    *,
    folders: tuple[str, str] = ("img_emb", "text_emb"),
    digits: int = 1,
    dimension: int = 32,
    text: bool = True,
    encode=None,
) -> Path:
    """Write `parts` (number: rows); `encode` makes the captions' vectors."""
    for number, rows in parts.items():
        stem = str(number).zfill(digits)
        captions = captions_of(number, rows)
        write_matrix(root / folders[0] / f"img_emb_{stem}.npy", vectors_of(number, "image", rows, dimension))
        if text:
            made = encode(captions) if encode is not None else vectors_of(number, "text", rows, dimension)
            write_matrix(root / folders[1] / f"text_emb_{stem}.npy", made)
        metadata = {
            "image_path": [f"{number:05d}{row:04d}" for row in range(rows)],
            "caption": captions,
            "NSFW": ["UNLIKELY"] * rows,
            "similarity": [0.31] * rows,
            "LICENSE": ["?"] * rows,
            "url": [f"made/{number}/{row}.jpg" for row in range(rows)],
            "key": [f"{number:05d}{row:04d}" for row in range(rows)],
            "status": ["success"] * rows,
            "error_message": [None] * rows,
            "width": [256] * rows,
            "height": [192] * rows,
            "original_width": [1024] * rows,
            "original_height": [768] * rows,
            "exif": ["{}"] * rows,
            "md5": ["0" * 32] * rows,
        }
        write_parquet(root / "metadata" / f"metadata_{stem}.parquet", metadata)
    return root


def write_datacomp(root: Path, stems: dict[str, int], *, compressed: bool = False) -> Path:
    """Write `stems` (name, perhaps in a sub-folder: rows), vectors of both models, those of l14 not of unit length."""
    for number, (stem, rows) in enumerate(stems.items()):
        path = root / f"{stem}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            "b32_img": vectors_of(number, "image", rows, 32),
            "b32_txt": vectors_of(number, "text", rows, 32),
            "l14_img": (9 * vectors_of(number, "image", rows, 48).astype(np.float32)).astype(np.float16),
            "l14_txt": (7 * vectors_of(number, "text", rows, 48).astype(np.float32)).astype(np.float16),
            "dedup": np.zeros((rows, 8), np.float16),
        }
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        metadata = {
            "uid": [f"{number:016x}{row:016x}" for row in range(rows)],
            "url": [f"made/{stem}/{row}.jpg" for row in range(rows)],
            "text": captions_of(number, rows),
            "original_width": [640] * rows,
            "original_height": [480] * rows,
            "clip_b32_similarity_score": pa.array([0.3] * rows, pa.float32()),
            "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]]] * rows,
            "sha256": [f"{row:064x}" for row in range(rows)],
        }
        write_parquet(root / f"{stem}.parquet", metadata)
    return root


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, matrix)


def write_parquet(path: Path, columns: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def with_columns(path: Path, **columns) -> None:
    """Write a parquet anew with other columns; None leaves one out."""
    table = {
        name: column for name, column in pq.read_table(path).to_pydict().items() if columns.get(name, 0) is not None
    }
    pq.write_table(pa.table(table | {name: column for name, column in columns.items() if column is not None}), path)
