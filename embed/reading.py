"""Reading any shard: picks the reader for what the shard is.

Not here: the readers themselves (`tar_shards.py`, `image_parquet.py`, `image_folders.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .image_folders import ImageFolder
from .image_parquet import read_image_parquet
from .sources import Found, Sample, Shard
from .storage import Location
from .tar_shards import read_tar


class ShardReader:
    """Reads shards, in whatever process it finds itself.

    Parameters
    ----------
    folders
        Folders of images that are listed already; one that is missing is listed when a part of it is read.
    """

    def __init__(self, folders: Mapping[Location, ImageFolder] | None = None) -> None:
        self._folders: dict[Location, ImageFolder] = dict(folders or {})

    def read(self, shard: Shard) -> Iterator[Found]:
        """Read a shard's samples and failures, in its order, without those that are rows already."""
        for found in self._read(shard):
            # What a shard gives a second time under one key is a failure: it is not passed over.
            if not (isinstance(found, Sample) and found.key in shard.skip):
                yield found

    def _read(self, shard: Shard) -> Iterator[Found]:
        if shard.is_tar:
            return read_image_parquet(shard) if shard.location.suffix == ".parquet" else read_tar(shard)
        if shard.location not in self._folders:
            self._folders[shard.location] = ImageFolder(shard.location)
        return self._folders[shard.location].read(shard)
