"""The report's page: whole without a network, safe with anyone's names, readable on a phone and without plots."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from tailwag.analysis.report import drawing
from tailwag.analysis.report.figures import figures_of
from tailwag.analysis.report.folder import write_figures
from tailwag.analysis.report.page import json_for_script, render_page
from tailwag.analysis.report.parts import report_of
from tailwag.analysis.report.request import FitRequest
from tailwag.analysis.report.study import run_study

from ..browser import needs_chromium, opened_browser
from .made_study import MODELS, SETS, write_study

SCRIPT = "</script><img src=x onerror=alert(1)>"
FORMULA = "$x^$ & <b>bold</b>"
LINE = "two\u2028lines"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    counts, accuracies = write_study(folder, names={0: SCRIPT, 1: FORMULA, 2: LINE})
    for path in (counts, accuracies):  # names of test sets and models are anyone's as well
        path.write_text(
            path.read_text("utf-8").replace("scenes", "<i>scenes</i> $y$").replace("RN50", "<u>RN50"), "utf-8"
        )
    return run_study(FitRequest(counts=(str(counts),), accuracies=(str(accuracies),), replicates=100))


@pytest.fixture(scope="module")
def page(study):
    return render_page(report_of(study))


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


def test_names_cannot_become_markup(page):
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"img", "i", "u"}
    assert len(elements.scripts) == 3
    assert all("onerror" not in attributes for _, attributes in elements.found)


def test_names_are_in_the_plots_as_they_were_written(page):
    plots = json.loads(Elements(page).scripts[0])
    texts = [text for trace in plots["within-0"]["data"] for text in trace.get("text", [])]
    assert drawing.plain(SCRIPT) in texts
    assert drawing.plain(FORMULA) in texts
    assert not any("<" in text for text in texts)
    for plot in plots.values():  # what a chooser compares with is never shown
        for trace in plot["data"]:
            trace.pop("meta", None)
    written = json.dumps(plots, ensure_ascii=False)
    assert not re.search(r"<(?!br>|extra>|/extra>)", written)  # of plotly's own markup two elements, of names none


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.text("<>&/s\u2028\u2029") | st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    )
)
def test_json_in_a_script_says_the_same_and_ends_nothing(value):
    written = json_for_script(value)
    assert json.loads(written) == value
    assert not set("<>&\u2028\u2029") & set(written)


def test_json_refuses_what_no_browser_reads():
    with pytest.raises(ValueError, match="JSON"):
        json_for_script([math.nan])


def test_the_page_names_no_other_place(page):
    elements = Elements(page)
    for _, attributes in elements.found:
        assert not {"src", "href", "srcset", "action"} & set(attributes)
    policy = next(each["content"] for _, each in elements.found if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_every_figure_has_a_sentence_and_the_table_behind_it(page, study):
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) == 7 * len(MODELS) + 1
    for figure in figures:
        caption = re.search(r"<figcaption>(.+?)</figcaption>", figure, re.DOTALL)
        assert caption and len(caption[1]) > 60
        assert figure.count("<tr>") >= 3
        assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", figure)


def test_every_flag_and_every_number_is_on_the_page(page, study):
    for flag in study.fits.flags:
        assert escape(flag.text.split(": ", 1)[-1]) in page
    for number in study.fits.numbers:
        assert escape(number.quantity) in page


def test_the_published_figure_is_drawn_at_upper_edges_with_undrawn_bins_hollow(study, page):
    drawn, hollow, line = json.loads(Elements(page).scripts[0])["published-0"]["data"]
    fit = study.cells[0].published
    assert drawn["x"] == pytest.approx(np.log10(1 + fit.edges[fit.drawn]), abs=1e-3)
    assert drawn["y"] == pytest.approx(100 * fit.means[fit.drawn], abs=1e-3)
    assert len(hollow["x"]) == ((fit.sizes > 0) & ~fit.drawn).sum() > 0
    assert hollow["marker"]["color"] == "rgba(0,0,0,0)"
    assert line["y"][0] == pytest.approx(fit.intercept + fit.slope * np.log10(fit.edges[fit.drawn].min()), abs=1e-3)


def test_every_concept_is_a_point_and_every_test_set_a_line(study, page):
    data = json.loads(Elements(page).scripts[0])["within-0"]["data"]
    points = [trace for trace in data if trace["mode"] == "markers"]
    assert sum(len(trace["x"]) for trace in points) == len(study.cells[0].counts)
    assert len(points) == len(SETS)
    lines = [trace for trace in data if trace["mode"] == "lines" and "meta" in trace]
    assert {trace["meta"] for trace in lines} == {trace["meta"] for trace in points}


def test_figures_for_print_take_a_name_for_no_formula(study, tmp_path):
    chosen = [each for each in figures_of(study.cells) if each[0] in ("slopes-by-set", "zeros")]
    write_figures(tmp_path / "figures", chosen)
    for name, _ in chosen:
        svg = (tmp_path / "figures" / f"{name}.svg").read_text("utf-8")
        assert "&lt;i&gt;scenes&lt;/i&gt; $y$</text>" in svg
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_positions_keep_the_order_of_counts_and_zeros_apart_from_ones(counts):
    placed = drawing.positions(np.array(counts))
    for count, place in zip(counts, placed, strict=True):
        assert abs(place - math.log10(1 + count)) <= (0.12 if count == 0 else 1e-12)


@needs_chromium
def test_a_browser_draws_it_without_a_network_and_on_a_phone(tmp_path, page):
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    with opened_browser(tmp_path / "profile") as browser:
        for width in (1280, 390):
            browser.load(path, width=width)
            shown = "[...document.querySelectorAll('.plot')].filter(plot => !plot.closest('[hidden]'))"
            assert browser.ask(f"{shown}.length") == 10
            assert browser.ask(f"{shown}.every(plot => plot.querySelector('.main-svg'))")
            assert browser.ask(f"{shown}.every(plot => plot.scrollWidth <= plot.clientWidth + 1)")
            assert browser.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        marks = "document.querySelectorAll('[data-plot=within-0] .scatterlayer .points path').length"
        assert browser.ask(marks) == 120
        # Another model is drawn when it is asked for.
        browser.ask("document.querySelectorAll('.models button')[1].click(); 0")
        assert browser.ask("document.querySelector('[data-plot=within-1] .main-svg') !== null")
        assert browser.ask("document.querySelector('section[data-model=\"0\"]').hidden")
        # One test set alone.
        browser.ask(
            "globalThis.chooser = document.querySelector('section[data-model=\"1\"] select');"
            "chooser.value = 'birds'; chooser.dispatchEvent(new Event('change')); 0"
        )
        assert browser.ask("document.querySelectorAll('[data-plot=within-1] .scatterlayer .points path').length") == 40
        assert browser.complaints == []
        assert {address.split(":")[0] for address in browser.requests} <= {"file", "data", "blob"}
