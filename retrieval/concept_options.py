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


def open_concepts(name_or_path: str, template: str | None = None) -> ConceptSet:
    """Load a concept set, and say on stderr what reading it left out or named otherwise.

    A template that is asked for takes the place of those that the file gives to the set and to single concepts.

    Raises
    ------
    NotFound, BadInput
        As `load_concepts` and `templates_from`.
    """
    from dataclasses import replace

    from .concepts import load_concepts, templates_from

    loaded = load_concepts(name_or_path)
    for note in loaded.notes:
        click.echo(f"tailwag: {loaded.name}: {note}", err=True)
    if template is None:
        return loaded
    own = tuple(replace(one, templates=None) for one in loaded)
    return replace(loaded, concepts=own, templates=templates_from(template))
