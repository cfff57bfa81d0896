"""The one committer: makes fragments that workers wrote, and the records of their shards, part of the corpus.

A batch happens in one commit of the corpus's table; whatever is killed before leaves files that nobody refers to, and
`settle` removes them. Not here: writing the fragments (`job/group_work.py`, `imports/`).
"""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

from tailwag.errors import Caution, TailwagError

from .corpus import Corpus
from .database import Database, asked_again, first_line
from .failures import Failure
from .fragment_writing import bring_to_disk
from .ledger import Ledger, ShardRecord
from .locking import Lock, only_writer
from .space import Space

# Lance keeps files of a commit that may be under way for a week; no version is ever as old as this.
_NO_VERSION = timedelta(days=36_500)
# What a file is called until Lance has written the whole of it, and gives it its name; another program may be doing so.
_UNFINISHED = "."
# Folders of a table.
_PARTS_OF_A_TABLE = ("data", "_transactions", "_versions")
# Seconds by which a file system's times may lie behind the clock's.
_CLOCK_STEP = 2.0


def only_job(database: Database, corpus: str) -> AbstractContextManager[Lock | None]:
    """Keep every other job away from a corpus while the block runs.

    Gives the lock, to be handed to the `Committer`; None where the store has none.

    Raises
    ------
    TailwagError
        When another job writes to the corpus.
    """
    place = database.lock_place(corpus)
    if place is None:
        warnings.warn(f"nothing keeps a second job out of {database.uri}: start no other", Caution, stacklevel=2)
        return nullcontext()
    return only_writer(place, f"another job writes to corpus {corpus!r}: wait until it is done")


def open_or_create(database: Database, name: str, space: Space) -> Corpus:
    """Open the corpus that rows of a space are added to; make it where there is none.

    Raises
    ------
    SpaceMismatch
        When the corpus holds vectors of another space.
    """
    if not database.has_table(name):
        return Corpus.create(database, name, space)
    corpus = Corpus.open(database, name)
    corpus.space.require_same(
        space,
        here=f"corpus {corpus.name!r} holds",
        there="this job would add those of",
        remedy=f"pass {corpus.space.options}, or another --corpus",
    )
    return corpus


class Committer:
    """Writes batches to one corpus. The caller holds `only_job`.

    Parameters
    ----------
    corpus
        The corpus; moved to the version of the last commit.
    lock
        From `only_job`; asked before each commit whether it is still held.

    Attributes
    ----------
    seconds
        Spent on commits.
    """

    def __init__(self, corpus: Corpus, lock: Lock | None) -> None:
        self.corpus = corpus
        self.seconds = 0.0
        self._ledger = Ledger(corpus.database, corpus.name)
        self._lock = lock
        self._is_in_doubt = False
        self._on_disk: dict[Path, set[str]] = {}

    def settle(self) -> list[str]:
        """Take away what an interrupted job left: its records, its failures, its files.

        Returns
        -------
        list[str]
            The shards of the batch that did not happen.

        Raises
        ------
        TailwagError
            When rows, records and failures do not add up, or another job has taken the corpus over.
        """
        undone = self._ledger.settle(self.corpus)
        self.remove_orphans()
        return undone

    def remove_orphans(self) -> int:
        """Delete data files that no version refers to: the caller is the only writer, so nobody waits for them.

        Returns
        -------
        int
            Bytes removed.
        """
        if self._lock is not None:
            self._lock.require_held()  # what another job is about to commit looks like an orphan too
        if not self._may_hold_orphans():
            return 0
        return asked_again(lambda: self.corpus.remove_unreferenced(_NO_VERSION))

    def _may_hold_orphans(self) -> bool:
        """Look before every version is read, of which there is one a commit: mostly the last one has all files."""
        if not self.corpus.database.is_local:
            return True
        folder = self.corpus.database.folder / f"{self.corpus.name}.lance" / "data"
        return folder.is_dir() and not {path.name for path in folder.iterdir()} <= self.corpus.data_files()

    def tidy(self) -> None:
        """Delete orphans at a job's end, if that can be done; else the next job does it.

        Nothing is deleted where a commit was broken off: a store may still be about to make it.
        """
        if self._is_in_doubt:
            return
        with suppress(OSError, ValueError, TailwagError):
            self.remove_orphans()

    def commit(self, fragments: Sequence[str], records: Sequence[ShardRecord], failures: Sequence[Failure]) -> None:
        """Commit a batch.

        Parameters
        ----------
        fragments
            `lance.FragmentMetadata` as JSON, from `lance.fragment.write_fragments`; empty where the batch has no row.
        records
            One a shard; together they count the fragments' rows, those of `skip` apart.
        failures
            Of these shards.

        Raises
        ------
        TailwagError
            When the store refuses; the batch did not happen then, or the next job finds that it did.
        """
        start, since = time.perf_counter(), time.time() - _CLOCK_STEP
        if self._lock is not None:
            self._lock.require_held()
        files = [file["path"] for fragment in fragments for file in json.loads(fragment)["files"]]
        self._require_here(files)
        try:
            self._ledger.prepare(uuid.uuid4().hex, records, failures, files)
            for table in self._ledger.tables:
                self._to_disk(table, since, _PARTS_OF_A_TABLE)
            if fragments:
                if self._lock is not None:
                    self._lock.require_held()  # writing the records may have taken long
                self._is_in_doubt = True
                self.corpus.commit_fragments(fragments)
                self._is_in_doubt = False
                # The rows' own files are there already (`write_rows`), and those beside them are still being written.
                self._to_disk(self.corpus.name, since, _PARTS_OF_A_TABLE[1:])
        except OSError as error:
            raise TailwagError(
                f"corpus {self.corpus.name!r} cannot be written: {first_line(error)}; give the command again once that "
                "is mended: it goes on where it stopped"
            ) from error
        self.seconds += time.perf_counter() - start

    def keep(self) -> None:
        """Wait until the whole of the corpus's table is on the disk."""
        self._to_disk(self.corpus.name, 0.0, _PARTS_OF_A_TABLE)

    def _to_disk(self, table: str, since: float, parts: Sequence[str]) -> None:
        """Wait until what a table has gained since a time is on the disk: Lance leaves that to the system.

        Lance never writes a second file of one name, so that each is looked at once.
        """
        if not self.corpus.database.is_local:
            return
        for part in parts:
            folder = self.corpus.database.folder / f"{table}.lance" / part
            known = self._on_disk.setdefault(folder, set())
            names = {path.name for path in folder.iterdir() if not path.name.startswith(_UNFINISHED)} - known
            for name in names:
                with suppress(FileNotFoundError):  # another program cleaned up old versions
                    if (folder / name).stat().st_mtime >= since:
                        bring_to_disk([folder / name])
            known |= names
            bring_to_disk([folder])

    def _require_here(self, files: Sequence[str]) -> None:
        """Refuse files that a worker on another machine wrote to a folder of its own: the table would lack them."""
        if not self.corpus.database.is_local:
            return
        folder = self.corpus.database.folder / f"{self.corpus.name}.lance" / "data"
        absent = [file for file in files if not (folder / file).is_file()]
        if absent:
            raise TailwagError(
                f"a worker wrote {absent[0]}, and it is not in {folder}: with workers on other machines the database "
                "must be on storage that all of them share: pass such a --db"
            )
