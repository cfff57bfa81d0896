"""The pictures of a corpus's rows, read again from where they were embedded.

A corpus stores vectors, not pictures: shards stay where they are, and a few pictures of one are found in it by key.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tailwag.errors import TailwagError

from .corpus import Corpus
from .image_folders import read_folder_images
from .image_parquet import read_parquet_images
from .ledger import Ledger, ShardRecord
from .storage import locate
from .tar_shards import read_tar_images


@dataclass(frozen=True)
class Picture:
    """One row's picture.

    Attributes
    ----------
    key
        The row's key.
    data
        The file's bytes, from anyone: decode with `decoding.decode_image`. None when it was not found.
    missing
        Why it was not found; empty when it was.
    """

    key: str
    data: bytes | None
    missing: str = ""


def read_pictures(corpus: Corpus, keys: Sequence[str]) -> list[Picture]:
    """Read the pictures of some rows, in the order of `keys`; one that is not there any more says so.

    Raises
    ------
    NotFound
        When a key is not in the corpus.
    """
    rows = corpus.take(keys, ["shard", "sha256"])
    shard_of = dict(zip(keys, rows.column("shard").to_pylist(), strict=True))
    digest_of = dict(zip(keys, rows.column("sha256").to_pylist(), strict=True))
    records = Ledger(corpus.database, corpus.name).records()
    keys_of: dict[str, list[str]] = defaultdict(list)
    for key, shard in shard_of.items():
        keys_of[shard].append(key)
    pictures: dict[str, Picture] = {}
    for shard, members in keys_of.items():
        for picture in _read_shard(members, shard, records.get(shard)):
            # What is shown for a row must be what was embedded as that row.
            if picture.data is not None and hashlib.sha256(picture.data).hexdigest() != digest_of[picture.key]:
                picture = Picture(picture.key, None, "its picture has changed since it was embedded")
            pictures[picture.key] = picture
    return [pictures[key] for key in keys]


def _read_shard(keys: list[str], shard: str, record: ShardRecord | None) -> list[Picture]:
    if record is None:
        return [Picture(key, None, f"it is not recorded where shard {shard} lies") for key in keys]
    if not record.is_tar and record.location.endswith(".parquet"):
        return [
            Picture(key, None, f"its vectors were imported from {record.location}, without pictures") for key in keys
        ]
    # A tar's keys begin with the shard's name, a folder's with the folder's.
    prefix = shard if record.is_tar else shard.rpartition("#")[0]
    member_of = {key: key.removeprefix(f"{prefix}/") for key in keys}
    read = read_tar_images if record.is_tar else read_folder_images
    if record.is_tar and record.location.endswith(".parquet"):
        read = read_parquet_images
    try:
        found = read(locate(record.location), set(member_of.values()))
    except (OSError, tarfile.TarError, TailwagError) as error:
        if isinstance(error, TailwagError):  # which names the place
            return [Picture(key, None, str(error)) for key in keys]
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return [Picture(key, None, f"{record.location} cannot be read: {reason}") for key in keys]
    absent = f"not in {record.location} any more"
    return [Picture(key, found.get(member), "" if member in found else absent) for key, member in member_of.items()]
