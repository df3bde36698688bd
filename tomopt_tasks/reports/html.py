"""Small pieces of HTML: tables, definition lists, figures with captions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tomopt_tasks.reports.style import data_link

Row = Mapping[str, str]


def table(
    rows: Sequence[Row],
    *,
    words: Sequence[str] = (),
    ours: int | None = None,
    colours: Sequence[str] = (),
) -> str:
    """A table of equal rows.

    Args:
        rows: column -> text.
        words: columns with text rather than numbers, set to the left.
        ours: the row to stress.
        colours: CSS colour of a dot before each row.
    """
    if not rows:
        return ""
    head = "".join(
        f'<th scope="col"{_class(name in words)}>{escape(name)}</th>' for name in rows[0]
    )
    body = []
    for index, row in enumerate(rows):
        dot = f'<span class="dot" style="background:{colours[index]}"></span>' if colours else ""
        cells = [f"<td{_class(name in words)}>{escape(text)}</td>" for name, text in row.items()]
        cells[0] = cells[0].replace(">", f">{dot}", 1)
        mark = ' class="ours"' if index == ours else ""
        body.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _class(words: bool) -> str:  # noqa: FBT001
    return ' class="words"' if words else ""


def facts(values: Mapping[str, Any]) -> str:
    """A definition list; mappings inside become one line each."""
    items = []
    for name, value in values.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        if isinstance(value, Mapping):
            shown = ", ".join(f"{key} {inner}" for key, inner in value.items())
        elif isinstance(value, (list, tuple)):
            shown = ", ".join(map(str, value))
        items.append(f"<dt>{escape(str(name))}</dt><dd>{escape(str(shown))}</dd>")
    return f'<dl class="facts">{"".join(items)}</dl>'


def listed(sentences: Sequence[str]) -> str:
    """Sentences below each other; nothing if there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ""


def section(anchor: str, title: str, read: str, *body: str) -> str:
    """A section with a line on how to read it."""
    lead = f'<p class="read">{read}</p>' if read else ""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{lead}{"".join(body)}</section>'


def code_block(anchor: str, text: str) -> str:
    """Text to copy, with a button."""
    return f'<pre id="{anchor}">{escape(text)}</pre><button data-copy="{anchor}">copy</button>'


def download(content: str, filename: str, media_type: str) -> str:
    """A link that saves ``content``, which lies in the link itself."""
    href = data_link(content, media_type)
    return (
        f'<a class="button" download="{escape(filename)}" href="{href}">'
        f"download {escape(filename)}</a>"
    )


def image(content: bytes, media_type: str, alt: str) -> str:
    """A picture made of pixels, in the page itself."""
    href = data_link(content, media_type)
    return f'<figure><img class="pixels" alt="{escape(alt)}" src="{href}"></figure>'
