"""One writer at a time: a lock on a file, which the system drops when its process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailwag.errors import TailwagError


@contextmanager
def only_writer(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    path
        The lock's file; made where it is not there, and left there.
    refusal
        What to tell when another process holds it.

    Raises
    ------
    TailwagError
        When another process holds it; nothing waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TailwagError(refusal) from error
        yield
