"""What the options of a command ask: concepts, thresholds and prototypes, made into one query.

Not here: the options themselves (`commands.py`, `record_commands.py`). Only click is imported at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .centring_option import CentringWish, prototypes_as_wished, wish_by_thresholds
from .concept_options import open_concepts

if TYPE_CHECKING:
    import numpy as np

    from ..embed.corpus import Corpus, Side
    from .centring_choice import Centre
    from .concepts import ConceptSet
    from .counting import CountQuery
    from .estimates import Sketch
    from .prototypes import PrototypeSet


@dataclass(frozen=True)
class ChosenThresholds:
    """What `--threshold` or `--thresholds` comes to for the concepts that are asked for.

    Attributes
    ----------
    values, sources
        (T,) or (C, T) float64, and where they came from.
    wish
        What they leave of `--centre`.
    without_threshold, without_concept
        Concepts that a file gives no threshold, and names of it that no concept bears.
    """

    values: np.ndarray
    sources: tuple[str, ...] | str
    wish: CentringWish
    without_threshold: tuple[str, ...] = ()
    without_concept: tuple[str, ...] = ()

    @property
    def unmatched(self) -> dict[str, tuple[str, ...]]:
        """What JSON tells of names that did not meet."""
        return {
            "concepts_without_threshold": self.without_threshold,
            "thresholds_without_concept": self.without_concept,
        }


def wanted_concepts(
    concept: str | None, concepts: str | None, template: str | None, images: tuple[str, ...] = ()
) -> ConceptSet:
    """Make the set that CONCEPT, `--concepts` or `--image` names; pictures together are one concept."""
    from pathlib import Path

    from .concepts import Concept, ConceptSet, query_concepts

    if images:
        return ConceptSet("images", (Concept(" + ".join(Path(image).name for image in images)),))
    if concept is not None:
        return query_concepts(concept, template)
    return open_concepts(concepts or "", template)


def choose_thresholds(
    corpus: Corpus | Sketch, wanted: ConceptSet, threshold: float | None, thresholds: str | None, centre: Centre
) -> tuple[ChosenThresholds, tuple[str, ...]]:
    """Read and check the thresholds before a model is loaded; gives also the names of those that can be counted."""
    from .counting import check_thresholds
    from .thresholds import LADDER, ThresholdTable, match_thresholds, read_thresholds

    if thresholds is None:
        given = threshold is not None
        values = check_thresholds(threshold, 1)[0] if given else LADDER
        wish = wish_by_thresholds(centre, None, given)
        return ChosenThresholds(values, "given" if given else "ladder", wish), wanted.names
    table = read_thresholds(thresholds)
    if not isinstance(table, ThresholdTable):
        return ChosenThresholds(table, "given", wish_by_thresholds(centre, None, True)), wanted.names
    table.require_space(corpus.space)
    wish = wish_by_thresholds(centre, table, True)
    matched = match_thresholds(table, wanted.names)
    chosen = ChosenThresholds(
        matched.thresholds, matched.sources, wish, matched.without_threshold, matched.without_concept
    )
    return chosen, matched.names


def make_prototypes(
    corpus: Corpus | Sketch,
    wanted: ConceptSet,
    images: tuple[str, ...],
    examples: bool,
    model: tuple[str | None, str | None, str | None],
    wish: CentringWish,
    side: Side,
) -> PrototypeSet:
    """Make the prototypes of texts, of pictures or of the example pictures of a set, centred as is wished."""
    from tailwag.progress import progress

    from ..embed.encoder import Encoder
    from .prototypes import PrototypeSet, prototypes_from_examples, read_picture

    pictures = [read_picture(image) for image in images]  # before the model, which takes seconds to load
    encoder = Encoder.for_space(corpus.space, *model)
    if pictures:
        made = PrototypeSet.of_images(wanted.names[0], pictures, encoder)
        return prototypes_as_wished(made, wish, corpus, encoder, side)
    with progress("making prototypes", total=len(wanted), unit="concepts") as bar:
        if examples:
            made = prototypes_from_examples(wanted, encoder, bar)
        else:
            made = PrototypeSet.of_texts(wanted, encoder, bar)
    return prototypes_as_wished(made, wish, corpus, encoder, side, wanted)


def query_from_options(
    corpus: Corpus,
    concept: str | None,
    concepts: str | None,
    threshold: float | None,
    thresholds: str | None,
    template: str | None,
    centre: Centre,
    side: Side,
    model: tuple[str | None, str | None, str | None],
) -> CountQuery:
    """Make the query that the options of a command ask, and say which names did not meet."""
    from .counting import CountQuery

    wanted = wanted_concepts(concept, concepts, template)
    chosen, names = choose_thresholds(corpus, wanted, threshold, thresholds, centre)
    prototypes = make_prototypes(corpus, wanted.select(names), (), False, model, chosen.wish, side)
    report_unmatched(chosen)
    return CountQuery(prototypes, chosen.values, side, chosen.sources)


def report_unmatched(chosen: ChosenThresholds) -> None:
    """Say on stderr which concepts and thresholds did not meet."""
    for names, what in (
        (chosen.without_threshold, "not counted for want of a threshold"),
        (chosen.without_concept, "thresholds of no concept that was asked for"),
    ):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
            click.echo(f"tailwag: {what} ({len(names):,}): {shown}", err=True)
