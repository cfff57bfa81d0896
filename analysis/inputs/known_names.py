"""Under which one name a concept is joined: folding, and the few renamings, endings and repeats that are known as data.

Not here: the joining itself (`joining.py`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound

from ...retrieval.concepts import fold

_PARTS = ("renamed", "endings", "repeats")


@dataclass(frozen=True)
class KnownNames:
    """What is known of names beyond folding.

    Attributes
    ----------
    renamed
        By test set: folded name -> the folded name that it is joined under.
    endings
        By test set: folded endings that its labels may carry, with the space before them: ``" bird"``.
    repeats
        Test set -> the test set whose concepts and counts it repeats.
    """

    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    endings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeats: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None = None) -> KnownNames:
        """Read them from a TOML file; None reads what ships with tailwag (``configs/known_names.toml``).

        Raises
        ------
        NotFound
            When there is no such file.
        BadInput
            When it is no TOML, or has something else in it.
        """
        if path is None:
            text, where = resources.files("tailwag.configs").joinpath("known_names.toml").read_text("utf-8"), "tailwag"
        else:
            where = str(path)
            try:
                text = Path(path).read_text("utf-8")
            except FileNotFoundError as error:
                raise NotFound(f"there is no file of known names {path}") from error
        try:
            return cls.from_dict(tomllib.loads(text), where)
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"{where}: known names are no TOML: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str = "known names") -> KnownNames:
        """Make them from what a TOML file holds.

        Raises
        ------
        BadInput
            For a table that is not one of ``renamed``, ``endings``, ``repeats``, or a value of the wrong kind.
        """
        for name in content:
            if name not in _PARTS:
                raise BadInput(f"{where}: known names have the tables {', '.join(_PARTS)}, not {name!r}")
        try:
            return cls(
                {
                    task: {fold(old): fold(new) for old, new in names.items()}
                    for task, names in content.get("renamed", {}).items()
                },
                {
                    task: tuple(" " + fold(ending) for ending in endings)
                    for task, endings in content.get("endings", {}).items()
                },
                {task: str(other) for task, other in content.get("repeats", {}).items()},
            )
        except (AttributeError, TypeError) as error:
            raise BadInput(f"{where}: a known name is not written as text: {error}") from error

    def canonical(self, task: str, name: str) -> str:
        """Give the name under which a concept of a test set is joined; empty for a name without a letter or digit.

        Examples
        --------
        >>> names = KnownNames.load()
        >>> names.canonical("cifar10", "plane"), names.canonical("let-it-wag", "Alder_Flycatcher_bird")
        ('airplane', 'alder flycatcher')
        """
        folded = fold(name)
        for ending in self.endings.get(task, ()):
            if folded.endswith(ending) and folded != ending:
                folded = folded.removesuffix(ending)
                break
        folded = self.renamed.get(task, {}).get(folded, folded)
        return folded if any(letter.isalnum() for letter in folded) else ""

    def repeated(self, tasks: list[str] | tuple[str, ...]) -> dict[str, str]:
        """Which of these test sets repeat another of them?

        Examples
        --------
        >>> KnownNames.load().repeated(["imagenet", "imagenet-sketch", "cub"])
        {'imagenet-sketch': 'imagenet'}
        """
        return {task: self.repeats[task] for task in tasks if self.repeats.get(task) in tasks}
