"""The sentences that ask for a concept of the world, and the concept set generated from them.

`configs/concepts/world.toml` holds the same as data, for everyone who does not know this package.
"""

from __future__ import annotations

import json

from .captions import before_background, with_article
from .vocabulary import WorldConcept, concepts

KIND_TEMPLATES = ("a photo of {}", "a picture of {}", "{}")


def templates(concept: WorldConcept) -> tuple[str, ...]:
    """Which sentences ask for a concept; `{}` takes its name."""
    if concept.family == "kind":
        forms = (with_article(concept.name).replace(concept.name, "{}"),)
    elif concept.family in ("colour", "texture"):
        forms = (with_article(concept.name).replace(concept.name, "{} thing"),)
    elif concept.family == "number":
        forms = ("{} thing" if concept.name == "one" else "{} things",)
    else:
        forms = (before_background("a thing", concept.name).replace(concept.name, "{}"),)
    return tuple(template.format(form) for form in forms for template in KIND_TEMPLATES)


def prompts(concept: WorldConcept) -> list[str]:
    """All sentences that ask for a concept, its synonyms included."""
    return [template.format(word) for word in (concept.name, *concept.synonyms) for template in templates(concept)]


def concept_set_toml() -> str:
    """The text of `configs/concepts/world.toml`."""
    usual = tuple(template.format("a {}") for template in KIND_TEMPLATES)
    lines = [
        "# Written by `tailwag world concepts`; a test holds it to the vocabulary.",
        'name = "world"',
        'description = "The concepts of the drawn world: kinds, colours, textures, numbers, backgrounds"',
        f"templates = {json.dumps(usual)}",
    ]
    for concept in concepts():
        lines += ["", "[[concept]]", f"name = {json.dumps(concept.name)}", f"family = {json.dumps(concept.family)}"]
        if concept.synonyms:
            lines.append(f"synonyms = {json.dumps(concept.synonyms)}")
        if templates(concept) != usual:
            lines.append(f"templates = {json.dumps(templates(concept))}")
    return "\n".join(lines) + "\n"
