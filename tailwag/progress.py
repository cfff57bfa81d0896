"""Progress of long work on a terminal: rate and time left on stderr; silent in a pipe or a log.

Library functions take a `Progress` and advance it; nothing else here knows of rich.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Something that is told how far the work has come."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units are done."""
        ...


class NoProgress:
    """Takes the news and shows nothing."""

    def advance(self, amount: int = 1) -> None:
        """Do nothing."""


@contextmanager
def progress(description: str, total: int | None = None, unit: str = "rows") -> Iterator[Progress]:
    """Show a bar with count, rate and time left while the block runs.

    Parameters
    ----------
    description
        What is being done, as a present participle: ``"embedding"``.
    total
        How many units there are; None when that is not known, then no time left is shown.
    unit
        What is counted, in the plural.

    Yields
    ------
    Progress
        Advance it as the work proceeds. On anything but a terminal it shows nothing.
    """
    if not sys.stderr.isatty():
        yield NoProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else f"– {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=total)

        class Bar:
            def advance(self, amount: int = 1) -> None:
                bars.advance(task, amount)

        yield Bar()
