"""The page shows every result with its own picture, depends on nothing outside, and obeys nothing inside a caption."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.pictures import Picture
from tailwag.retrieval.search import Hit, QueryHits, SearchResult
from tailwag.retrieval.search_page import draw_histogram, make_thumbnail, render_search_page

from ..browser import needs_chromium, opened_browser

EVIL = "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\"'&"


def picture_bytes(seed: int = 0, size: tuple[int, int] = (400, 300), mode: str = "RGB", format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).convert(mode).save(buffer, format)
    return buffer.getvalue()


def make_hit(rank: int, similarity: float, **fields) -> Hit:
    values = {"caption": f"caption {rank}", "url": "", "label": None, "width": 400, "height": 300} | fields
    return Hit(rank=rank, offset=rank * 10, similarity=similarity, key=f"s/{rank}", **values)


def make_result(hits: list[Hit], query: str = "two dogs in snow", *, exact: bool = True) -> SearchResult:
    return SearchResult(
        corpus="cc3m",
        version=7,
        rows=2_900_000,
        space="ViT-B-32/openai",
        fingerprint="0123456789abcdef",
        side="image",
        k=len(hits),
        exact=exact,
        method="exact (all 2,900,000 rows compared)" if exact else "approximate (IVF-Flat index, nprobe 8 of 64 lists)",
        queries=(QueryHits(query, f'text "{query}"', tuple(hits)),),
    )


HITS = [
    make_hit(1, 0.3456789, label="dog", url="https://photos.example/1.jpg"),
    make_hit(2, 0.31, caption=EVIL, label=EVIL, url="javascript:alert(3)"),
    make_hit(3, 0.31, caption=""),
    make_hit(4, 0.25, caption="gone"),
    make_hit(5, 0.2, caption="broken"),
]
PICTURES = [
    Picture("s/1", picture_bytes(1)),
    Picture("s/2", picture_bytes(2, (300, 900), "P", "PNG")),
    Picture("s/3", picture_bytes(3, (90, 90), "CMYK")),
    Picture("s/4", None, "not in <set>/00000.tar any more"),
    Picture("s/5", b"<script>alert(4)</script>"),
]


@pytest.fixture(scope="module")
def page() -> str:
    return render_search_page(make_result(HITS, EVIL), PICTURES)


def test_it_says_what_was_searched_and_how(page):
    for part in ("cc3m, version 7", "2,900,000", "ViT-B-32/openai (0123456789abcdef)", "exact (all 2,900,000 rows"):
        assert part in page
    for part in ("#1", "0.3457", "0.3456789", "caption 1", "s/1", ">dog<", "no caption", "400 × 300 pixels, row 10"):
        assert part in page
    approximate = render_search_page(make_result(HITS, exact=False), PICTURES)
    assert '<dd class="approximate">approximate (IVF-Flat index, nprobe 8 of 64 lists)</dd>' in approximate


def test_nothing_outside_is_referred_to(page):
    assert re.findall(r"(?:src|href|srcset|action|data|poster)\s*=\s*\"(?!data:image/jpeg;base64,)[^\"]*", page) == []
    assert "@import" not in page and "url(" not in page.replace("curl(", "")
    assert "default-src 'none'; img-src data:" in page.replace("&#39;", "'")


def test_untrusted_text_is_only_ever_text(page):
    assert page.count("<script>") == 1 and "<img src=https" not in page and 'href="javascript' not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_missing_picture_says_why(page):
    assert page.count("<b>no picture</b>") == 2
    assert "not in &lt;set&gt;/00000.tar any more" in page and "not an image: 25 bytes" in page
    assert "its source was not looked for" in render_search_page(make_result(HITS[:1]), [])


def test_no_result_and_several_queries_are_pages_too():
    assert "Nothing was found" in render_search_page(make_result([]), [])
    one, other = make_result(HITS[:2]), make_result(HITS[2:3], "a cat")
    both = SearchResult(**{**vars(one), "queries": one.queries + other.queries})
    assert "<h2>a cat</h2>" in render_search_page(both, PICTURES)


@pytest.mark.parametrize(
    ("size", "mode", "format"),
    [
        ((1000, 500), "RGB", "JPEG"),
        ((20, 900), "RGBA", "PNG"),
        ((900, 20), "L", "PNG"),
        ((300, 300), "I;16", "PNG"),
        ((300, 300), "1", "PNG"),
    ],
)
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(size, mode, format):
    thumbnail = make_thumbnail(Image.open(io.BytesIO(picture_bytes(0, size, mode, format))))
    data = base64.b64decode(thumbnail.uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as small:
        assert small.format == "JPEG" and small.size == (thumbnail.width, thumbnail.height)
    assert max(small.size) == 256
    assert abs(small.width / small.height / (size[0] / size[1]) - 1) < 0.15


def test_transparent_parts_become_white():
    thumbnail = make_thumbnail(Image.new("RGBA", (40, 40), (0, 0, 0, 0)))
    with Image.open(io.BytesIO(base64.b64decode(thumbnail.uri.split(",")[1]))) as small:
        assert small.getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.parametrize("similarities", [[0.3], [0.3, 0.3], [-0.1, 0.0, 0.31234567], list(np.linspace(-1, 1, 500))])
def test_the_histogram_holds_every_result_between_its_ends(similarities):
    histogram = draw_histogram(similarities)
    assert float(histogram.low_text) <= min(similarities) and max(similarities) <= float(histogram.high_text)
    assert max(bar.high for bar in histogram.bars) == max(similarities)
    assert all(bar.x >= 0 and bar.x + bar.width <= histogram.width for bar in histogram.bars)
    assert all(bar.y >= 0 and bar.y + bar.height <= histogram.height + 0.01 for bar in histogram.bars)


SHOWN = "[...document.querySelectorAll('.card')].filter(card => card.offsetParent !== null).length"


def move_slider(value: float) -> str:
    return f"slider.value = '{value}'; slider.dispatchEvent(new Event('input')); {SHOWN}"


@needs_chromium
def test_a_browser_shows_it_and_the_slider_hides_what_lies_below(tmp_path, page):
    path = tmp_path / "page.html"
    path.write_text(page, "utf-8")
    with opened_browser(tmp_path / "profile") as browser:
        browser.load(path)
        widths = browser.ask("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
        assert widths == [256, 85, 90]
        assert browser.complaints == []
        assert {address.split(":")[0] for address in browser.requests} <= {"file", "data"}
        assert browser.ask(SHOWN) == 5
        browser.ask("globalThis.slider = document.querySelector('input[type=range]'); 0")
        assert browser.ask("document.querySelector('output').textContent") == "≥ 0.2000: 5 of 5 shown"
        # 0.31 as float64: the two rows at it are shown at 0.31, as a count would count them.
        assert browser.ask(move_slider(0.31)) == 3
        assert browser.ask("document.querySelector('output').textContent") == "≥ 0.3100: 3 of 5 shown"
        assert browser.ask(move_slider(0.3101)) == 1
        assert browser.ask(move_slider(-1)) == 5
        for width in (1280, 360):
            browser.load(path, width=width)
            assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
        browser.load(path, script=False)
        assert browser.ask(SHOWN) == 5
        assert browser.ask("document.querySelector('input').offsetParent === null")
