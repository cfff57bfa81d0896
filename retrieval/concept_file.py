"""The TOML of a concept set: reading it and finding all of its mistakes at once, and writing it.

Not here: what a concept is, and where sets are found (`concepts.py`).
"""

from __future__ import annotations

import json
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tailwag.errors import BadInput

from .concepts import Concept, ConceptSet, find_mistakes, refuse

# What a key holds, for those that hold no plain text.
_WANTED = {
    "concept": "must be written as [[concept]], once for each",
    "templates": "must be a list of texts, or the name of a template set",
    "synonyms": "must be a list of texts",
    "images": "must be a list of paths",
}


class Entry(BaseModel):
    """One ``[[concept]]``; see `Concept`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    synonyms: list[str] = []
    templates: str | list[str] | None = None
    definition: str = ""
    images: list[str] = []
    family: str | None = None


class File(BaseModel):
    """The whole file; see `ConceptSet`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = None
    description: str = ""
    templates: str | list[str] = "plain"
    concept: list[Entry] = []


def parse_concepts(content: str, where: str, folder: Path, name: str) -> ConceptSet:
    """Read the TOML of a concept set.

    Parameters
    ----------
    content
        The text of the file.
    where
        What to call it in messages.
    folder
        What the paths of example images are relative to.
    name
        The set's name where the file gives none.

    Raises
    ------
    BadInput
        With every mistake that was found.
    """
    try:
        values = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where} is not TOML: {error}") from error
    try:
        file = File.model_validate(values)
    except ValidationError as error:
        mistakes = [_describe(one, values) for one in error.errors()]
        mistakes += find_mistakes(_readable_concepts(values), _texts(values.get("templates", "plain")) or "plain")
        refuse(where, list(dict.fromkeys(mistakes)))
        raise
    concepts = tuple(
        Concept(
            name=entry.name,
            synonyms=tuple(entry.synonyms),
            templates=_texts(entry.templates),
            definition=entry.definition,
            images=tuple(folder / image for image in entry.images),
            family=entry.family,
        )
        for entry in file.concept
    )
    templates = _texts(file.templates)
    refuse(where, list(find_mistakes(concepts, templates)))
    return ConceptSet(file.name or name, concepts, templates if templates is not None else "plain", file.description)


def format_concepts(concepts: ConceptSet) -> str:
    """Write a concept set as the TOML that `parse_concepts` reads; its notes become comments."""
    lines = [*(f"# {note}" for note in concepts.notes), f"name = {_toml(concepts.name)}"]
    if concepts.description:
        lines.append(f"description = {_toml(concepts.description)}")
    lines.append(f"templates = {_toml(concepts.templates)}")
    for concept in concepts:
        lines += ["", "[[concept]]", f"name = {_toml(concept.name)}"]
        images = tuple(map(str, concept.images))
        for key, value in (
            ("synonyms", concept.synonyms),
            ("templates", concept.templates),
            ("definition", concept.definition),
            ("images", images),
            ("family", concept.family),
        ):
            if value:
                lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: str | tuple[str, ...]) -> str:
    """A text or a list of texts: JSON's way to write them is TOML's too, but for the character 127."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _readable_concepts(values: dict[str, Any]) -> list[Concept]:
    """Take from a file with mistakes in its types what can be checked all the same, each concept in its place."""
    entries = values.get("concept")
    entries = entries if isinstance(entries, list) and entries else [{}]
    readable = []
    for position, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        name = entry.get("name")
        # A name that is missing has been reported: a stand-in keeps it from being reported again as empty.
        name = name if isinstance(name, str) else f"?{position}"
        readable.append(Concept(name, templates=_texts(entry.get("templates"))))
    return readable


def _texts(templates: Any) -> str | tuple[str, ...] | None:
    if isinstance(templates, list):
        return tuple(one for one in templates if isinstance(one, str))
    return templates if isinstance(templates, str) else None


def _describe(error: Any, values: dict[str, Any]) -> str:
    """Turn one of pydantic's errors into a sentence that names the concept and the key."""
    location = list(error["loc"])
    inside = len(location) > 1 and location[0] == "concept"
    where = ""
    if inside:
        entry = values["concept"][location[1]] if isinstance(values["concept"], list) else {}
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"concept {location[1] + 1}" + (f" ({name!r})" if isinstance(name, str) else "") + ": "
        location = location[2:]
    key = location[0] if location else "concept"
    if error["type"] == "extra_forbidden":
        known = list((Entry if inside else File).model_fields)
        near = get_close_matches(str(key), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        return f"{where}unknown key {key!r}, {hint}"
    if error["type"] == "missing":
        return f"{where}{key!r} is missing"
    wanted = _WANTED.get(str(key), "must be text")
    return f"{where}{key!r} {wanted}"
