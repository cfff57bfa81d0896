"""What a report is made of: tables, plots with their text, one part a model. Plain records, no drawing and no HTML.

Not here: where they come from (`parts.py`), the page (`page.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..fits.numbers import Flag


@dataclass(frozen=True)
class Table:
    """A table as people read it: text in every cell.

    Attributes
    ----------
    title
        What it shows, for who cannot see where it stands.
    headings, rows
        Texts.
    words
        The columns that hold words; the others hold numbers and are flush right.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


@dataclass(frozen=True)
class Plot:
    """One interactive plot, as plotly.js takes it.

    Attributes
    ----------
    identity
        Unique on the page.
    data, layout
        Traces and layout, of what JSON can hold. Names in them are escaped by `plots.plain`.
    title
        Above the plot; empty where the drawing's own title says it.
    kind
        ``published`` or ``inside``, which gives the title its colour; else empty.
    tall
        Whether it holds a row a test set.
    """

    identity: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    title: str = ""
    kind: str = ""
    tall: bool = False


@dataclass(frozen=True)
class Drawing:
    """A figure of the page: its plots, the sentence that says what is seen, and the table behind it."""

    name: str
    title: str
    sentence: str
    plots: Sequence[Plot]
    table: Table
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """One way to look at the relation, and what comes out.

    Attributes
    ----------
    kind
        ``published`` or ``inside``.
    name, note
        What it is, in a few words, and what it does.
    value, slope
        The correlation and the slope as text.
    share
        How much of the bar is filled, 0 to 100.
    """

    kind: str
    name: str
    note: str
    value: str
    slope: str
    share: float


@dataclass(frozen=True)
class ModelPart:
    """The part of a report that speaks of one model."""

    number: int
    name: str
    ladder: Sequence[Step]
    sentences: Sequence[str]
    flags: Sequence[Flag]
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Report:
    """A whole page.

    Attributes
    ----------
    title, subtitle
        The heading, and the line below.
    models
        A part a model.
    drawings
        Those over several models.
    numbers, numbers_note
        Every number, by section.
    exclusions, exclusions_note
        What was left out, counted by reason.
    command, configuration
        What runs it again, and what was resolved, as text.
    """

    title: str
    subtitle: str
    models: Sequence[ModelPart]
    drawings: Sequence[Drawing]
    numbers: Sequence[Table]
    numbers_note: str
    exclusions: Table
    exclusions_note: str
    command: str
    configuration: str
    plots: Mapping[str, Plot] = field(init=False)

    def __post_init__(self) -> None:
        of_models = [drawing for model in self.models for drawing in model.drawings]
        every = [plot for drawing in (*self.drawings, *of_models) for plot in drawing.plots]
        object.__setattr__(self, "plots", {plot.identity: plot for plot in every})
