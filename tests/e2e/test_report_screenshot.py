"""The report in a real browser: it opens offline, without errors, and shows something."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.unit.reports.report_example import example_report
from tomopt_tasks.reports import render_html

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip
TURN = """
const press = (key) => document.querySelector("svg.solid").dispatchEvent(
  new KeyboardEvent("keydown", {key: key, bubbles: true}));
const corners = () => [...document.querySelectorAll("svg.solid .panel")]
  .sort((a, b) => a.dataset.at + a.dataset.n < b.dataset.at + b.dataset.n ? -1 : 1)
  .flatMap((panel) => panel.getAttribute("points").split(/[ ,]/).map(Number));
const apart = (a, b) => Math.max(...a.map((value, index) => Math.abs(value - b[index])));
document.querySelectorAll("svg.solid .panel").forEach((panel, n) => { panel.dataset.n = n; });
const before = corners();
press("ArrowRight");
document.body.dataset.turned = apart(before, corners());
press("ArrowLeft");
document.body.dataset.restored = apart(before, corners());
"""
REQUESTS = """
addEventListener("load", () => {
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.body.dataset.requests = asked.filter((name) => !name.startsWith("data:")).length;
});
"""
WIDE = """
const root = document.documentElement;
document.body.dataset.wide = root.scrollWidth > root.clientWidth;
"""


def browse(page: Path, *options: str) -> subprocess.CompletedProcess:
    """Open a page in a browser of its own, with a profile that is thrown away."""
    profile = page.parent / f"profile-{len(list(page.parent.iterdir()))}"
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def with_script(page: Path, script: str) -> Path:
    """A copy of the page that also runs ``script``."""
    changed = page.with_name(f"changed-{len(list(page.parent.iterdir()))}.html")
    text = page.read_text(encoding="utf-8")
    changed.write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return changed


def console(done: subprocess.CompletedProcess) -> list[str]:
    """What scripts and the page itself wrote to the browser's console."""
    return re.findall(r"CONSOLE[^\n]*", done.stderr)


def picture(page: Path, *options: str) -> np.ndarray:
    """[row, column, RGB] from 0 to 1."""
    target = page.parent / f"shot-{len(list(page.parent.iterdir()))}.png"
    browse(page, f"--screenshot={target}", "--window-size=1200,6400", *options)
    return matplotlib.image.imread(target)[:, :, :3]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(example_report()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(page):
    return browse(page, "--dump-dom")


def test_page_opens_without_a_word_on_the_console(opened):
    assert console(opened) == []


def test_an_error_would_be_seen_on_the_console(page):
    broken = with_script(page, "missing()")
    assert "missing is not defined" in " ".join(console(browse(broken, "--dump-dom")))


def test_page_asks_for_nothing_and_a_request_would_be_seen(page):
    asked = browse(with_script(page, REQUESTS), "--dump-dom").stdout
    assert 'data-requests="0"' in asked
    leaky = f"new Image().src = 'http://example.org/x';{REQUESTS}"
    assert 'data-requests="1"' in browse(with_script(page, leaky), "--dump-dom").stdout


def test_browser_shows_verdict_numbers_and_command(opened):
    text = unescape(re.sub(r"<[^>]+>", " ", opened.stdout))
    for words in (
        "Beats baseline 1, the best baseline",
        "Where the muons go",
        "Predicted against true fill height",
        "better than baseline 1",
        "13 of 36 stages ran",
        "tomopt run data/studies/ladle_furnace.yaml",
    ):
        assert words in text


def test_pictures_in_space_turn_and_agree_with_those_drawn_before(page):
    dom = browse(with_script(page, TURN), "--dump-dom").stdout
    turned, restored = (
        float(re.search(rf'data-{word}="([^"]+)"', dom)[1]) for word in ("turned", "restored")
    )
    assert turned > 20
    assert restored <= 1


def test_page_is_drawn_from_top_to_bottom_in_the_colours_of_the_designs(page):
    shot = picture(page)
    ground = shot[2, 2]
    assert ground.mean() > 0.97
    ink = (np.abs(shot - ground).max(axis=2) > 0.2).mean(axis=1)
    for band in np.array_split(ink[:6000], 12):
        assert band.max() > 0.02
    for colour in ((0x00, 0x68, 0xB5), (0xC8, 0x5D, 0x0C), (0x0E, 0x81, 0x60)):
        seen = np.abs(255 * shot - np.array(colour)).max(axis=2) < 6
        assert seen.sum() > 500


def test_dark_mode_is_dark_and_its_lines_are_light(page):
    shot = picture(page, "--blink-settings=preferredColorScheme=0")
    assert shot[2, 2].mean() < 0.15
    light = shot.min(axis=2) > 0.75
    assert light.sum() > 5000
    assert shot.mean() < 0.3


def test_narrow_page_scrolls_pictures_inside_and_not_the_page(page):
    dom = browse(with_script(page, WIDE), "--dump-dom", "--window-size=500,900").stdout
    assert 'data-wide="false"' in dom
