import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tomopt_tasks.reports import render_html, render_markdown
from tomopt_tasks.reports.export import detector_csv
from tomopt_tasks.reports.page import _stages
from tomopt_tasks.reports.solid import PITCH, YAW

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects what a page links to, its ids and its text; fails on tags that do not match."""

    def __init__(self):
        super().__init__()
        self.links, self.ids, self.words, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # noqa: ARG002
        values = dict(attrs)
        self.links += [values[k] for k in ("href", "src", "xlink:href", "data") if values.get(k)]
        self.ids += [values["id"]] if "id" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open[-1:]):
            self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(report):
    return render_html(report)


def test_equal_data_give_equal_bytes(report, page):
    assert render_html(report) == page
    assert render_markdown(report) == render_markdown(report)


def test_page_reaches_for_nothing_outside_itself(page):
    outside = [link for link in read(page).links if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "http" not in page.lower()
    assert not re.search(r"@import|url\((?!#)", page)


def test_page_says_when_the_fit_saw_nothing(report, page):
    blind = {**report.history[-1], "loss": None, "skipped_volumes": 8}
    said = "too few muons were accepted to predict any volume"
    assert said not in page
    assert said in render_html(replace(report, history=[*report.history, blind]))


def test_page_is_light(page):
    assert len(page.encode()) < 1_500_000


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(page):
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_page_opens_with_the_verdict_and_then_the_three_pictures_and_the_waterfall(page):
    marks = [
        "The optimised detector measures the fill height to", 'id="comparison"', 'id="why"',
        'id="exposure"', 'id="muons"', 'id="space"', 'id="fit"', 'id="predicted"', 'id="table"',
        'id="detector"', 'id="stages"', 'id="again"',
    ]  # fmt: skip
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)


def test_page_tells_the_numbers_the_command_and_the_seeds(report, page):
    words = " ".join(" ".join(read(page).words).split())
    fit = report.evaluation["designs"]["fit"]
    assert f"{1000 * fit['rmse']:.1f} ± " in words
    for text in ("better than baseline 1", "tie with baseline 1", "6.000", "1405.300",
                 "tomopt run data/studies/ladle_furnace.yaml", "study 1, muons 1", "torch 2.13.0",
                 "13 of 36 stages ran", "10 epochs cached"):  # fmt: skip
        assert text in words


def test_downloads_hold_the_detector(report, page):
    found = re.findall(r'download="([^"]+)" href="data:([^;]+);base64,([^"]+)"', page)
    files = {name: base64.b64decode(content).decode() for name, _, content in found}
    geometry = report.evaluation["designs"]["fit"]["geometry"]
    assert files["ladle-furnace-fit.csv"] == detector_csv(geometry)
    assert "groups:" in files["ladle-furnace-fit.yaml"]


def test_page_of_an_evaluation_alone_is_made(report):
    bare = replace(report, predictions={}, history=(), stages=(), provenance={}, command="")
    reader = read(render_html(bare))
    assert "stages" not in reader.ids
    assert "why" not in reader.ids
    assert {"comparison", "exposure", "table", "detector"} <= set(reader.ids)


@pytest.mark.parametrize(
    ("status", "words"), [("ran", "All 36 stages ran"), ("cached", "No stage ran: all 36 were")]
)
def test_a_first_run_and_a_cached_one_say_so(report, status, words):
    stages = [{**stage, "status": status} for stage in report.stages]
    assert words in _stages(replace(report, stages=stages))


def test_titles_and_labels_are_text_not_markup(report):
    odd = replace(
        report,
        predictions={},
        history=(),
        title="<script>alert(1)</script> & Co $css",
        command="tomopt run '<b>.yaml'",
        provenance={"note": "<i>"},
    )
    text = render_html(odd)
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Co $css" in text


def test_script_starts_from_the_view_that_is_drawn(page):
    assert f"let yaw = {YAW}, pitch = {PITCH};" in page


def test_markdown_holds_verdict_table_pictures_and_graph(report):
    text = render_markdown(report)
    assert text.startswith("# Ladle furnace: Beats baseline 1, the best baseline\n")
    assert "| optimised | 26.6 ± 1.2 |" in text
    pictures = re.findall(r"!\[[^]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", text)
    assert len(pictures) == 2
    for picture in pictures:
        root = ET.fromstring(base64.b64decode(picture))
        assert root.tag.endswith("svg")
        assert root[0].get("fill") == "#fefefd"
    assert "```mermaid\ngraph LR\n" in text
    assert len(text) < 100_000
