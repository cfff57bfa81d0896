"""Putting a corpus's many small fragments together, within bounds of disk, and dropping versions that nobody needs.

A job that grows a corpus shard by shard leaves thousands of fragments, and each costs a scan a little. Rows keep their
order within what is put together, and it follows what was left as it is: Lance numbers fragments and orders them by
number. So counts stay, and positions where every fragment is put together; the version is new.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tailwag.errors import BadInput, TailwagError
from tailwag.progress import NoProgress, Progress

from .committing import Committer, only_job
from .corpus import Corpus
from .database import first_line
from .ledger import Ledger
from .locking import Lock

TARGET_ROWS = 1_000_000
# Left free beside what is rewritten: for the manifest, and for whoever else writes to the disk meanwhile.
_MARGIN_BYTES = 64 << 20
# Rewritten between two commits, at least: a fragment of a million rows of the usual vectors is as large.
_STEP_BYTES = 1 << 30


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes
    ----------
    fragments_before, fragments
        Of the table.
    bytes_rewritten
        Of the old fragments that were put together.
    bytes_removed
        Of versions that were dropped.
    is_complete
        Whether no small fragments that lie side by side are left.
    """

    fragments_before: int
    fragments: int
    bytes_rewritten: int
    bytes_removed: int
    is_complete: bool


def compact(
    corpus: Corpus,
    *,
    target_rows: int = TARGET_ROWS,
    most_bytes: int | None = None,
    drop_old_versions: bool = False,
    progress: Progress | None = None,
) -> Compacted:
    """Put small fragments together.

    Parameters
    ----------
    corpus
        Moved to its newest version first; nobody else may be writing to it.
    target_rows
        Rows that a fragment should have.
    most_bytes
        Rewrite no more than this at a time; None for all that is to be done.
    drop_old_versions
        Delete versions without a tag, but the newest, and so the fragments that were replaced: until then both stay on
        the disk. Saved counts of these versions keep their numbers and can no longer be verified.
    progress
        Told of every old fragment that is done.

    Raises
    ------
    BadInput
        When the disk has not as much free as would be rewritten; nothing was done then.
    TailwagError
        When another job writes to the corpus or takes it over, or nothing can be written. What was committed until
        then stays, and the same call goes on from there.
    """
    progress = progress or NoProgress()
    with only_job(corpus.database, corpus.name) as lock:
        corpus.move_to_newest()  # a job may have ended since it was opened
        before = len(corpus.fragments())
        tasks, chosen = corpus.compaction_tasks(target_rows), []
        size = 0
        for task, task_bytes in tasks:
            if most_bytes is not None and size + task_bytes > most_bytes:
                break
            chosen.append((task, task_bytes))
            size += task_bytes
        if tasks and not chosen:
            raise BadInput(
                f"the first fragments to be put together have {tasks[0][1] / 1e9:,.2f} GB, more than may be rewritten: "
                "allow more, or a smaller target"
            )
        _require_space(corpus, size)
        removed = 0
        try:
            if chosen:
                _require_held(lock)
                Ledger(corpus.database, corpus.name).forget_files(corpus)
                _put_together(corpus, chosen, lock, progress)
            if drop_old_versions:
                Committer(corpus, lock).keep()  # before what they were made of is gone
                _require_held(lock)  # what another job is about to commit looks like a file that nobody needs
                removed = corpus.remove_unreferenced(timedelta(0))
        except OSError as error:
            raise TailwagError(
                f"corpus {corpus.name!r} cannot be compacted: {first_line(error)}; what was put together before stays"
            ) from error
        return Compacted(before, len(corpus.fragments()), size, removed, len(chosen) == len(tasks))


def _put_together(corpus: Corpus, tasks: Sequence[tuple[Any, int]], lock: Lock | None, progress: Progress) -> None:
    """Do tasks, each with its bytes, and commit after every `_STEP_BYTES`, so that little is lost with the process."""
    rewritten, size, in_doubt = [], 0, False
    try:
        for number, (task, task_bytes) in enumerate(tasks):
            rewritten.append(corpus.rewrite(task))
            size += task_bytes
            progress.advance(len(task.fragments))
            if size >= _STEP_BYTES or number == len(tasks) - 1:
                _require_held(lock)
                in_doubt = True
                corpus.commit_rewritten(rewritten)
                rewritten, size, in_doubt = [], 0, False
    except BaseException:
        # What was written and not committed would fill the disk until the next job. It is never deleted without the
        # lock, nor where a commit was broken off, which a store may make after all.
        if not in_doubt:
            Committer(corpus, lock).tidy()
        raise


def _require_held(lock: Lock | None) -> None:
    if lock is not None:
        lock.require_held()


def _require_space(corpus: Corpus, size: int) -> None:
    if not corpus.database.is_local:
        return
    free = shutil.disk_usage(corpus.database.folder).free
    if size + _MARGIN_BYTES > free:
        raise BadInput(
            f"{size / 1e9:,.2f} GB would be rewritten and {free / 1e9:,.2f} GB are free in {corpus.database.folder}: "
            "make room, or do it in steps with --most-gb"
        )
