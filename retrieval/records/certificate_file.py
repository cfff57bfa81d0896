"""A certificate as one file: a zip archive of `certificate.json` and arrays as `.npy`, which others can open too.

Not here: what a certificate holds (`certificate.py`), whether it is true (`verification.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound, TailwagError

from ...embed.corpus import check_side
from ...embed.space import Space
from ..counting import Partial
from ..result_tables import replaced_when_done
from .certificate import BIN_RULE, Certificate, digest_of_array
from .runs import Run, is_run_name

FORMAT = "tailwag certificate 1"
_DOCUMENT = "certificate.json"
_ARRAYS = ("prototypes", "thresholds", "counts", "partial_counts")
# Far beyond 4,000 concepts at 8 thresholds in 256 parts; a file that unpacks to more is not one of ours.
_MOST_BYTES = 4 << 30


def seal_of(certificate: Certificate) -> str:
    """Give the sha256 of `certificate.json`, which holds the digests of the arrays: one that is altered has another."""
    return hashlib.sha256(_document(certificate, _arrays(certificate))).hexdigest()


def pack(certificate: Certificate) -> bytes:
    """Turn a certificate into the bytes of its file."""
    arrays, packed = _arrays(certificate), io.BytesIO()
    files = {_DOCUMENT: _document(certificate, arrays), **{f"{name}.npy": _npy(one) for name, one in arrays.items()}}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # dated 1980, so that equal certificates are equal files
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return packed.getvalue()


def unpack(packed: bytes, where: str = "the certificate") -> Certificate:
    """Turn the bytes of a file into the certificate.

    Parameters
    ----------
    packed
        What `pack` made.
    where
        What to call it in a message.

    Raises
    ------
    BadInput
        When it is no certificate, or a damaged one.
    """
    try:
        return _unpack(packed)
    except TailwagError as error:
        raise BadInput(f"{where} is no certificate that can be used: {error}") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, zlib.error) as error:
        raise BadInput(f"{where} is no certificate, or a damaged one ({error}): take it away again") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        raise BadInput(f"{where} is no certificate that this tailwag reads ({error!r})") from error


def write_certificate(certificate: Certificate, path: str | Path) -> None:
    """Write a certificate to a file, whole or not at all.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    with replaced_when_done(path) as unfinished:
        unfinished.write_bytes(pack(certificate))


def read_certificate(path: str | Path) -> Certificate:
    """Read a certificate from a file.

    Raises
    ------
    NotFound, BadInput
        When there is no such file, and when it is no certificate.
    """
    try:
        packed = Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no certificate {path}") from None
    except OSError as error:
        raise BadInput(f"certificate {path} cannot be read ({error.strerror}): pass a file that can") from error
    return unpack(packed, str(path))


def _document(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> bytes:
    described = zip(certificate.concepts, certificate.recipes, certificate.threshold_sources, strict=True)
    parts = [{"rows": part.rows, "sha256": part.digest, "states": part.states} for part in certificate.partials]
    document = {
        "format": FORMAT,
        "run": certificate.run.name,
        "created": certificate.run.created.isoformat(),
        "tailwag": certificate.version,
        "backend": certificate.backend,
        "corpus": certificate.corpus,
        "corpus_version": certificate.corpus_version,
        "space": asdict(certificate.space),
        "side": certificate.side,
        "control": certificate.control,
        "rows": certificate.rows,
        "failures": certificate.failures,
        "bins": BIN_RULE,
        "histogram_sha256": certificate.histogram_digest,
        "concepts": [{"concept": one, "recipe": how, "threshold_source": source} for one, how, source in described],
        "parts": parts,
        "arrays": {name: digest_of_array(array) for name, array in arrays.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _arrays(certificate: Certificate) -> dict[str, np.ndarray]:
    shape = (*certificate.counts.shape, len(certificate.partials))
    # Narrow, and the parts last, so that numbers alike stand side by side: a tenth of what int64 part by part takes.
    partial = np.zeros(shape, dtype=np.int64)
    for position, part in enumerate(certificate.partials):
        partial[..., position] = part.counts
    return {
        "prototypes": certificate.prototypes,
        "thresholds": certificate.thresholds,
        "counts": certificate.counts,
        "partial_counts": partial.astype(np.min_scalar_type(int(partial.max(initial=0)))),
    }


def _npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, np.ascontiguousarray(array), allow_pickle=False)
    return written.getvalue()


def _unpack(packed: bytes) -> Certificate:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise BadInput(f"it unpacks to more than {_MOST_BYTES >> 30} GiB")
        document = json.loads(archive.read(_DOCUMENT))
        if document.get("format") != FORMAT:
            raise BadInput(f"its format is {document.get('format')!r}, this tailwag reads {FORMAT!r}")
        arrays = {}
        for name in _ARRAYS:
            arrays[name] = np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
            if digest_of_array(arrays[name]) != document["arrays"][name]:
                raise BadInput(f"its array {name!r} is not the one that its document names")
    if document["bins"] != BIN_RULE:
        raise BadInput(f"its histograms have the bins {document['bins']!r}, this tailwag's are {BIN_RULE!r}")
    if not is_run_name(document["run"]):
        raise BadInput(f"{document['run']!r} names no run")
    check_side(document["side"])
    if document["control"] is not None:
        _require_control(document["control"])
    concepts, parts, space = document["concepts"], document["parts"], Space(**document["space"])
    shape = (len(concepts), *arrays["thresholds"].shape[1:])
    _require(arrays["prototypes"], "prototypes", np.float16, (len(concepts), space.dimension))
    _require(arrays["thresholds"], "thresholds", np.float64, shape)
    _require(arrays["counts"], "counts", np.int64, shape)
    if len(shape) != 2 or arrays["partial_counts"].shape != (*shape, len(parts)):
        raise BadInput(f"its counts of parts have shape {arrays['partial_counts'].shape}, for {len(parts)} parts")
    if not np.issubdtype(arrays["partial_counts"].dtype, np.unsignedinteger):
        raise BadInput(f"its counts of parts are {arrays['partial_counts'].dtype}, not whole numbers from 0 on")
    partial = np.moveaxis(arrays["partial_counts"], -1, 0).astype(np.int64)
    return Certificate(
        run=Run(document["run"], datetime.fromisoformat(document["created"])),
        corpus=str(document["corpus"]),
        corpus_version=int(document["corpus_version"]),
        space=space,
        side=document["side"],
        control=document["control"],
        concepts=tuple(str(one["concept"]) for one in concepts),
        recipes=tuple(str(one["recipe"]) for one in concepts),
        threshold_sources=tuple(str(one["threshold_source"]) for one in concepts),
        prototypes=arrays["prototypes"],
        thresholds=arrays["thresholds"],
        counts=arrays["counts"],
        rows=int(document["rows"]),
        failures=None if document["failures"] is None else int(document["failures"]),
        partials=tuple(
            Partial(tuple(map(str, part["states"])), int(part["rows"]), str(part["sha256"]), counts)
            for part, counts in zip(parts, partial, strict=True)
        ),
        histogram_digest=document["histogram_sha256"],
        backend=str(document["backend"]),
        version=str(document["tailwag"]),
    )


def _require(array: np.ndarray, name: str, kind: type, shape: tuple[int, ...]) -> None:
    if array.dtype != kind or array.shape != shape:
        raise BadInput(f"its {name} are {array.dtype} of shape {array.shape}, not {np.dtype(kind)} of {shape}")


def _require_control(control: Any) -> None:
    """Refuse a control that `Control.describe` cannot have told."""
    fine = isinstance(control["name"], str) and all(isinstance(one, str) for one in control["conditions"])
    fine &= all(isinstance(end, float) for span in control["spans"] for end in span)
    fine &= all(isinstance(one["sha256"], str) and isinstance(one["rows"], int) for one in control["chosen"])
    if not fine:
        raise BadInput(f"its control is {control!r}")
