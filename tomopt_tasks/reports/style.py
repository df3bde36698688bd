"""How figures look, and how they become SVG that follows the page's light or dark colours."""

import base64
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tomopt_tasks.reports.data import design_label
from tomopt_tasks.reports.numbers import raised

P = ParamSpec("P")
R = TypeVar("R")

WIDTH = 9.6
"""Full width of the page [inch]."""

INK, MUTED, FAINT, PAPER = "#1d2127", "#5c6570", "#d3d8de", "#fefefd"
"""Text, secondary text, grid lines, ground."""

STEEL, BATH, SLAG, PHASE = "#8a919b", "#e3a15c", "#cdbd8e", "#eef1f5"
"""Ladle walls, liquid steel, slag, bands of phases."""

THEME = {
    INK: "ink", MUTED: "muted", FAINT: "faint", PAPER: "paper",
    STEEL: "steel", BATH: "bath", SLAG: "slag", PHASE: "phase",
}  # fmt: skip

_NAMED = {"start": "#767e89", "fit": "#0068b5", "baseline_1": "#c85d0c", "baseline_2": "#0e8160"}
_SPARE = ("#a8438f", "#3d9bd9", "#8a6a14", "#6c5bb0", "#b3364a", "#3f7d20")
_MARKERS = {"start": "s", "fit": "o", "baseline_1": "^", "baseline_2": "D"}
_SPARE_MARKERS = ("v", "P", "X", "<", ">", "h")

SERIES_COLOURS = (*_NAMED.values(), *_SPARE)
"""All series colours, in the order of the page's variables --c0, --c1 ..."""

_RC: Any = {
    "font.family": ["DejaVu Sans"], "font.size": 8.5, "axes.titlesize": 9, "axes.labelsize": 8.5,
    "axes.titlelocation": "left", "axes.titleweight": "bold", "legend.fontsize": 8.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.edgecolor": MUTED, "axes.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.6, "lines.markersize": 5,
    "legend.frameon": False, "figure.facecolor": PAPER, "axes.facecolor": "none",
    "figure.constrained_layout.use": True, "svg.fonttype": "none", "path.simplify": True,
    "image.interpolation": "nearest", "savefig.facecolor": "none",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """How one design is drawn, the same in every figure."""

    label: str
    colour: str
    marker: str


def series(names: Iterable[str]) -> dict[str, Series]:
    """A colour and a marker for each design: fixed for the usual ones, spare ones for others."""
    styles, spare = {}, 0
    for name in names:
        if name in _NAMED:
            styles[name] = Series(design_label(name), _NAMED[name], _MARKERS[name])
            continue
        at = spare % len(_SPARE)
        styles[name] = Series(design_label(name), _SPARE[at], _SPARE_MARKERS[at])
        spare += 1
    return styles


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw under the report's style, without touching anyone else's settings."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_RC):
            return draw(*args, **kwargs)

    return wrapper


def powers_of_ten(axis: Any, *, plain: bool = False) -> None:  # noqa: ANN401
    """Label a logarithmic axis in plain characters (10⁻³), which stay text in an SVG.

    Call it when the limits are final: a short axis gets labels at 2 and 5, too.

    Args:
        axis: x or y axis.
        plain: write 0.01 and 100 rather than powers, where that is short.
    """

    def label(value: float, _position: int | None) -> str:
        if plain and 1e-3 <= value < 1e4:
            return f"{value:g}"
        mantissa, exponent = f"{value:.0e}".split("e")
        head = "" if mantissa == "1" else f"{mantissa}·"
        return f"{head}10{raised(int(exponent))}" if value > 0 else ""

    low, high = axis.get_view_interval()
    short = high < 50 * max(low, 1e-300)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.set_major_formatter(FuncFormatter(label))
    axis.set_minor_formatter(NullFormatter())


def plain_log(axis: Any, ticks: Iterable[float]) -> None:  # noqa: ANN401
    """Label a logarithmic axis with these plain numbers and no others."""
    values = list(ticks)
    axis.set_ticks(values, labels=[f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def note(ax: Axes, text: str) -> None:
    """A quiet remark in the middle of an axis that has nothing to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=MUTED)


def svg_of(figure: Figure, *, salt: str) -> str:
    """A figure as a complete SVG document, the same bytes for the same figure.

    Args:
        figure: drawn by one of the report's functions.
        salt: makes the ids of two figures on one page differ.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    return re.sub(r"<!DOCTYPE.*?>\s*|<\?xml.*?\?>\s*", "", text, flags=re.DOTALL)


def inline_svg(figure: Figure, *, salt: str, alt: str) -> str:
    """A figure as an element of the page, its colours replaced by the page's variables."""
    text = svg_of(figure, salt=salt)
    used = set(re.findall(r"""(?:url\(|href=")#([^"')]+)""", text))
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', text, count=1)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<g>\s*</g>\s*", "", text)
    return recolour(text)


def recolour(text: str) -> str:
    """Colours of the style as variables of the page, so that dark mode can change them."""
    for colour, name in THEME.items():
        text = text.replace(colour, f"var(--{name})")
    for index, colour in enumerate(SERIES_COLOURS):
        text = text.replace(colour, f"var(--c{index})")
    return text


def data_link(content: str | bytes, media_type: str) -> str:
    """A ``data:`` address that holds the content itself."""
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(raw).decode()}"
