"""Why a sample did not become a row: the reasons, each with a name that a person understands and a filter can use.

Not here: the table they are written to (`ledger.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """A reason; its value is what stands in the failures table."""

    NOT_AN_IMAGE = "not an image"
    TRUNCATED_IMAGE = "truncated image"
    DAMAGED_IMAGE = "damaged image"
    DECOMPRESSION_BOMB = "decompression bomb"
    FILE_TOO_LARGE = "file too large"
    NO_IMAGE = "no image"
    SEVERAL_IMAGES = "several images"
    CANNOT_BE_READ = "cannot be read"
    UNSUPPORTED_PIXELS = "unsupported pixels"
    KEY_NOT_UTF8 = "key not UTF-8"
    CAPTION_NOT_UTF8 = "caption not UTF-8"
    METADATA_NOT_JSON = "metadata not JSON"
    DUPLICATE_KEY = "duplicate key"
    EMPTY_SHARD = "empty shard"
    TRUNCATED_SHARD = "truncated shard"
    EMBEDDING_NOT_FINITE = "embedding not finite"
    EMBEDDING_ZERO = "embedding zero"
    EMBEDDING_OFF_UNIT = "embedding off unit length"
    NO_KEY = "no key"


@dataclass(frozen=True)
class Failure:
    """One sample that could not be embedded.

    Attributes
    ----------
    key
        The corpus key that the sample would have had; the shard's name where the shard itself is at fault.
    shard
        The shard's name.
    reason
        Why.
    detail
        What was found, for a person.
    """

    key: str
    shard: str
    reason: Reason
    detail: str
