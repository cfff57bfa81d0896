"""The background: the texts of an everyday vocabulary as vectors of one space, kept in the database once encoded.

Not here: what is done with them (`centring.py`), the vocabulary itself (`configs/vocabulary.toml`).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from tailwag.errors import BadInput, NotFound
from tailwag.progress import NoProgress, Progress

from ..embed.database import Database
from ..embed.space import Space
from .prototypes import PrototypeSet, TextAndImageEncoder

# Where a local database keeps backgrounds: a file a space and vocabulary.
FOLDER = "backgrounds"
_TEXTS_A_STEP = 256


@dataclass(frozen=True, eq=False)
class Background:
    """The texts of a vocabulary as vectors of one space.

    Attributes
    ----------
    vectors
        (V, dimension) float16 unit rows.
    space
        The space they live in.
    digest
        Eight hexadecimal digits that tell this list of texts from another.

    Raises
    ------
    BadInput
        When the vectors are none, of another shape, or not finite.
    """

    vectors: np.ndarray
    space: Space
    digest: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) or self.vectors.shape[1] != self.space.dimension:
            raise BadInput(
                f"a background needs vectors of shape (texts, {self.space.dimension}); got {self.vectors.shape}"
            )
        if not np.isfinite(self.vectors).all():
            raise BadInput("a vector of the background vocabulary is not finite: encode the vocabulary again")

    @property
    def mean(self) -> np.ndarray:
        """(dimension,) float64: what centring takes off."""
        return self.vectors.astype(np.float64).mean(axis=0)


def vocabulary_texts() -> tuple[str, ...]:
    """Give the texts of the vocabulary that ships: ``'a photo of a dog'``, ``'a photo of bread'``, …"""
    content = tomllib.loads((resources.files("tailwag.configs") / "vocabulary.toml").read_text("utf-8"))
    bare, the = frozenset(content["without_article"]), frozenset(content["with_the"])
    consonants = frozenset(content["a_before_a_vowel"])

    def with_article(noun: str) -> str:
        if noun in bare:
            return noun
        vowel = noun[0].lower() in "aeiou" and noun not in consonants
        return f"{'the' if noun in the else 'an' if vowel else 'a'} {noun}"

    nouns = [noun for group in content["nouns"].values() for noun in group]
    return tuple(content["template"].replace("{}", with_article(noun)) for noun in nouns)


def vocabulary_digest(texts: Sequence[str]) -> str:
    """Name a list of texts by eight hexadecimal digits; their order does not matter."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:8]


def encode_background(
    encoder: TextAndImageEncoder, texts: Sequence[str] | None = None, progress: Progress | None = None
) -> Background:
    """Encode a vocabulary; None takes the one that ships. The bar is advanced by one a text.

    Raises
    ------
    BadInput
        For a vocabulary without a text.
    """
    texts = vocabulary_texts() if texts is None else texts
    progress = progress or NoProgress()
    if not texts:
        raise BadInput("a background vocabulary needs at least one text")
    pieces = []
    for start in range(0, len(texts), _TEXTS_A_STEP):
        pieces.append(encoder.encode_texts(texts[start : start + _TEXTS_A_STEP]))
        progress.advance(len(pieces[-1]))
    return Background(np.concatenate(pieces), encoder.space, vocabulary_digest(texts))


def background_path(database: Database, space: Space) -> Path | None:
    """Say where a database keeps the background of a space; None on an object store, which keeps none."""
    if not database.is_local:
        return None
    return database.folder / FOLDER / f"{space.fingerprint}-{vocabulary_digest(vocabulary_texts())}.parquet"


def open_background(
    database: Database | None, encoder: TextAndImageEncoder, progress: Progress | None = None
) -> Background:
    """Read the shipped vocabulary's background from a database, or encode it and keep it there.

    A file that cannot be read or is of another vocabulary is written anew; a database that cannot be written to, and an
    object store, keep nothing, and the vocabulary is encoded each time.

    Parameters
    ----------
    database
        None keeps nothing.
    encoder
        What encodes, where nothing is kept; its space is wanted.
    progress
        Advanced by one a text that is encoded.
    """
    path = None if database is None else background_path(database, encoder.space)
    texts = vocabulary_texts()
    if path is not None:
        try:
            kept = PrototypeSet.load(path)
        except (NotFound, BadInput):
            kept = None
        if kept is not None and kept.names == texts and kept.space.fingerprint == encoder.space.fingerprint:
            return Background(kept.vectors, encoder.space, vocabulary_digest(texts))
    made = encode_background(encoder, texts, progress)
    if path is not None:
        try:
            path.parent.mkdir(exist_ok=True)
            PrototypeSet(texts, made.vectors, encoder.space, texts).save(path)
        except OSError:
            pass  # a database that one may only read is none the worse for it
    return made
