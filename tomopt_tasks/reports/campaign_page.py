"""The page of a campaign: one HTML file that needs nothing outside itself."""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from tomopt_tasks.reports import html
from tomopt_tasks.reports.campaign_data import (
    CampaignData,
    TableData,
    entry_label,
    worst_offset,
)
from tomopt_tasks.reports.campaign_figures import (
    cost_figure,
    exposure_record,
    histories_figure,
    looks_of,
    table_forest,
    tables_forest,
)
from tomopt_tasks.reports.campaign_goals import goal_rows
from tomopt_tasks.reports.campaign_table import (
    MM,
    campaign_csv,
    fit_times,
    member_rows,
    ties,
    without_ties,
)
from tomopt_tasks.reports.campaign_words import (
    campaign_headline,
    campaign_verdict,
    capital,
    main_entry,
    outcome,
    table_sentence,
)
from tomopt_tasks.reports.export import detector_csv, detector_table, detector_yaml
from tomopt_tasks.reports.exposure import exposure_figure
from tomopt_tasks.reports.forest import ForestRow, forest_figure
from tomopt_tasks.reports.numbers import duration, interval, rounded
from tomopt_tasks.reports.scene import scene_in_mm
from tomopt_tasks.reports.search_page import search_section
from tomopt_tasks.reports.side_view import side_view_figure
from tomopt_tasks.reports.solid import detector_faces, solid_svg
from tomopt_tasks.reports.style import inline_svg, recolour
from tomopt_tasks.reports.table import older_note

_GOAL = ("goal", "wanted", "got", "result")

MOST_PICTURES = 3
"""Tables whose detectors are drawn; further tables show numbers and curves only."""


def render_campaign(data: CampaignData) -> str:
    """The whole page; equal data give equal bytes."""
    assets = files("tomopt_tasks.reports") / "assets"
    css, js, page = (
        (assets / name).read_text("utf-8") for name in ("page.css", "page.js", "page.html")
    )
    links, sections = _sections(data)
    return Template(page).substitute(
        title=escape(data.title),
        css=css,
        js=js,
        kicker=escape(_kicker(data)),
        outcome=outcome(data),
        headline=escape(campaign_headline(data)),
        verdict=escape(campaign_verdict(data)),
        cards=_cards(data),
        nav="".join(f'<a href="#{anchor}">{escape(short)}</a>' for anchor, short in links),
        sections="\n".join(sections),
    )


def _kicker(data: CampaignData) -> str:
    known = ("finished", "code")
    parts = [f"campaign {data.campaign}", f"{data.n_members} members"]
    parts += [f"{key} {data.provenance[key]}" for key in known if data.provenance.get(key)]
    return " · ".join(parts)


def _cards(data: CampaignData) -> str:
    cards = []
    for table in data.tables:
        name = main_entry(table)
        if name is None:
            continue
        entry = table.record["entries"][name]
        pair, n = entry["against"], len(entry["repeats"])
        head = f"{table.label}: MSE ratio" if table.label else "MSE ratio"
        words = f"to {entry_label(table.reference)}; 95 %: {interval(pair['low'], pair['high'])}"
        cards.append((head, rounded(pair["ratio"]), words))
        if n > 1:
            cards.append(("Seeds that win", f"{entry['wins']} of {n}", _seed_words(table, name)))
    return "".join(
        f"<div><dt>{escape(head)}</dt><dd>{escape(value)}<small>{escape(words)}</small></dd></div>"
        for head, value, words in cards
    )


def _seed_words(table: TableData, name: str) -> str:
    worst, times = worst_offset(table, name), fit_times(table, name)
    parts = [] if worst is None else [f"modules within {MM * worst:.0f} mm of the middle"]
    parts += [f"{duration(sum(times) / len(times))} a fit"] if times else []
    return "; ".join(parts)


def _sections(data: CampaignData) -> tuple[list[tuple[str, str]], list[str]]:
    """Links and sections, in order."""
    links: list[tuple[str, str]] = []
    sections: list[str] = []
    if data.search is not None:
        links.append(("search", "search"))
        sections.append(search_section(data.search, data.tables[0].target, data.campaign))
    rows = tables_forest(data.tables)
    if len(rows) > 1:
        links.append(("all", "all comparisons"))
        sections.append(_overview(rows))
    for index, table in enumerate(data.tables):
        anchor = f"t{index}"
        links.append((anchor, table.label or "comparison"))
        goal = data.goals.get(table.label)
        sections += _table_sections(table, anchor, goal, pictures=index < MOST_PICTURES)
    links += [("export", "export"), ("again", "make it again")]
    sections.append(_export(data))
    sections.append(_again(data))
    return links, sections


def _overview(rows: list[ForestRow]) -> str:
    read = (
        "The best fit of each comparison against the best baseline of the same one, pooled over "
        "its seeds. Rows see other muons, objects or acceptances: they are not to be compared "
        "with each other, only each with the line at 1."
    )
    picture = inline_svg(
        forest_figure(rows, "the best baseline of its row"), salt="all", alt="All comparisons"
    )
    return html.section("all", "All comparisons", read, f"<figure>{picture}</figure>")


def _table_sections(
    table: TableData, anchor: str, goal: Mapping[str, Any] | None, *, pictures: bool
) -> list[str]:
    title = f"{table.label}: " if table.label else ""
    made = [_comparison(table, anchor, title, goal), _curves(table, anchor, title)]
    if pictures and table.predictions:
        made.append(_pictures(table, anchor, title))
    return made


def _comparison(table: TableData, anchor: str, title: str, goal: Mapping[str, Any] | None) -> str:
    against = entry_label(table.reference)
    rows = table_forest(table)
    forest = ""
    if rows:
        alt = f"Error of each design over that of {against}"
        picture = inline_svg(forest_figure(rows, against), salt=f"{anchor}f", alt=alt)
        forest = f"<figure>{picture}</figure>"
    board = html.table(without_ties(table), words=("design",)) + html.listed(ties(table))
    listed = html.table(member_rows(table), words=("design", "seed"))
    read = (
        f"{escape(capital(table_sentence(table)))} All designs see the same volumes and muons, "
        "each is calibrated on the validation bank. Rows of one seed: 95 % intervals over volumes. "
        "Pooled rows: bootstrap over volumes and seeds together. Equal ranks are ties: the "
        "interval of their ratio to the first of the rank holds 1."
    )
    read += f" {escape(older_note(table.older))}" if table.older else ""
    wishes = html.table(goal_rows(table, goal), words=_GOAL) if goal else ""
    goals = f"<h3>What was wanted</h3>{wishes}" if wishes else ""
    return html.section(
        anchor, capital(f"{title}does it win?"), read, forest, goals, "<h3>Leaderboard</h3>", board,
        f"<details><summary>every design and seed in numbers</summary>{listed}</details>",
    )  # fmt: skip


def _curves(table: TableData, anchor: str, title: str) -> str:
    parts = []
    if any(table.histories.values()):
        picture = inline_svg(
            histories_figure(table), salt=f"{anchor}h", alt="Training loss of all fits"
        )
        parts.append(f"<h3>How the fits went</h3><figure>{picture}</figure>")
    record = exposure_record(table)
    if any(design["exposure"] for design in record["designs"].values()):
        figure = exposure_figure(record, table.target, looks_of(table))
        picture = inline_svg(figure, salt=f"{anchor}e", alt="Error over exposure")
        parts.append(f"<h3>Error against exposure</h3><figure>{picture}</figure>")
    picture = inline_svg(cost_figure(table), salt=f"{anchor}c", alt="Error against cost")
    parts.append(f"<h3>Error against cost</h3><figure>{picture}</figure>")
    read = "Thin lines: single seeds. Error bars of exposures: one standard error over seeds."
    return html.section(
        f"{anchor}-curves", capital(f"{title}fits, exposure and cost"), read, *parts
    )


def _pictures(table: TableData, anchor: str, title: str) -> str:
    looks = looks_of(table)
    shown = {name: looks[entry] for name, (entry, _) in table.shown.items()}
    entry, label = table.best
    best = table.repeat(entry, label)
    side = inline_svg(
        side_view_figure(table.study, table.predictions, list(table.predictions), shown),
        salt=f"{anchor}s", alt="Side view of the detectors to scale",
    )  # fmt: skip
    scene = scene_in_mm(table.study)
    solids = []
    for name, (other, repeat) in table.shown.items():
        faces = detector_faces(
            scene, table.repeat(other, repeat)["geometry"], table.predictions.get(name)
        )
        colour, caption = recolour(looks[other].colour), entry_label(other)
        svg = solid_svg(faces, scene, colour=colour, alt=f"{caption} detector in space")
        solids.append(f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>")
    comment = f"{table.label} {entry_label(entry)}, {label}; lengths in m".strip()
    yaml, csv = detector_yaml(best["geometry"], comment=comment), detector_csv(best["geometry"])
    name = "-".join(part for part in (anchor, entry, label) if part != "-").replace(" ", "-")
    read = (
        f"The best of {escape(entry_label(entry))} on the validation bank ({escape(label)}), "
        "beside the best baseline. Drag a picture in space, or use the arrow keys, to turn all."
    )
    return html.section(
        f"{anchor}-best", capital(f"{title}the best design"), read, f"<figure>{side}</figure>",
        f'<div class="solids">{"".join(solids)}</div>',
        html.table(detector_table(best["geometry"])),
        html.download(csv, f"{name}.csv", "text/csv"),
        html.download(yaml, f"{name}.yaml", "application/yaml"),
    )  # fmt: skip


def _export(data: CampaignData) -> str:
    text = campaign_csv(data.tables)
    read = "Every design and seed of every comparison, numbers in full."
    link = html.download(text, f"{data.campaign}.csv", "text/csv")
    return html.section("export", "Export", read, link)


def _again(data: CampaignData) -> str:
    parts = ["<h3>Make it again</h3>", html.code_block("command", data.command)]
    if data.missing:
        rows = [{"member": name, "why": why} for name, why in data.missing.items()]
        listed = html.table(rows, words=("member", "why"))
        parts += ["<h3>Members that are missing</h3>", listed]
    if data.provenance:
        parts += ["<h3>Versions</h3>", html.facts(data.provenance)]
    return html.section("again", "Where it comes from", "", *parts)
