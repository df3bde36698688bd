"""Figures without pyplot, and films made of them."""

import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

MIN_FRAME = 20
"""Shortest time that viewers show one picture of a film [ms]."""

FILM_DPI = 60
"""Resolution of the pictures of a film [1/inch]."""


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself, whether or not pyplot was ever imported."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


def new_figure(size: tuple[float, float], *, layout: str | None = "constrained") -> Figure:
    """An empty figure that belongs to no window.

    Args:
        size: width and height [inch].
        layout: matplotlib's layout engine; None for axes placed by hand.
    """
    return NotebookFigure(figsize=size, layout=layout)  # type: ignore[arg-type]


def finish(figure: Figure, savename: str | Path | None) -> Figure:
    """Save the figure if a name is given, and give it back."""
    if savename is not None:
        figure.savefig(savename, bbox_inches="tight")
    return figure


def png_of(figure: Figure, dpi: float = 100) -> bytes:
    """The figure as a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save_gif(figures: Iterable[Figure], path: str | Path, length: float) -> None:
    """Save figures of equal size as a film that repeats.

    Args:
        figures: the pictures, in order; drawn one at a time.
        path: where to write the film.
        length: duration of one pass [s].
    """
    film = film_of(figures, length)
    if film:
        Path(path).write_bytes(film)


def film_of(figures: Iterable[Figure], length: float) -> bytes:
    """The film that :func:`save_gif` saves; empty without pictures.

    Duration of a frame is in ms, as Pillow wants it (D-49).
    """
    frames = [_palette_image(png_of(figure, FILM_DPI)) for figure in figures]
    buffer = io.BytesIO()
    if frames:
        duration = max(MIN_FRAME, round(1000 * length / len(frames)))
        frames[0].save(
            buffer, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0
        )
    return buffer.getvalue()


def _palette_image(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
