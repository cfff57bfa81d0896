"""Concept sets whose names others wrote down: JSON files of counts, accuracies and class names; ImageNet's names.

Not here: the TOML that people write (`concept_file.py`), joining counts with accuracies (`analysis/inputs`).
"""

from __future__ import annotations

import json
from typing import Any

from tailwag.errors import BadInput

from .concepts import Concept, ConceptSet, fold

# open_clip calls two classes "missile" and two "sunglasses". The release of Udandarao et al. (2024) tells them apart by
# these words, which are the other word of WordNet's synset and the synset's own.
_IMAGENET_SENSES = {(744, "missile"): "projectile", (836, "sunglasses"): "sunglass"}
_WANTED = "a list of names, names with numbers, `classnames`, or accuracies by model with `classwise` or `conceptwise`"


def imagenet_concepts() -> ConceptSet:
    """Give ImageNet's 1,000 classes in their order, under open_clip's names and with its 80 templates.

    open_clip is imported here. Where it gives two classes one name, the second word for one of them is taken, and the
    set's notes say so.
    """
    from ..embed.open_clip_loading import import_open_clip

    names: list[str] = [str(name) for name in import_open_clip().IMAGENET_CLASSNAMES]
    notes = tuple(
        f"class {position} is called {name!r} here: open_clip calls it {old!r}, as it does another class"
        for (position, old), name in _IMAGENET_SENSES.items()
        if names[position] == old
    )
    concepts = tuple(Concept(_IMAGENET_SENSES.get((position, name), name)) for position, name in enumerate(names))
    description = "ImageNet's 1,000 classes under open_clip's names"
    return ConceptSet("imagenet", concepts, "openai-imagenet", description, notes)


def parse_names(content: str, where: str, name: str) -> ConceptSet:
    """Read the names of a JSON file that some other program wrote.

    Parameters
    ----------
    content
        The text of the file: a list of names; an object with a number a name (counts); one with ``classnames``, as
        CLIP_benchmark writes it, whose ``templates`` are taken too; or one of models with ``classwise`` or
        ``conceptwise`` accuracies.
    where
        What to call it in messages.
    name
        The set's name.

    Returns
    -------
    ConceptSet
        Names in the order of the file. Nobody can be asked to mend such a file, so an empty name, and a name that is
        another's but for case, ``_`` and ``-``, are left out; the set's notes name every one.

    Raises
    ------
    BadInput
        When it is not JSON, is none of these, or holds no name.
    """
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
    names = _names_in(value)
    if names is None or not all(isinstance(one, str) for one in names):
        raise BadInput(f"{where} holds no names in a form that is known: {_WANTED}")
    kept: dict[str, str] = {}
    notes = []
    for one in names:
        folded = fold(one)
        if not folded:
            notes.append("an empty name was left out")
        elif folded in kept:
            notes.append(f"{one!r} was left out: it is the same name as {kept[folded]!r}")
        kept.setdefault(folded, one)
    kept.pop("", None)
    if not kept:
        raise BadInput(f"{where} names no concept")
    concepts = tuple(Concept(one) for one in kept.values())
    return ConceptSet(name, concepts, _templates_in(value), notes=tuple(notes))


def _names_in(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        if isinstance(value.get("classnames"), list):
            return value["classnames"]
        if all(isinstance(each, (int, float)) for each in value.values()):
            return list(value)
        by_model = [
            model[key]
            for model in value.values()
            if isinstance(model, dict)
            for key in ("classwise", "conceptwise")
            if isinstance(model.get(key), dict)
        ]
        return list(dict.fromkeys(name for one in by_model for name in one)) if by_model else None
    return list(value) if isinstance(value, list) else None


def _templates_in(value: Any) -> str | tuple[str, ...]:
    """Give the templates of CLIP_benchmark, where ``{c}`` is the place of the name."""
    templates = value.get("templates") if isinstance(value, dict) else None
    if not isinstance(templates, list) or not templates or not all(isinstance(one, str) for one in templates):
        return "plain"
    return tuple(one.replace("{c}", "{}") for one in templates)
