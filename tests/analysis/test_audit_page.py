"""The page of an audit: labelled by key, downloaded, fed back; self-contained, and obeying nothing in a caption."""

from __future__ import annotations

import csv
import io
import re
import time

import pytest

from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.main import main

from ..browser import needs_chromium, opened_browser
from ..embed.shards import picture

EVIL = "a zebra </script><script>document.title='evil'</script><img src=https://evil.example/x>"
ROWS = 60


@pytest.fixture(scope="module")
def audit(tmp_path_factory, tiny_model):
    """An audit of pictures in a folder, whose captions are anyone's; every second one names a zebra."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(ROWS):
        (folder / "set").mkdir(exist_ok=True)
        (folder / "set" / f"{number:03}.jpg").write_bytes(picture(number))
        (folder / "set" / f"{number:03}.txt").write_text(EVIL if number % 2 else "a stone")
    database = Database(folder / "db")
    run_embedding(plan_embedding([str(folder / "set")], database, "set"), Encoder.load(tiny_model))
    out = folder / "audit"
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "set", "zebra", "--audit", "12", "--db", str(folder / "db"), "--out", str(out)])
    assert caught.value.code == 0
    return out


@pytest.fixture(scope="module")
def page(audit):
    return (audit / "audit.html").read_text()


def test_every_picture_is_in_the_page_and_nothing_outside_is_referred_to(page):
    assert page.count('src="data:image/jpeg;base64,') == page.count('<li class="card"') == 12
    assert re.findall(r"(?:src|href|srcset|action|poster)\s*=\s*\"(?!data:image/jpeg;base64,)[^\"]*", page) == []
    assert "<script>document.title" not in page and "&lt;script&gt;document.title" in page
    assert "default-src 'none'; img-src data:" in page.replace("&#39;", "'")


@pytest.fixture
def browser(tmp_path):
    with opened_browser(tmp_path / "profile") as opened:
        yield opened


def press(browser, keys):
    for key in keys:
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")


@needs_chromium
def test_labels_by_key_are_downloaded_and_fed_back(audit, browser, tmp_path, capsys):
    browser.load(audit / "audit.html")
    press(browser, "yyyyyynnnnu")
    assert browser.ask("document.getElementById('sums').textContent") == "11 labelled: 6 yes, 4 no, 1 unsure"
    assert browser.ask("document.querySelectorAll('.card.current').length") == 1
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.ask("document.getElementById('download').click()")
    downloaded = tmp_path / "labels-zebra.csv"
    for _ in range(100):
        if downloaded.is_file() and downloaded.stat().st_size:
            break
        time.sleep(0.05)
    rows = list(csv.DictReader(io.StringIO(downloaded.read_text())))
    assert [row["label"] for row in rows] == ["yes"] * 6 + ["no"] * 4 + ["unsure", ""]
    shown = [line["key"] for line in csv.DictReader((audit / "labels.csv").open(newline=""))]
    assert [row["key"] for row in rows] == shown
    assert browser.complaints == []
    assert [address for address in browser.requests if not address.startswith(("file:", "data:", "blob:"))] == []
    database = audit.parent / "db"
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "set", "zebra", "--labels", str(downloaded), "--db", str(database), "--out", str(audit)])
    told = capsys.readouterr()
    assert caught.value.code == 0
    assert "by audit of 10 labels" in told.out and "6 yes, 4 no, 1 unsure" in told.err


@needs_chromium
def test_answers_can_be_mended_and_outlive_a_reload(page, browser, tmp_path):
    kept = tmp_path / "audit.html"
    kept.write_text(page)
    browser.load(kept)
    press(browser, ["n", "y", "ArrowLeft", "u"])
    assert browser.ask("[...answers.values()]") == ["no", "unsure"]
    browser.load(kept)
    assert browser.ask("[...answers.values()]") == ["no", "unsure"]
    assert browser.ask("current") == 2
    browser.ask("document.querySelector('button[data-answer=yes]').click()")
    assert browser.ask("[...answers.values()]") == ["no", "unsure", "yes"]
    press(browser, "y" * 9)
    assert browser.ask("document.getElementById('told').textContent").startswith("All 12 are labelled")
    assert browser.ask("document.title").startswith("zebra")


@needs_chromium
def test_it_fits_a_telephone_and_is_readable_without_its_script(page, browser, tmp_path):
    kept = tmp_path / "audit.html"
    kept.write_text(page)
    browser.load(kept, width=360)
    assert browser.ask("document.documentElement.scrollWidth") <= 360
    heights = browser.ask("[...document.querySelectorAll('.answers button')].map((one) => one.offsetHeight)")
    assert min(heights) >= 48
    browser.load(kept, script=False)
    assert browser.call("Runtime.evaluate", expression="1")  # the page is there
    assert page.count("<noscript>") == 1
