"""One writer at a time: a lock on a file, which the system drops when its process ends, and its twin on a store.

On a store the lock is a lease: an object that its holder renews, and that anyone may take over once it was not renewed
for as long as it says (`LEASE_SECONDS`, or what TAILWAG_LEASE_SECONDS said to its holder). All times are by the store's
own clock. Taking and renewing are conditional writes, so of two that try at once one succeeds. Both are used alike::

    with only_writer(place, "another job writes: wait until it is done") as lock:
        ...
        lock.require_held()   # before each commit: raises once a lease was lost
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

from tailwag.errors import BadInput, NotFound, TailwagError

from .storage import StorePath, call_s3
from .store_requests import PreconditionFailed, StoreFailure

LEASE_SECONDS = 60.0
# Held for less than the lease says: what follows the question (a commit) takes time too.
_TRUSTED_SHARE = 0.75
_RENEWALS_A_LEASE = 5


class Lock(Protocol):
    """Held by the one writer."""

    def still_held(self) -> bool:
        """Say whether it is certain that nobody else has it."""
        ...

    def require_held(self) -> None:
        """Raise `TailwagError` when somebody else has taken it."""
        ...


@contextmanager
def only_writer(place: Path | StorePath, refusal: str) -> Iterator[Lock]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    place
        The lock's file, or the lease's object; made where it is not there, and left there.
    refusal
        What to tell when another process holds it.

    Yields
    ------
    Lock
        To be asked before each commit.

    Raises
    ------
    TailwagError
        When another process holds it; nothing waits. For a lease it says until when.
    """
    if isinstance(place, StorePath):
        lease = Lease(place)
        lease.take(refusal)
        try:
            yield lease
        finally:
            lease.release()
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TailwagError(refusal) from error
        yield _FileLock()


class _FileLock:
    """The system holds it for as long as the process lives."""

    def still_held(self) -> bool:
        return True

    def require_held(self) -> None:
        pass


@dataclass(frozen=True)
class _Seen:
    """A lease as the store shows it: who holds it, by which write, for how many seconds yet (below 0: run out)."""

    etag: str
    holder: str
    where: str
    seconds_left: float
    released: bool
    write: str


class Lease:
    """A lease on an object of an S3-compatible store. Made and given back by `only_writer`.

    Parameters
    ----------
    path
        The object.
    seconds
        For how long it is good after each renewal; None takes TAILWAG_LEASE_SECONDS, else `LEASE_SECONDS`.
    """

    def __init__(self, path: StorePath, seconds: float | None = None) -> None:
        self._path = path
        self.seconds = _lease_seconds() if seconds is None else seconds
        self._holder = uuid.uuid4().hex
        self._etag = ""
        self._trusted_until = float("-inf")
        self._lost = False
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def take(self, refusal: str) -> None:
        """Take the lease, or take it over from a holder that has not renewed it for as long as it said.

        Raises
        ------
        TailwagError
            When it is held, with `refusal` and until when; or when the store does not honour conditional writes.
        """
        seen = self._look()
        if seen is not None and not seen.released and seen.seconds_left > 0:
            raise _refused(refusal, seen)
        try:
            condition: dict[str, Any] = {"IfMatch": seen.etag} if seen is not None else {"IfNoneMatch": "*"}
            self._write(**condition)
            self._require_conditions()
        except PreconditionFailed as error:  # another took it a moment before
            seen = self._look()
            raise (_refused(refusal, seen) if seen is not None else TailwagError(refusal)) from error
        except BaseException:
            self.release()  # the write may have happened, and would keep everyone out until it ran out
            raise
        self._thread.start()

    def still_held(self) -> bool:
        """Say whether it is certain that nobody else has it."""
        return not self._lost and time.monotonic() < self._trusted_until

    def require_held(self) -> None:
        """Renew the lease if it may have run out.

        Raises
        ------
        TailwagError
            When another job has taken it over, or the store does not answer.
        """
        if not self.still_held():
            self._renew()
        if not self.still_held():
            raise TailwagError(
                f"{self._path} was taken over by another job while this one could not renew it: nothing more is "
                "written; give the command again when the other job is done"
            )

    def release(self) -> None:
        """Give the lease back; one that cannot be given back runs out."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lost:
            return
        with suppress(TailwagError):
            if not self._etag:  # the answer to the first write never came
                seen = self._look(attempts=2)
                if seen is None or seen.holder != self._holder:
                    return
                self._etag = seen.etag
            self._write(released=True, attempts=2, IfMatch=self._etag)

    def _keep(self) -> None:
        while not self._ended.wait(self.seconds / _RENEWALS_A_LEASE) and not self._lost:
            try:
                self._renew(attempts=1)
            except TailwagError:
                continue  # the next turn tries again; until then `still_held` counts down

    def _renew(self, **how: Any) -> None:
        with self._renewing:
            if self._lost:
                return
            try:
                self._write(IfMatch=self._etag, **how)
            except (PreconditionFailed, NotFound):
                self._lost = True

    def _write(self, released: bool = False, **how: Any) -> None:
        """Write the object under a condition, and take note from when on it is good."""
        # Unlike in every write, so that the tag differs too.
        content = {
            "holder": self._holder,
            "where": f"{socket.gethostname()}, process {os.getpid()}",
            "seconds": str(self.seconds),
            "state": "released" if released else "held",
            "write": uuid.uuid4().hex,
        }
        body = json.dumps(content, indent=1).encode()
        for is_last in (False, True):
            start = time.monotonic()
            try:
                self._etag = call_s3(self._path, "put_object", Body=body, Metadata=content, **how)["ETag"]
                break
            except PreconditionFailed:
                # A write whose answer was lost is repeated, and then fails by its own success.
                seen = self._look()
                if seen is None or seen.holder != self._holder:
                    raise
                self._etag = seen.etag
                if seen.write == content["write"]:
                    break
                if is_last:
                    raise StoreFailure(f"{self._path}: the store does not show what was written last") from None
                # What is there is an earlier renewal, of which nobody learnt: too old to be trusted from now on.
                how = {name: value for name, value in how.items() if name == "attempts"} | {"IfMatch": seen.etag}
        self._trusted_until = start + self.seconds * _TRUSTED_SHARE

    def _look(self, **how: Any) -> _Seen | None:
        try:
            head = call_s3(self._path, "head_object", **how)
        except NotFound:
            return None
        told = head["Metadata"]
        try:
            seconds = float(told["seconds"])
            holder, where, released = told["holder"], told["where"], told["state"] == "released"
        except (KeyError, ValueError) as error:
            raise TailwagError(f"{self._path} is no lease of tailwag's: move it away") from error
        date = head["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        left = seconds - (now - head["LastModified"]).total_seconds()
        return _Seen(head["ETag"], holder, where, left, released, told.get("write", ""))

    def _require_conditions(self) -> None:
        """Refuse a store that ignores conditions: there the lease would keep nobody out, nor would a table's commit."""
        try:
            call_s3(self._path, "put_object", Body=b"", IfNoneMatch="*")
        except PreconditionFailed:
            return
        except StoreFailure as error:
            raise TailwagError(f"{error}: it must honour If-None-Match, or two jobs could write at once") from error
        raise TailwagError(
            f"the store of {self._path} ignores If-None-Match, so that two jobs could write at once: put the database "
            "in a folder, or on a store that honours conditional writes"
        )


def _refused(refusal: str, seen: _Seen) -> TailwagError:
    until = datetime.now(UTC) + timedelta(seconds=seen.seconds_left)
    return TailwagError(f"{refusal} ({seen.where}; if it was killed, its lease ends at {until:%H:%M:%S} UTC)")


def _lease_seconds() -> float:
    text = os.environ.get("TAILWAG_LEASE_SECONDS", "")
    try:
        seconds = float(text) if text else LEASE_SECONDS
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:
        raise BadInput(f"TAILWAG_LEASE_SECONDS is {text!r}: give seconds from 1 to 3600")
    return seconds
