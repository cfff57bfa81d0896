"""What names a saved count: a run, by an identifier that sorts by time.

Not here: what is saved under it (`saved_counts.py`, `certificate.py`).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

_RUN = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True)
class Run:
    """One saved count.

    Attributes
    ----------
    name
        ``20260731T142233.123456Z-9f3a07``: the time in UTC, and six random hexadecimal digits, so that no two runs bear
        one name. Sorted as text, runs stand in the order in which they were made.
    created
        The same time.
    """

    name: str
    created: datetime

    @classmethod
    def begin(cls, now: datetime | None = None) -> Run:
        """Name a new run; `now` is the present unless it is given."""
        created = (now or datetime.now(UTC)).astimezone(UTC)
        return cls(f"{created:%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(3)}", created)


def is_run_name(text: str) -> bool:
    """Say whether a text has the form of a run's name."""
    return _RUN.fullmatch(text) is not None
