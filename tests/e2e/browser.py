"""A headless browser that a test can drive: it clicks what is shown and types where it clicked."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=1500,1400",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip

FIND = """
(words, exact, nth) => {
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const named = (e) => [e.innerText, e.getAttribute("aria-label"), e.getAttribute("placeholder"),
    e.value].filter(Boolean).map((text) => text.trim());
  const fits = (text) => exact ? text === words : text.includes(words);
  const kinds = "button, a, input, textarea, label, [role], li, span";
  const found = [...document.querySelectorAll(kinds)]
    .filter((e) => shown(e) && named(e).some(fits));
  if (!found.length) return null;
  const last = found.filter((e) => !found.some((o) => o !== e && e.contains(o)));
  if (!last[nth]) return null;
  last[nth].scrollIntoView({block: "center"});
  const box = last[nth].getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}
"""


class Page:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection, pictures: Path) -> None:
        self._socket, self._pictures = socket, pictures
        self._ids = itertools.count(1)
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the browser and wait for its answer."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return told["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def text(self) -> str:
        """What a person can read, frames inside the page too."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait(self, ready: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """What ``ready`` gives as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            if time.monotonic() > deadline:
                self.picture(f"missed-{re.sub('[^a-z0-9]+', '-', what.lower())}")
                raise AssertionError(f"{what}: not within {seconds} s; the page says {self.text()}")
            time.sleep(0.3)
        return found

    def says(self, words: str, seconds: float = 60) -> None:
        """Wait until the page shows some words."""
        self.wait(lambda: words.lower() in self.text().lower(), words, seconds)

    def click(self, words: str, nth: int = 0, *, exact: bool = True, seconds: float = 30) -> None:
        """Click what bears some words, the first one or a later one."""
        script = f"({FIND})({json.dumps(words)}, {json.dumps(exact)}, {nth})"
        x, y = self.wait(lambda: self.run(script), f"click {words}", seconds)
        self.click_at(x, y)

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def rest(self) -> None:
        """Move the mouse where it is not over a message, which would stay then."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=300, y=70)

    def type(self, text: str) -> None:
        """Replace the text of what has the focus."""
        self.run("document.activeElement.select && document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def picture(self, name: str) -> Path:
        """A screenshot of the whole window, for people."""
        path = self._pictures / f"{name}.png"
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@contextmanager
def browser(pictures: Path) -> Iterator[Page]:
    """A page of a browser with a profile that is thrown away."""
    assert CHROMIUM is not None
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_address(Path(profile)), max_size=None) as socket:
                yield Page(socket, pictures)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _address(profile: Path) -> str:
    """Where the browser lets its page be driven."""
    deadline = time.monotonic() + 60
    port = profile / "DevToolsActivePort"
    while not port.exists() or not port.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    number = port.read_text().split()[0]
    while True:
        with urlopen(f"http://127.0.0.1:{number}/json/list") as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline
        time.sleep(0.1)
