"""What a user can get wrong, as exceptions whose text is one line: what was found, where, and what to do.

The command line prints that line without a traceback and exits with 1.
"""

from __future__ import annotations


class TailwagError(Exception):
    """A stated failure; the base of every error that tailwag raises on purpose."""


class NotFound(TailwagError):
    """A corpus, version, index, file or named set that does not exist."""


class SpaceMismatch(TailwagError):
    """Vectors of one embedding space met vectors of another."""


class StaleIndex(TailwagError):
    """A search index that was built for another version of the corpus."""


class BadInput(TailwagError):
    """A value or file that cannot be used as it is."""


class Refuted(TailwagError):
    """A certificate that contradicts itself, or that its corpus contradicts."""


class Caution(UserWarning):
    """What a user should know and what stops nothing; the command line prints it as one line on stderr."""
