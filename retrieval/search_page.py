"""A search result as one HTML page with the pictures in it, to look at and to choose a threshold by.

Self-contained: no network, no file beside it. Captions, labels, addresses and image bytes are untrusted: text is
escaped, pictures are decoded and encoded anew. Not here: the search (`search.py`).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailwag.version import __version__

from ..embed.corpus import Corpus
from ..embed.decoding import UndecodableImage, decode_image
from ..embed.pictures import Picture, read_pictures
from .result_tables import replaced_when_done
from .search import Hit, SearchResult

if TYPE_CHECKING:
    from PIL.Image import Image as Photograph

THUMBNAIL_SIDE = 256
_JPEG_QUALITY = 80
# A screen reader should not have to read a web page's worth of caption.
_LONGEST_ALTERNATIVE = 200
_BARS = 32
_HISTOGRAM_HEIGHT = 52
_BAR_WIDTH = 10


@dataclass(frozen=True)
class Thumbnail:
    """A reduced picture as a `data:` URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Card:
    """One hit as the page shows it: its picture, or why there is none."""

    hit: Hit
    picture: Thumbnail | None
    missing: str
    alternative: str


@dataclass(frozen=True)
class Bar:
    """A bar of the histogram, in the drawing's own units; `high` is the greatest similarity that falls into it."""

    x: float
    y: float
    width: float
    height: float
    high: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """How the similarities of the results are distributed. The two texts enclose them, rounded outward."""

    width: int
    height: int
    low_text: str
    high_text: str
    bars: tuple[Bar, ...]


def write_search_page(
    corpus: Corpus, result: SearchResult, path: str | Path, examples: Sequence[Photograph] = ()
) -> int:
    """Write a result as a page, with the pictures read from where they were embedded.

    Parameters
    ----------
    corpus
        The corpus that was searched, at the result's version.
    result
        What was found.
    path
        The page.
    examples
        The query's example pictures, shown at the top.

    Returns
    -------
    int
        How many pictures could not be shown; the page says why at each.

    Raises
    ------
    BadInput
        When the page cannot be written.
    """
    keys = list(dict.fromkeys(hit.key for found in result.queries for hit in found.hits))
    pictures = read_pictures(corpus, keys)
    sections = _sections(result, pictures)
    with replaced_when_done(path) as unfinished:
        unfinished.write_text(_render(result, sections, examples), "utf-8")
    return sum(card.picture is None for section in sections for card in section["cards"])


def render_search_page(result: SearchResult, pictures: Sequence[Picture], examples: Sequence[Photograph] = ()) -> str:
    """Make the page's HTML.

    Parameters
    ----------
    result
        What was found.
    pictures
        A picture for each key in the result, in any order; a key without one is shown as missing.
    examples
        The query's example pictures.
    """
    return _render(result, _sections(result, pictures), examples)


def picture_cards(corpus: Corpus, hits: Sequence[Hit], side: int = THUMBNAIL_SIDE) -> list[Card]:
    """Read the pictures of some hits from where they were embedded; a card a hit, in their order.

    Their longer side comes to at most `side` pixels.
    """
    pictures = read_pictures(corpus, [hit.key for hit in hits])
    return [_card(hit, picture, side) for hit, picture in zip(hits, pictures, strict=True)]


def make_thumbnail(image: Photograph, side: int = THUMBNAIL_SIDE) -> Thumbnail:
    """Reduce a picture so that its longer side is at most `side` pixels, upright, and encode it as JPEG."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode not in ("RGB", "L"):
        # Transparent parts of a picture are empty, and black is how they would come out.
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(uri, image.width, image.height)


def draw_histogram(similarities: Sequence[float], bars: int = _BARS) -> Histogram:
    """Lay out a histogram of some similarities, at least one, as bars of equal width."""
    # To four decimals, outward: these are the ends of the slider, and nothing may lie outside.
    low = math.floor(min(similarities) * 1e4) / 1e4
    high = math.ceil(max(similarities) * 1e4) / 1e4
    width = (high - low) / bars
    members: list[list[float]] = [[] for _ in range(bars)]
    for similarity in similarities:
        members[min(bars - 1, int((similarity - low) / width)) if width else 0].append(similarity)
    most = max(map(len, members))
    drawn = []
    for number, own in enumerate(members):
        if own:
            height = _HISTOGRAM_HEIGHT * len(own) / most
            results = "1 result" if len(own) == 1 else f"{len(own):,} results"
            drawn.append(
                Bar(
                    x=number * _BAR_WIDTH if width else 0,
                    y=round(_HISTOGRAM_HEIGHT - height, 2),
                    width=_BAR_WIDTH - 1 if width else bars * _BAR_WIDTH,
                    height=round(height, 2),
                    high=max(own),
                    title=f"{min(own):.4f} to {max(own):.4f}: {results}",
                )
            )
    return Histogram(bars * _BAR_WIDTH, _HISTOGRAM_HEIGHT, f"{low:.4f}", f"{high:.4f}", tuple(drawn))


def _sections(result: SearchResult, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    of_key = {picture.key: picture for picture in pictures}
    return [
        {
            "query": found.query,
            "recipe": found.recipe,
            "cards": [_card(hit, of_key.get(hit.key)) for hit in found.hits],
            "histogram": draw_histogram([hit.similarity for hit in found.hits]) if found.hits else None,
        }
        for found in result.queries
    ]


def _render(result: SearchResult, sections: list[dict[str, Any]], examples: Sequence[Photograph]) -> str:
    import jinja2

    source = resources.files(__package__ or "").joinpath("search_page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(source).render(
        policy=content_policy(source),
        title=", ".join(found.query for found in result.queries),
        tailwag_version=__version__,
        result=result,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        examples=[make_thumbnail(example) for example in examples],
        sections=sections,
        thumbnail_side=THUMBNAIL_SIDE,
    )


def _card(hit: Hit, picture: Picture | None, side: int = THUMBNAIL_SIDE) -> Card:
    thumbnail, missing = None, "its source was not looked for"
    if picture is not None and picture.data is None:
        missing = picture.missing
    elif picture is not None and picture.data is not None:
        try:
            thumbnail = make_thumbnail(decode_image(picture.data), side)
        except UndecodableImage as error:
            missing = str(error)
        except Exception as error:  # what decodes may still not convert, and one bad picture must not cost the page
            missing = f"cannot be shown: {type(error).__name__}"
    caption = " ".join(hit.caption.split())
    if len(caption) > _LONGEST_ALTERNATIVE:
        caption = caption[: _LONGEST_ALTERNATIVE - 1] + "…"
    return Card(hit, thumbnail, missing, caption or f"picture {hit.key}, without a caption")


@cache
def content_policy(source: str) -> str:
    """Allow exactly the template's own style and script, by their digests, and pictures inside the page."""
    allowed = {
        name: base64.b64encode(hashlib.sha256(found.group(1).encode()).digest()).decode()
        for name in ("style", "script")
        if (found := re.search(rf"<{name}>(.*?)</{name}>", source, re.DOTALL))
    }
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed['style']}'; "
        f"script-src 'sha256-{allowed['script']}'; base-uri 'none'; form-action 'none'"
    )
