"""The option `--concepts` that several commands share, and opening what it names. Only click is imported at the top.

Not here: what a concept set is, and where it is found (`concepts.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .concepts import ConceptSet

concepts_option = click.option(
    "--concepts",
    metavar="NAME|FILE",
    help="A set by name (imagenet, world, ...), or a file: TOML, text with a name a line, JSON of counts or classes.",
)


def open_concepts(name_or_path: str) -> ConceptSet:
    """Load a concept set, and say on stderr what reading it left out or named otherwise.

    Raises
    ------
    NotFound, BadInput
        As `load_concepts`.
    """
    from .concepts import load_concepts

    loaded = load_concepts(name_or_path)
    for note in loaded.notes:
        click.echo(f"tailwag: {loaded.name}: {note}", err=True)
    return loaded
