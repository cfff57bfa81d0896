"""Concepts and sets of them: names, synonyms, prompt templates; finding a set by name or file.

Not here: the TOML that people write (`concept_file.py`), the names in others' files (`concept_names.py`), turning
concepts into vectors (`prototypes.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound

DEFAULT_TEMPLATE = "a photo of a {}"
IMAGENET = "imagenet"
# Sets of templates that a file can name instead of listing them; all but the first are open_clip's own.
TEMPLATE_SETS = {
    "plain": (DEFAULT_TEMPLATE,),
    "openai-imagenet": "OPENAI_IMAGENET_TEMPLATES",
    "simple-imagenet": "SIMPLE_IMAGENET_TEMPLATES",
}
# A query that begins so is a phrase already: "a photo of a the Eiffel tower" would not help.
_PHRASE = re.compile(r"(an?|the|(photo|picture|image|photograph)s? of)\s", re.IGNORECASE)
# Mistakes of a file that are listed one by one; the rest are counted.
_MOST_MISTAKES = 20


@dataclass(frozen=True)
class Concept:
    """Something one can ask for.

    Attributes
    ----------
    name
        The canonical name, which results carry.
    synonyms
        Other names of the same thing; its prototype is a mean over all of them.
    templates
        Templates of its own, or the name of a set; None for those of its concept set.
    definition
        A sentence that says what counts as an instance, for people who label.
    images
        Example pictures.
    family
        A group within the set, such as ``colour``; None where there are no groups.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    templates: str | tuple[str, ...] | None = None
    definition: str = ""
    images: tuple[Path, ...] = ()
    family: str | None = None


@dataclass(frozen=True)
class ConceptSet:
    """Concepts that are asked for together, names unique even when case, ``_`` and ``-`` are disregarded.

    Attributes
    ----------
    name
        The set's name.
    concepts
        The concepts, in the order of the file.
    templates
        Templates holding ``{}``, or the name of a set of them (`TEMPLATE_SETS`).
    description
        What the set is, for people.
    notes
        What reading it left out or named otherwise than its source, one sentence each.

    Raises
    ------
    BadInput
        With every mistake that was found.
    """

    name: str
    concepts: tuple[Concept, ...]
    templates: str | tuple[str, ...] = "plain"
    description: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse(f"concept set {self.name!r}", list(find_mistakes(self.concepts, self.templates)))

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical names, in order."""
        return tuple(concept.name for concept in self.concepts)

    def select(self, names: Sequence[str]) -> ConceptSet:
        """Keep some concepts, in the order asked for.

        Raises
        ------
        NotFound
            When a name is not in the set.
        """
        known = {concept.name: concept for concept in self.concepts}
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise NotFound(f"concept set {self.name!r} has no concept {name!r}{hint}")
        return replace(self, concepts=tuple(known[name] for name in names))


def fold(name: str) -> str:
    """Give the form under which names are compared: lower case, ``_`` and ``-`` as single spaces.

    Examples
    --------
    >>> fold("Hot-Air_Balloon") == fold("hot air balloon")
    True
    """
    return " ".join(re.split(r"[\s_-]+", name.casefold())).strip()


def texts_for(concept: Concept, templates: Sequence[str]) -> tuple[str, ...]:
    """Give the texts whose mean vector stands for a concept: every template with the name and with each synonym.

    Parameters
    ----------
    concept
        The concept; ``_`` in its names is written as a space, nothing else is changed: no article is adapted.
    templates
        Texts holding ``{}``.

    Returns
    -------
    tuple[str, ...]
        Each text once.

    Examples
    --------
    >>> texts_for(Concept("red_panda", ("firefox",)), ["a photo of a {}"])
    ('a photo of a red panda', 'a photo of a firefox')
    """
    words = [name.replace("_", " ").strip() for name in (concept.name, *concept.synonyms)]
    return tuple(dict.fromkeys(template.replace("{}", word) for word in words for template in templates))


def open_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Give the templates behind the name of a set, as texts holding ``{}``; a list of templates comes back as it is.

    open_clip keeps its sets as functions; they are imported here, so that reading concepts imports no model library.

    Raises
    ------
    NotFound
        For a set that does not exist.
    """
    if not isinstance(templates, str):
        return tuple(templates)
    if templates not in TEMPLATE_SETS:
        raise NotFound(f"there is no template set {templates!r}; there are {', '.join(TEMPLATE_SETS)}")
    found = TEMPLATE_SETS[templates]
    if not isinstance(found, str):
        return found
    from ..embed.open_clip_loading import import_open_clip

    return tuple(fill("{}") for fill in getattr(import_open_clip(), found))


def query_concepts(text: str, template: str | None = None) -> ConceptSet:
    """Make a concept set of what someone typed.

    Parameters
    ----------
    text
        A concept's name, ``red panda``, or a phrase: ``a dog in the snow``.
    template
        A text holding ``{}``, or the name of a template set. None: ``a photo of a {}``, but a text that begins with
        a, an, the, or "photo of" is a phrase already and is used as it is.

    Raises
    ------
    BadInput
        For an empty text or a template without ``{}``.
    """
    text = " ".join(text.split())
    if not text:
        raise BadInput('the concept is empty: name what to look for, such as "red panda"')
    if template is None:
        template = "{}" if _PHRASE.match(text) else "plain"
    return ConceptSet("query", (Concept(text),), templates_from(template))


def templates_from(template: str) -> str | tuple[str, ...]:
    """Read a ``--template``: the name of a set stays a name, anything else is one template.

    Raises
    ------
    BadInput
        When it is neither a set nor holds ``{}``.
    """
    if template in TEMPLATE_SETS:
        return template
    if "{}" not in template:
        raise BadInput(
            f"template {template!r} has no {{}} where the name goes, and is none of the sets {', '.join(TEMPLATE_SETS)}"
        )
    return (template,)


def shipped_concepts() -> list[str]:
    """Name the concept sets that need no file: those that ship with tailwag, and `imagenet`, which is open_clip's."""
    folder = resources.files("tailwag.configs") / "concepts"
    files = [entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return sorted([*files, IMAGENET])


def load_concepts(name_or_path: str | Path) -> ConceptSet:
    """Load a concept set.

    Parameters
    ----------
    name_or_path
        The name of a shipped set (`shipped_concepts`), a TOML file, a JSON file of counts, accuracies or class names
        (`concept_names.py`), or a text file with one name a line.

    Raises
    ------
    NotFound
        When there is neither such a set nor such a file.
    BadInput
        With every mistake of the file.
    """
    from .concept_file import parse_concepts  # here, since pydantic is imported with it
    from .concept_names import imagenet_concepts, parse_names

    name = str(name_or_path)
    if name == IMAGENET:
        return imagenet_concepts()
    if name in shipped_concepts():
        source = resources.files("tailwag.configs") / "concepts" / f"{name}.toml"
        return parse_concepts(source.read_text("utf-8"), f"shipped set {name!r}", Path(), name)
    path = Path(name_or_path)
    if not is_file(path):
        raise NotFound(f"no concept set or file {name!r}; sets that ship: {', '.join(shipped_concepts())}")
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): pass a file that can") from error
    if path.suffix == ".toml":
        return parse_concepts(content, str(path), path.parent, path.stem)
    if path.suffix == ".json":
        return parse_names(content, str(path), path.stem)
    lines = [line.strip() for line in content.splitlines()]
    names = [line for line in lines if line]
    if not names:
        raise BadInput(f"{path} names no concept: write one a line")
    refuse(str(path), list(find_mistakes([Concept(name) for name in names], "plain")))
    return ConceptSet(path.stem, tuple(Concept(name) for name in names))


def is_file(path: str | Path) -> bool:
    """Say whether something is a file; a text too long to be a path is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def refuse(where: str, mistakes: Sequence[str]) -> None:
    """Raise all mistakes of one file together; do nothing when there are none.

    Raises
    ------
    BadInput
        One line for one mistake, a list for several.
    """
    if not mistakes:
        return
    if len(mistakes) == 1:
        raise BadInput(f"{where}: {mistakes[0]}")
    listed = list(mistakes[:_MOST_MISTAKES])
    if len(mistakes) > len(listed):
        listed.append(f"and {len(mistakes) - len(listed)} more")
    raise BadInput(f"{where} has {len(mistakes)} mistakes:" + "".join(f"\n  - {mistake}" for mistake in listed))


def find_mistakes(concepts: Sequence[Concept], templates: Any) -> Iterator[str]:
    """Find what is wrong with the values of a concept set, the types being right; one sentence each."""
    if not concepts:
        yield "it holds no concept: add a [[concept]] with a name"
    yield from _template_mistakes("templates", templates)
    first: dict[str, Concept] = {}
    for position, concept in enumerate(concepts, 1):
        folded = fold(concept.name)
        if not folded:
            yield f"concept {position} has an empty name"
            continue
        if folded in first:
            yield f"concept {position}, {concept.name!r}, is the same name as {first[folded].name!r}: merge the two"
        first.setdefault(folded, concept)
        if not all(fold(synonym) for synonym in concept.synonyms):
            yield f"concept {concept.name!r} has an empty synonym"
        if concept.templates is not None:
            yield from _template_mistakes(f"templates of {concept.name!r}", concept.templates)


def _template_mistakes(where: str, templates: Any) -> Iterator[str]:
    if isinstance(templates, str):
        if templates not in TEMPLATE_SETS:
            near = get_close_matches(templates, TEMPLATE_SETS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TEMPLATE_SETS)}"
            yield f"{where}: there is no template set {templates!r}, {hint} (a single template goes into a list)"
        return
    if not isinstance(templates, (list, tuple)):
        return  # the types are reported on their own
    if not templates:
        yield f"{where}: the list is empty; leave it out for {DEFAULT_TEMPLATE!r}"
    for template in templates:
        if isinstance(template, str) and "{}" not in template:
            yield f"{where}: {template!r} has no {{}} where the name goes"
