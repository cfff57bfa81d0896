"""The option `--centre` that several commands share, and the prototypes that it comes to. Only click at the top.

Not here: centring (`centring.py`), deciding by data (`centring_choice.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..embed.corpus import Corpus, Side
    from .centring_choice import Centre
    from .concepts import ConceptSet
    from .estimates import Sketch
    from .prototypes import PrototypeKind, PrototypeSet, TextAndImageEncoder
    from .thresholds import ThresholdTable


@dataclass(frozen=True)
class CentringWish:
    """What is left to decide of `--centre` once thresholds and pictures had their say.

    Attributes
    ----------
    wish
        ``auto``, ``yes`` or ``no``.
    reason
        Why ``auto`` became one of the others; empty where it did not.
    """

    wish: Centre
    reason: str = ""


def centre_option(default: Centre) -> Callable[..., Any]:
    """Give a command the option `--centre`; what is right by default differs, see docs/prototypes.md."""
    return click.option(
        "--centre",
        type=click.Choice(["auto", "yes", "no"]),
        default=default,
        show_default=True,
        help="Take an everyday vocabulary's mean off the prototypes, so that pictures that resemble everything count "
        "less; auto looks whether this corpus asks for it. Thresholds hold for one of the two kinds only.",
    )


def was_given() -> bool:
    """Say whether the command line names `--centre`."""
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source("centre") is not ParameterSource.DEFAULT


def wish_by_thresholds(wish: Centre, table: ThresholdTable | None, given: bool) -> CentringWish:
    """Let thresholds decide what is left to `auto`, and refuse those of another kind than was asked for.

    Parameters
    ----------
    wish
        As on the command line.
    table
        The thresholds of a file; None where there is none.
    given
        Whether thresholds were given as numbers.

    Raises
    ------
    BadInput
        When the file's thresholds hold for another kind of prototype, or not all for one.
    """
    if table is not None and wish == "auto":
        kind = table.kind
        reason = f"the thresholds in {table.path} hold for {kind} prototypes"
        return CentringWish("yes" if kind == "centred" else "no", reason)
    if table is not None:
        kind, other = ("centred", "no") if wish == "yes" else ("plain", "yes")
        table.require_kind(kind, f"pass --centre {other}, or thresholds of {kind} prototypes")
    if given and wish == "auto":
        return CentringWish("no", "a threshold given as a number is taken for one of plain prototypes")
    return CentringWish(wish)


def wish_for_pictures(wish: CentringWish) -> CentringWish:
    """Let `auto` be plain for prototypes of pictures, and refuse to centre them: what is taken off is a texts' mean."""
    if wish.wish == "yes":
        raise click.UsageError("--centre yes takes a mean of texts off, and these prototypes are of pictures.")
    return wish if wish.wish == "no" else CentringWish("no", "prototypes of pictures are not centred")


def check_rethreshold(wish: CentringWish) -> None:
    """Refuse to decide by data where no data are read."""
    if wish.wish == "auto":
        raise click.UsageError("--rethreshold reads no vectors to decide --centre auto by: pass --centre yes or no.")


def prototypes_as_wished(
    prototypes: PrototypeSet,
    wish: CentringWish,
    opened: Corpus | Sketch,
    encoder: TextAndImageEncoder,
    side: Side,
    concepts: ConceptSet | None = None,
) -> PrototypeSet:
    """Centre plain prototypes where that is wished, or where data ask for it that were to decide; say why on stderr.

    Parameters
    ----------
    prototypes
        Plain ones.
    wish
        What is left of the option.
    opened, side
        What is to be compared. The vocabulary's vectors are kept in a corpus's database.
    encoder
        What made the prototypes.
    concepts
        What they stand for, to look for it in a label column; None disregards labels.
    """
    from dataclasses import replace

    from tailwag.errors import BadInput
    from tailwag.progress import progress

    from ..embed.corpus import Corpus
    from .background import open_background, vocabulary_texts
    from .centring import centre, kind_of, with_reason
    from .centring_choice import SAMPLED_ROWS, choose_centring, choose_for_corpus

    if wish.wish == "no":
        if wish.reason:
            _tell("plain", wish.reason)
        return prototypes
    database = opened.database if isinstance(opened, Corpus) else None
    with progress("encoding the vocabulary", total=len(vocabulary_texts()), unit="texts") as bar:
        background = open_background(database, encoder, bar)
    if wish.wish == "yes":
        if wish.reason:
            _tell("centred", wish.reason)
        return centre(prototypes, background)
    try:
        if isinstance(opened, Corpus):
            choice = choose_for_corpus(opened, prototypes, background, side, concepts)
        else:
            step = max(len(opened.vectors) // SAMPLED_ROWS, 1)
            choice = choose_centring("auto", opened.vectors[::step], background)
        reason = choice.reason
        made = centre(prototypes, background) if choice.centred else prototypes
    except BadInput as error:  # hubs that cannot be measured, a prototype that would be too long: nobody asked for it
        made, reason = prototypes, str(error)
    _tell(kind_of(made.recipes[0]), reason)
    return replace(made, recipes=tuple(with_reason(recipe, reason) for recipe in made.recipes))


def _tell(kind: PrototypeKind, reason: str) -> None:
    click.echo(f"tailwag: {kind} prototypes: {reason}", err=True)
