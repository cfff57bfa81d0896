"""Brace patterns in the names of sources, as shells have them."""

from __future__ import annotations

import re

GLOB_CHARACTERS = frozenset("*?[")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """Expand ``{00000..00331}`` and ``{a,b}`` as a shell does, zeros kept.

    Examples
    --------
    >>> expand_braces("cc3m/{008..010}.tar")
    ['cc3m/008.tar', 'cc3m/009.tar', 'cc3m/010.tar']
    """
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
        first, last = numbers.groups()
        padded = any(len(number) > 1 and number.startswith("0") for number in (first, last))
        width = max(len(first), len(last)) if padded else 0
        step = 1 if int(first) <= int(last) else -1
        choices = [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]
    else:
        choices = match[1].split(",")
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [expanded for choice in choices for expanded in expand_braces(head + choice + tail)]
