"""What an embedding job is to do: which shards of its sources are not in the corpus yet, or had failures.

Not here: how shards are found and read (`sources.py` and the readers), doing it (`running.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tailwag.errors import BadInput, NotFound

from ..corpus import Corpus
from ..database import Database
from ..failures import Reason
from ..image_folders import ImageFolder
from ..ledger import Ledger, ShardRecord
from ..reading import ShardReader
from ..sources import Shard, sort_sources, tar_shards
from ..storage import Location, locate


@dataclass(frozen=True)
class EmbeddingPlan:
    """What is to be done. Made by `plan_embedding`, done by `run_embedding`.

    Attributes
    ----------
    shards
        To be embedded, in order.
    shards_done
        How many of the sources' shards were done before.
    other_shards
        Shards that the corpus holds and the sources do not name.
    images_beside_tars
        Images in folders that also hold tar files: only the tar files of such a folder are read.
    reader
        Reads the shards; knows the folders of images among the sources.
    limit
        Stop once so many samples are done; whole shards are read, so that a few more may come. None for all.
    again
        Names of shards that are done and are read again for their failures.
    """

    database: Database
    corpus: str
    shards: tuple[Shard, ...]
    shards_done: int
    other_shards: tuple[str, ...]
    images_beside_tars: int
    reader: ShardReader = field(repr=False)
    limit: int | None = None
    again: frozenset[str] = frozenset()

    @property
    def samples(self) -> int | None:
        """How many samples the shards should hold; None where one of them does not say."""
        expected = [shard.expected for shard in self.shards]
        if None in expected:
            return None
        total = sum(count for count in expected if count is not None)
        return total if self.limit is None else min(total, self.limit)

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(shard.size for shard in self.shards)


def plan_embedding(
    sources: Sequence[str], database: Database | str | Path, corpus: str, limit: int | None = None
) -> EmbeddingPlan:
    """Find the shards that sources name and that the corpus does not hold yet.

    Parameters
    ----------
    sources
        Tar shards (files, folders of them, brace patterns, globs) and folders of images.
    database, corpus
        Where the rows go. The corpus need not exist.
    limit
        How many samples are enough; None for all there are.

    Raises
    ------
    NotFound
        When a source does not exist or holds nothing.
    BadInput
        When a shard's name is taken by another shard.
    """
    database = database if isinstance(database, Database) else Database(database)
    ledger = Ledger(database, corpus)
    records = ledger.records()
    tars, roots, images_beside_tars = sort_sources(sources)
    shards = tar_shards(tars)
    rest = [shard for shard in shards if not is_done(shard, records.get(shard.name))]
    done = len(shards) - len(rest)
    named = {shard.name for shard in shards}
    folders: dict[Location, ImageFolder] = {}
    for root in roots:
        folder = ImageFolder(root)
        same_name = [other.root for other in folders.values() if other.name == folder.name]
        parts = [record for record in records.values() if _folder_of(record) == folder.name]
        elsewhere = same_name + [there for part in parts if (there := locate(part.location)) != folder.root]
        if elsewhere:
            raise BadInput(
                f"corpus {corpus!r} would hold two folders {folder.name!r}, from {elsewhere[0]} and {folder.root}, "
                "with the same keys: rename one, or embed it into another corpus"
            )
        folders[folder.root] = folder
        # Behind the last that is done: of parts that were under way at once, an earlier one may not be.
        first = max((int(part.shard.rpartition("#")[2]) for part in parts), default=-1) + 1
        rest.extend(folder.shards(_folder_keys(database, corpus, parts), first))
        named.update(part.shard for part in parts)
        done += len(parts)
    if not rest and not done:
        raise NotFound(f"{', '.join(sources)}: no .tar shards and no images there")
    others = tuple(name for name in records if name not in named)
    return EmbeddingPlan(database, corpus, tuple(rest), done, others, images_beside_tars, ShardReader(folders), limit)


def plan_retry(
    sources: Sequence[str], database: Database | str | Path, corpus: str, reasons: Collection[Reason] = ()
) -> EmbeddingPlan:
    """Find the shards of which something failed, to be read again without what became rows.

    All failures of such a shard are tried again, and what the shard gives now takes their place in the list. The keys
    of such shards' rows are held in memory.

    Parameters
    ----------
    sources
        Where the shards lie now; a shard that none of them names is looked for where it was embedded from.
    database, corpus
        The corpus.
    reasons
        Only shards with a failure for one of these reasons; empty takes every reason.

    Raises
    ------
    NotFound
        When there is no such corpus, or a shard is not where it was.
    """
    database = database if isinstance(database, Database) else Database(database)
    opened, ledger = Corpus.open(database, corpus), Ledger(database, corpus)
    named = {shard.name: shard for shard in tar_shards(sort_sources(sources)[0])} if sources else {}
    failed: dict[str, list[str]] = {}
    chosen = set()
    for failure in ledger.failures().to_pylist():
        failed.setdefault(failure["shard"], []).append(failure["key"])
        if not reasons or failure["reason"] in reasons:
            chosen.add(failure["shard"])
    rows = _keys_of(opened, chosen)
    shards = []
    for name, record in ledger.records().items():
        if name not in chosen:
            continue
        if not record.is_tar and record.location.endswith(".parquet"):
            raise BadInput(
                f"part {name!r} was imported from {record.location}: nothing but other files would mend its failures; "
                "delete the corpus and import them"
            )
        location = named[name].location if name in named else locate(record.location)
        if record.is_tar:
            if not location.is_file():
                raise NotFound(f"shard {name!r} is not at {location} any more: name its folder as a SOURCE")
            shard = replace(tar_shards([location])[0], name=name, skip=rows[name], expected=len(failed[name]))
        else:
            prefix = f"{_folder_of(record)}/"
            files = tuple(key.removeprefix(prefix) for key in failed[name])
            shard = Shard(name, location, 0, files, len(files), rows[name])
        shards.append(shard)
    names = frozenset(shard.name for shard in shards)
    return EmbeddingPlan(database, corpus, tuple(shards), 0, (), 0, ShardReader(), again=names)


def is_as_planned(shard: Shard, record: ShardRecord | None) -> bool:
    """Say whether a shard that is to be read again has the rows that were to be passed over, and no others since."""
    return record is not None and record.rows == len(shard.skip)


def is_done(shard: Shard, record: ShardRecord | None) -> bool:
    """Say whether a shard is done.

    Raises
    ------
    BadInput
        When its name is, with another file.
    """
    if record is None:
        return False
    if not shard.is_same_as(record.fingerprint):
        raise BadInput(
            f"shard {shard.name!r} was embedded from {record.location} ({record.size:,} bytes), and {shard.location} "
            f"({shard.size:,} bytes) is another file: rename its folder, or embed it into another corpus"
        )
    return True


def _folder_of(record: ShardRecord) -> str | None:
    return None if record.is_tar else record.shard.rpartition("#")[0]


def _keys_of(corpus: Corpus, shards: Collection[str]) -> dict[str, frozenset[str]]:
    """Give the keys of the rows of some shards, in one pass over the corpus."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(shards), pa.string())
    found: dict[str, set[str]] = {name: set() for name in shards}
    for names, keys in zip(corpus.text_pieces("shard"), corpus.text_pieces("key"), strict=True):
        chosen = pc.is_in(names, wanted)
        for name, key in zip(names.filter(chosen).to_pylist(), keys.filter(chosen).to_pylist(), strict=True):
            found[name].add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


def _folder_keys(database: Database, corpus: str, parts: Sequence[ShardRecord]) -> set[str]:
    """Give the keys of a folder's pictures that are rows or failures of its finished parts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not parts:
        return set()
    names = [part.shard for part in parts]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    failures = Ledger(database, corpus).failures()
    failed = failures.filter(pc.is_in(failures.column("shard"), pa.array(names, pa.string())))
    return set(Corpus.open(database, corpus).keys(f"shard IN ({quoted})")) | set(failed.column("key").to_pylist())
