"""Corpora made of arrays, without a model: for tests of what is asked of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from tailwag.embed.corpus import Corpus, corpus_schema, sampling_number, vector_column
from tailwag.embed.failures import Failure
from tailwag.embed.ledger import Ledger, ShardRecord
from tailwag.embed.space import Space
from tailwag.retrieval.prototypes import PrototypeSet


def make_space(dimension: int, weights: str = "weights") -> Space:
    return Space("made", "", "architecture", weights, "{}", "tokenizer", dimension)


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, dtype=np.float64)
    return (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(np.float16)


def random_unit(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, dimension)))


def clustered_unit(rows: int, dimension: int, clusters: int = 20, spread: float = 0.5, seed: int = 0) -> np.ndarray:
    """Rows about common centres, all in one cone, as CLIP's are."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, dimension)) + 1
    noise = generator.normal(size=(rows, dimension)) * spread
    return unit(centres[generator.integers(clusters, size=rows)] + noise)


def make_corpus(
    database: Path,
    image: np.ndarray,
    text: np.ndarray | None = None,
    *,
    name: str = "made",
    space: Space | None = None,
    captions: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
) -> Corpus:
    """Make a corpus of (n, d) float16 unit vectors; keys are `s/0`, `s/1`, ..."""
    corpus = Corpus.create(database, name, space or make_space(image.shape[1]))
    if len(image):
        corpus.append(rows_table(corpus.space, image, text, captions=captions, labels=labels))
    return corpus


def rows_table(
    space: Space,
    image: np.ndarray,
    text: np.ndarray | None = None,
    *,
    prefix: str = "s/",
    captions: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
) -> pa.Table:
    keys = [f"{prefix}{number}" for number in range(len(image))]
    columns = {
        "key": keys,
        "shard": ["s"] * len(keys),
        "caption": list(captions) if captions is not None else [f"caption of {key}" for key in keys],
        "url": [""] * len(keys),
        "width": [640] * len(keys),
        "height": [480] * len(keys),
        "sha256": [""] * len(keys),
        "u": [sampling_number(key) for key in keys],
        "label": list(labels) if labels is not None else [None] * len(keys),
        "image": vector_column(image),
        "text": vector_column(image if text is None else text),
    }
    return pa.table(columns, schema=corpus_schema(space))


def make_prototypes(vectors: np.ndarray, space: Space | None = None) -> PrototypeSet:
    names = tuple(f"query {number}" for number in range(len(vectors)))
    return PrototypeSet(names, vectors, space or make_space(vectors.shape[1]), ("made",) * len(vectors))


def add_failures(corpus: Corpus, failures: Sequence[Failure]) -> None:
    """Write down a shard `failed` of which nothing became a row."""
    record = ShardRecord(
        shard="failed",
        location="/nowhere/failed.tar",
        is_tar=True,
        size=0,
        fingerprint="",
        samples=len(failures),
        rows=0,
        failures=len(failures),
        cut_captions=0,
        decode_seconds=0.0,
        compute_seconds=0.0,
        finished=datetime(2026, 1, 1, tzinfo=UTC),
    )
    failures = [replace(failure, shard="failed") for failure in failures]
    Ledger(corpus.database, corpus.name).prepare("batch", [record], failures, [])
