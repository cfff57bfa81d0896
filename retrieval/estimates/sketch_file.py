"""A sketch as one file: an uncompressed npz, which numpy reads anywhere, with a digest; refused when it is damaged.

Not here: what a sketch is and answers (`sketch.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound, SpaceMismatch

from ...embed.space import Space
from ..prototypes import PrototypeSet
from ..result_tables import replaced_when_done
from .sketch import Sketch

SUFFIX = ".sketch"
_FORMAT = "tailwag sketch 1"
_ARRAYS = ("vectors", "prototypes", "histograms")
_TYPES = {
    "corpus": str,
    "corpus_version": int,
    "side": str,
    "rows": int,
    "rate": float,
    "concepts": list,
    "recipes": list,
}


def is_sketch(name: str) -> bool:
    """Say whether a name is that of a sketch's file; no corpus's name has a dot."""
    return name.endswith(SUFFIX)


def save_sketch(sketch: Sketch, path: str | Path) -> None:
    """Write a sketch; the same sketch gives the same bytes.

    Raises
    ------
    BadInput
        When the path does not end in ``.sketch``, or cannot be written.
    """
    if not is_sketch(str(path)):
        raise BadInput(f"{path} is no name for a sketch: let it end in {SUFFIX}, by which `tailwag count` knows it")
    arrays: dict[str, Any] = {"vectors": sketch.vectors}
    described: dict[str, Any] = {
        "format": _FORMAT,
        "corpus": sketch.corpus,
        "corpus_version": sketch.corpus_version,
        "space": json.loads(sketch.space.to_json()),
        "side": sketch.side,
        "rows": sketch.rows,
        "failures": sketch.failures,
        "rate": sketch.rate,
        "concepts": [],
        "recipes": [],
    }
    if sketch.prototypes is not None and sketch.histograms is not None:
        described |= {"concepts": list(sketch.prototypes.names), "recipes": list(sketch.prototypes.recipes)}
        # Most bins are empty: what is stored is which are not, and how many rows they hold.
        arrays |= {"prototypes": sketch.prototypes.vectors, "histograms": _sparse(sketch.histograms)}
    described["sha256"] = _digest(described, arrays)
    text = np.frombuffer(json.dumps(described, sort_keys=True, ensure_ascii=False).encode(), np.uint8)
    with replaced_when_done(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, description=text, **arrays)


def load_sketch(path: str | Path) -> Sketch:
    """Read what `save_sketch` wrote, and check all of it: the digest, lengths, that every number adds up.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is no sketch, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"there is no sketch {path}: make one with `tailwag sketch CORPUS --out {path.name}`")
    try:
        described, arrays = _read(path)
        if described["sha256"] != _digest({key: described[key] for key in described if key != "sha256"}, arrays):
            raise BadInput("its content does not have the digest that it names")
        space = Space.from_json(json.dumps(described["space"]))
        prototypes, histograms = None, None
        if described["concepts"]:
            names, recipes = tuple(described["concepts"]), tuple(described["recipes"])
            prototypes = PrototypeSet(names, arrays["prototypes"], space, recipes)
            histograms = _dense(arrays["histograms"], len(names))
        return Sketch(
            corpus=described["corpus"],
            corpus_version=described["corpus_version"],
            space=space,
            side=described["side"],
            rows=described["rows"],
            failures=described["failures"],
            rate=described["rate"],
            vectors=arrays["vectors"],
            prototypes=prototypes,
            histograms=histograms,
        )
    except (BadInput, SpaceMismatch) as error:
        raise BadInput(f"{path} cannot be used as a sketch: {error}; fetch or make it again") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, MemoryError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"{path} is no sketch, or a damaged one ({reason}): fetch or make it again") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the parts. None is stored compressed, so what is read is no larger than the file, whoever wrote it."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "description" not in parts or not {"description", *_ARRAYS} >= set(parts):
            raise BadInput("it does not hold a sketch's parts")
        if any(info.compress_type != zipfile.ZIP_STORED for info in parts.values()):
            raise BadInput("its parts are compressed, which a sketch's are not")
        read = {name: _array(archive.read(info)) for name, info in parts.items()}  # checks each part's CRC
    described = json.loads(read.pop("description").tobytes())
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise BadInput(f"it is not of format {_FORMAT!r}")
    wrong = [key for key, kind in _TYPES.items() if not isinstance(described.get(key), kind)]
    if wrong or not isinstance(described["failures"], int | None):
        raise BadInput(f"its description says nothing usable of {(wrong or ['failures'])[0]}")
    return described, read


def _array(content: bytes) -> np.ndarray:
    """Read an npy part; its header may promise no more than there is."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if fortran or dtype.hasobject:
        raise BadInput("a part is not stored row by row")
    numbers = np.frombuffer(content, dtype, offset=file.tell())
    return numbers.reshape(shape)


def _sparse(histograms: np.ndarray) -> np.ndarray:
    """(m, 3) int64: concept, bin, rows of the bins that are not empty."""
    concepts, bins = np.nonzero(histograms)
    return np.stack([concepts, bins, histograms[concepts, bins]], axis=1).astype(np.int64)


def _dense(entries: np.ndarray, concepts: int) -> np.ndarray:
    from ..counting.bins import BINS

    histograms = np.zeros((concepts, BINS), dtype=np.int64)
    if entries.dtype != np.int64 or entries.ndim != 2 or entries.shape[1] != 3:
        raise BadInput(f"its histograms are {entries.dtype} of shape {entries.shape}")
    rows, bins, counts = entries.T
    if len(entries) and not (rows.min() >= 0 and rows.max() < concepts and bins.min() >= 0 and bins.max() < BINS):
        raise BadInput("its histograms name a concept or a bin that there is not")
    histograms[rows, bins] = counts
    return histograms


def _digest(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, ensure_ascii=False).encode())
    for name in _ARRAYS:
        if name in arrays:
            digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
