"""The options of an audit, and what they come to. Only click is imported at the top.

Not here: what an audit does (`audit_commands.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Auditing:
    """What the options of an audit come to.

    Attributes
    ----------
    rows
        How many rows of each concept shall wait for an answer; with a label column, how many are labelled in all. None
        where that was not said.
    labels
        Files of labels.
    label_column
        Whether the corpus's own labels answer.
    ask
        Whether the terminal asks.
    within
        How narrow the interval shall be: a share, .2 for 20 %; None asks once.
    folder
        Where the audit lies.
    seed
        Of its draws.
    captions
        Whether captions guide it where they name the concept.
    concepts
        How many of the concepts people are asked about; None: all.
    """

    rows: int | None
    labels: tuple[str, ...]
    label_column: bool
    ask: bool
    within: float | None
    folder: Path
    seed: int
    captions: bool = True
    concepts: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is an audit at all."""
        return self.rows is not None or bool(self.labels) or self.label_column or self.ask

    @property
    def asks_for_more(self) -> bool:
        """Whether rows beyond those that are asked about already are wanted."""
        return self.rows is not None or self.within is not None or self.label_column or self.ask


def audit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of an audit; it takes them together as `auditing`."""

    @click.option(
        "--audit",
        "rows",
        type=click.IntRange(1),
        metavar="N",
        help="Draw N rows where labels help most, and write a page and a sheet to label them.",
    )
    @click.option(
        "--labels",
        multiple=True,
        metavar="FILE",
        help="Take labels in: the filled sheet, or what the page downloaded (CSV or JSON lines).",
    )
    @click.option(
        "--audit-concepts",
        type=click.IntRange(3),
        metavar="K",
        help="Of many concepts ask only about K, common and rare ones; what they teach corrects the others.",
    )
    @click.option("--label-column", is_flag=True, help="Let the corpus's own labels answer, where it has them.")
    @click.option("--ask", is_flag=True, help="Ask here in the terminal: y, n, u for unsure, q to stop.")
    @click.option(
        "--no-captions",
        is_flag=True,
        help="Audit by similarity alone, as where no caption names the concept: worth less, see docs/auditing.md.",
    )
    @click.option(
        "--within", metavar="SHARE", help="Ask for more until the ends of the interval are within 20% of its middle."
    )
    @click.option(
        "--out", default="tailwag-audit", show_default=True, metavar="FOLDER", help="Where the audit's files lie."
    )
    @click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the audit's draws.")
    @functools.wraps(command)
    def wrapped(
        *,
        rows: int | None,
        labels: tuple[str, ...],
        label_column: bool,
        ask: bool,
        audit_concepts: int | None,
        no_captions: bool,
        within: str | None,
        out: str,
        seed: int,
        **others: Any,
    ) -> Any:
        share = None if within is None else _share(within)
        auditing = Auditing(rows, labels, label_column, ask, share, Path(out), seed, not no_captions, audit_concepts)
        if within is not None and not auditing.wanted:
            raise click.UsageError("--within goes with an audit: pass --audit 30, --labels, --label-column or --ask.")
        for given, option in ((no_captions, "--no-captions"), (audit_concepts is not None, "--audit-concepts")):
            if given and not auditing.wanted:
                raise click.UsageError(f"{option} goes with an audit: pass --audit 30.")
        if ask and label_column:
            raise click.UsageError("Pass --ask or --label-column, not both.")
        return command(auditing=auditing, **others)

    return wrapped


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 10:
        raise click.UsageError(f"--within takes a share such as 20% or 0.2, and {text!r} was given.")
    return value
