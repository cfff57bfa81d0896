"""The file in which an audit is kept between one command and the next: written whole or not at all, read with care.

Not here: what a session is (`audit_session.py`), the sheets that people fill (`label_files.py`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound

from ...retrieval.counting.bins import BINS
from ...retrieval.result_tables import replaced_when_done, without_nan
from .anchored import Recall
from .audit_session import AskedRow, AuditedConcept, AuditSession
from .calibrating import CalibratedFrequency
from .strata import Stratum

FORMAT = "tailwag audit 2"


def save_session(session: AuditSession, path: str | Path) -> None:
    """Write a session as JSON, whole or not at all."""
    described = {name: getattr(session, name) for name in ("corpus", "corpus_version", "corpus_state", "space", "seed")}
    concepts = [
        {
            "before": without_nan(asdict(one.before)),
            "recall": asdict(one.recall),
            "prototype": base64.b64encode(one.prototype.astype("<f2").tobytes()).decode(),
            "synonyms": one.synonyms,
            "rows_by_similarity": _sparse(one.rows_by_similarity),
            "mentions_by_similarity": _sparse(one.mentions_by_similarity),
            "strata": [asdict(stratum) for stratum in one.strata],
            "drawn": one.drawn,
            "asked": [[row.stratum, row.offset, row.key] for row in one.asked],
            "answers": one.answers,
        }
        for one in session.concepts
    ]
    with replaced_when_done(path) as unfinished:
        text = json.dumps({"format": FORMAT, **described, "concepts": concepts}, ensure_ascii=False)
        unfinished.write_text(text, "utf-8")


def load_session(path: str | Path) -> AuditSession:
    """Read a session.

    Raises
    ------
    NotFound
        When there is none.
    BadInput
        When it is damaged or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"no audit in {path.parent}: begin one with --audit 30")
    try:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if read.get("format") != FORMAT:
            raise BadInput(f"{path} has format {read.get('format')!r}, this tailwag reads {FORMAT!r}")
        concepts = tuple(_concept(one) for one in read["concepts"])
        return AuditSession(
            read["corpus"], read["corpus_version"], read["corpus_state"], read["space"], read["seed"], concepts
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path} is damaged ({type(error).__name__}: {error}): begin another with another --out"
        ) from error


def _concept(read: dict[str, Any]) -> AuditedConcept:
    before: dict[str, Any] = {name: float("nan") if value is None else value for name, value in read["before"].items()}
    return AuditedConcept(
        CalibratedFrequency(**{**before, "reasons": tuple(before["reasons"])}),
        Recall(**read["recall"]),
        np.frombuffer(base64.b64decode(read["prototype"]), dtype="<f2"),
        tuple(read["synonyms"]),
        _histogram(read["rows_by_similarity"]),
        _histogram(read["mentions_by_similarity"]),
        tuple(Stratum(**stratum) for stratum in read["strata"]),
        tuple(map(tuple, read["drawn"])),
        tuple(AskedRow(*row) for row in read["asked"]),
        read["answers"],
    )


def _sparse(histogram: np.ndarray) -> list[list[int]]:
    """Give the bins that hold something, and what they hold."""
    filled = np.flatnonzero(histogram)
    return [filled.tolist(), histogram[filled].tolist()]


def _histogram(sparse: list[list[int]]) -> np.ndarray:
    filled, numbers = sparse
    histogram = np.zeros(BINS, dtype=np.int64)
    histogram[filled] = numbers
    return histogram
