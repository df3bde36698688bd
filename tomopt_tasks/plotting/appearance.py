"""How the figures look; change the constants before a figure is drawn."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import matplotlib as mpl
from cycler import cycler
from numpy.typing import ArrayLike

P = ParamSpec("P")
R = TypeVar("R")

TK_SZ = 16
"""Size of the tick labels [pt]."""
TK_COL = "black"
"""Colour of the tick labels."""
LBL_SZ = 22
"""Size of the axis labels [pt]."""
LBL_COL = "black"
"""Colour of the axis labels."""
LEG_SZ = 16
"""Size of the legends [pt]."""
CAT_PALETTE = "tab10"
"""Colours of categories; they repeat when there are more categories than colours."""
STYLE = {"style": "whitegrid", "rc": {"patch.edgecolor": "none"}}
"""Name of the style (kept for those who pass it to seaborn) and further settings of matplotlib."""
H_MID = 8
"""Height of a figure [inch]."""
W_MID = H_MID * 16 / 9
"""Width of a figure [inch]."""


@runtime_checkable
class Table(Protocol):
    """A DataFrame, or any mapping from names to columns."""

    def __getitem__(self, name: str, /) -> ArrayLike:
        """A column."""
        ...


def settings() -> dict[str, Any]:
    """The settings of matplotlib under which figures are drawn."""
    palette = mpl.colormaps[CAT_PALETTE]
    return {
        "axes.grid": True, "grid.color": "0.8", "axes.edgecolor": "0.8", "axes.axisbelow": True,
        "axes.facecolor": "white", "figure.facecolor": "white",
        "axes.labelsize": LBL_SZ, "axes.labelcolor": LBL_COL, "axes.titlesize": LBL_SZ,
        "xtick.labelsize": TK_SZ, "ytick.labelsize": TK_SZ,
        "xtick.color": TK_COL, "ytick.color": TK_COL, "legend.fontsize": LEG_SZ,
        "axes.prop_cycle": cycler(color=[palette(k) for k in range(palette.N)]),
        **STYLE["rc"],  # type: ignore[dict-item]
    }  # fmt: skip


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw under these settings without touching anyone else's."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(settings()):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return wrapper


def category_colour(index: int) -> Any:  # noqa: ANN401 - matplotlib's colours have no type
    """Colour of a category; starts again after the last one (D-47)."""
    palette = mpl.colormaps[CAT_PALETTE]
    return palette(index % palette.N)
