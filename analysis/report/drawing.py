"""What all figures share, on the page and on paper: colours, the axis of counts with its place for zero, escaping.

Not here: the figures themselves, one module a question.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...retrieval.result_tables import replaced_when_done

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which people with any colour vision tell apart; the published procedure is always orange.
PUBLISHED, INSIDE, SET_LINE, PLAIN = "#d55e00", "#0072b2", "#56b4e9", "#7f8790"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DOTS_PER_INCH, _DOTS_PER_INCH_WITHIN_SVG = 300, 200
_TICKS = ("1", "10", "100", "1k", "10k", "100k", "1M", "10M", "100M", "1G", "10G")
_SUBSCRIPTS = str.maketrans({"\u2028": " ", "\u2029": " "})


def save_for_print(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG at 300 dpi and as SVG, laid out once; the same figure gives the same bytes.

    Raises
    ------
    BadInput
        When a file cannot be written.
    """
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with replaced_when_done(paths[0]) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 4})
    figure.set_layout_engine("none")  # what the first drawing found holds for the second
    with replaced_when_done(paths[1]) as unfinished:
        described = {"Date": None, "Creator": None}
        figure.savefig(unfinished, format="svg", dpi=_DOTS_PER_INCH_WITHIN_SVG, metadata=described)
    return paths


def positions(counts: np.ndarray) -> np.ndarray:
    """Where do concepts lie on the axis of log10(1 + count)?

    Parameters
    ----------
    counts
        (C,) not negative.

    Returns
    -------
    numpy.ndarray
        (C,) float64; zeros are spread a little to both sides of 0, the same way at every run, so that they do not hide
        one another.
    """
    counts = np.asarray(counts, dtype=np.float64)
    # Multiples of the golden ratio, modulo one, fill an interval evenly in any number.
    spread = (np.arange(len(counts)) * 0.6180339887498949) % 1 - 0.5
    return np.where(counts > 0, np.log10(1 + counts), 0.24 * spread)


def count_ticks(greatest: float) -> tuple[list[float], list[str]]:
    """Give the ticks of an axis of log10(1 + count) up to `greatest`: their places and texts, zero first.

    Examples
    --------
    >>> count_ticks(150)
    ([0.0, 0.301, 1.0414, 2.0043], ['0', '1', '10', '100'])
    """
    decades = min(len(_TICKS) - 1, math.floor(math.log10(max(greatest, 1))))
    return [0.0, *(round(math.log10(1 + 10**each), 4) for each in range(decades + 1))], ["0", *_TICKS[: decades + 1]]


def short_count(value: float) -> str:
    """Write a power of ten as the axis does; nothing for another number.

    Examples
    --------
    >>> short_count(1000), short_count(2000)
    ('1k', '')
    """
    decade = round(math.log10(value)) if value > 0 else -1
    return _TICKS[decade] if 0 <= decade < len(_TICKS) and math.isclose(value, 10.0**decade) else ""


def count_range(greatest: float) -> tuple[float, float]:
    """Give the ends of an axis of log10(1 + count)."""
    return -0.22, math.log10(1 + greatest) + 0.2


def count_axis(greatest: float, title: str) -> dict[str, Any]:
    """Give plotly's axis of counts."""
    places, texts = count_ticks(greatest)
    return {
        "title": {"text": title},
        "tickvals": places,
        "ticktext": texts,
        "range": list(count_range(greatest)),
        "zeroline": False,
    }


def plain(text: str) -> str:
    """Write a name so that plotly.js shows it as it is: it takes tags and entities for markup.

    Examples
    --------
    >>> plain("<b>AT&T</b>")
    '&lt;b&gt;AT&amp;T&lt;/b&gt;'
    """
    return html.escape(printable(text), quote=False)


def printable(text: str) -> str:
    """Put a mark in place of what no page and no XML can hold: control characters and halves of characters."""
    return "".join(character if character.isprintable() else "�" for character in text.translate(_SUBSCRIPTS))


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with matplotlib as figures for print: names are no formulas, text in an SVG stays text."""
    import matplotlib

    settings: dict[Any, Any] = {
        "text.parse_math": False,  # a concept may be called $x$
        "svg.fonttype": "none",
        "svg.hashsalt": "tailwag",
        "pdf.fonttype": 42,
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.5,
        "axes.titlelocation": "left",
    }
    with matplotlib.rc_context(settings):
        yield


def set_count_axis(axes: Axes, greatest: float, label: str) -> None:
    """Make the horizontal axis one of counts, with a place for zero."""
    places, texts = count_ticks(greatest)
    axes.set_xticks(places, texts)
    axes.set_xlim(*count_range(greatest))
    axes.set_xlabel(label)


def rounded(values: Sequence[float] | np.ndarray, digits: int = 4) -> list[float | None]:
    """Round for a page, and put None where a number is not finite: JSON has no nan."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in values]


def number_text(value: float, digits: int = 2) -> str:
    """Write a number for people; a dash for nan, a proper minus.

    Examples
    --------
    >>> number_text(-0.3941), number_text(float("nan"))
    ('−0.39', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.{digits}f}".replace("-", "−")


def interval_text(lower: float, upper: float, digits: int = 2) -> str:
    """Write an interval; a dash where there is none."""
    if math.isnan(lower) and math.isnan(upper):
        return "–"
    return f"{number_text(lower, digits)} to {number_text(upper, digits)}"


def r_text(value: float) -> str:
    """Write a correlation without the zero before its point, as papers do.

    Examples
    --------
    >>> r_text(0.9664), r_text(-0.486), r_text(1.0)
    ('.966', '−.486', '1.000')
    """
    text = number_text(value, 3)
    return text.replace("0.", ".", 1) if text.lstrip("−").startswith("0.") else text


def p_text(p: float) -> str:
    """Write a p value.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-9), p_text(float("nan"))
    ('0.031', '< 0.0001', '–')
    """
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"
