"""The report: one HTML page that needs nothing outside itself."""

from collections.abc import Callable
from html import escape
from importlib.resources import files
from string import Template

from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import ReportData, design_label, final_design, shown_designs
from tomopt_tasks.reports.densities import density_section
from tomopt_tasks.reports.export import detector_csv, detector_table, detector_yaml
from tomopt_tasks.reports.exposure import exposure_figure
from tomopt_tasks.reports.forest import forest_figure, forest_rows
from tomopt_tasks.reports.graph import graph_svg
from tomopt_tasks.reports.heat_maps import heat_map_section
from tomopt_tasks.reports.history import history_figure
from tomopt_tasks.reports.limits import LAST, limit_table
from tomopt_tasks.reports.monitors import film_section
from tomopt_tasks.reports.numbers import duration, interval, rounded, with_error
from tomopt_tasks.reports.objects import object_section
from tomopt_tasks.reports.predicted import predicted_figure
from tomopt_tasks.reports.scene import MM, scene_in_mm
from tomopt_tasks.reports.side_view import side_view_figure
from tomopt_tasks.reports.solid import detector_faces, solid_svg
from tomopt_tasks.reports.standing import blind_epochs
from tomopt_tasks.reports.style import inline_svg, recolour, series
from tomopt_tasks.reports.table import comparison_table, older_note, per_target_table
from tomopt_tasks.reports.verdict import headline, outcome_of, reference_words, verdict
from tomopt_tasks.reports.waterfall import waterfall_figure


def render_html(data: ReportData) -> str:
    """The whole page; equal data give equal bytes."""
    assets = files("tomopt_tasks.reports") / "assets"
    css, js, page = (
        (assets / name).read_text("utf-8") for name in ("page.css", "page.js", "page.html")
    )
    made = [(anchor, short, build(data)) for anchor, short, build in _SECTIONS]
    shown = [(anchor, short, body) for anchor, short, body in made if body]
    pair = data.evaluation["paired"].get(final_design(data.evaluation))
    return Template(page).substitute(
        title=escape(data.title),
        css=css,
        js=js,
        kicker=escape(_kicker(data)),
        outcome=outcome_of(pair) if pair else "tie",
        headline=escape(headline(data.evaluation)),
        verdict=escape(verdict(data.evaluation, data.target)),
        cards=_cards(data),
        nav="".join(f'<a href="#{anchor}">{short}</a>' for anchor, short, _ in shown),
        sections="\n".join(body for _, _, body in shown),
    )


def _kicker(data: ReportData) -> str:
    """The line above the title: study, seed, and when and by which code, if known."""
    parts = [f"study {data.study.get('study', data.title)}"]
    if "seed" in data.study:
        parts.append(f"seed {data.study['seed']}")
    known = ("run", "finished", "code")
    parts += [f"{key} {data.provenance[key]}" for key in known if key in data.provenance]
    return " · ".join(parts)


def _cards(data: ReportData) -> str:
    """The few numbers that one wants to see first."""
    designs, target = data.evaluation["designs"], data.target
    cards = []
    for name in dict.fromkeys((final_design(data.evaluation), *shown_designs(data.evaluation))):
        design = designs[name]
        error = with_error(target.scale * design["rmse"], target.scale * design["rmse_se"])
        words = f"RMSE of the {target.name}"
        cards.append((design_label(name), f"{error} {target.shown}", words))
    pair = data.evaluation["paired"].get(final_design(data.evaluation))
    if pair:
        words = f"95 %: {interval(pair['low'], pair['high'])}"
        cards.insert(
            1, (f"MSE ratio to {design_label(pair['against'])}", rounded(pair["ratio"]), words)
        )
    return "".join(
        f"<div><dt>{escape(head)}</dt><dd>{escape(value)}<small>{escape(words)}</small></dd></div>"
        for head, value, words in cards
    )


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>"


def _forest(data: ReportData) -> str:
    against = design_label(data.evaluation["reference"])
    rows = forest_rows(data.evaluation)
    if not rows:
        return ""
    picture = inline_svg(
        forest_figure(rows, against), salt="forest", alt=f"Error of each design over {against}'s"
    )
    read = (
        f"Mean squared error of each design over that of {escape(against)} "
        f"({reference_words(data.evaluation)}) on the same test volumes. An interval left of the "
        "line at 1 is a win, one that crosses it a tie. Intervals: 95 %, paired bootstrap over "
        "volumes, stratified by target, calibrations held fixed."
    )
    return html.section("comparison", "Does it win?", read, _figure(picture))


def _side(data: ReportData) -> str:
    names = [name for name in shown_designs(data.evaluation) if name in data.predictions]
    if not names:
        return ""
    looks = series(data.evaluation["designs"])
    figure = side_view_figure(data.study, data.predictions, names, looks)
    levels = scene_in_mm(data.study).levels
    bath = "; dashed: the lowest and highest level of the bath, which is drawn half way"
    bath = bath if levels else ""
    read = (
        "To scale, in mm, all with the same muons; the share is that of the aimed ones. Above: the "
        "object between the panels (thick lines); some accepted tracks (solid) and some lost ones "
        f"(dotted){bath}. Below: where accepted muons cross the middle of the volume, with the "
        "outlines of upper (solid) and lower panels (dashed)."
    )
    picture = inline_svg(figure, salt="side", alt="Side view of the detectors to scale")
    return html.section("why", "Why? The detector from the side", read, _figure(picture))


def _exposure(data: ReportData) -> str:
    picture = inline_svg(
        exposure_figure(data.evaluation, data.target), salt="exposure", alt="Error over exposure"
    )
    read = (
        "Error against exposure, both logarithmic, calibrated anew at each exposure. Variance "
        "falls with more muons; bias² stays, and is what no exposure cures. An open arrow at the "
        "foot: bias² that cannot be told from zero. Error bars: one standard error."
    )
    return html.section("exposure", "What more time would buy", read, _figure(picture))


def _waterfall(data: ReportData) -> str:
    picture = inline_svg(waterfall_figure(data.evaluation), salt="waterfall", alt="Muon budget")
    read = (
        "Mean number of muons per volume at each step, and the share that each step keeps, on a "
        "logarithmic scale: generated above the scene, aimed at the passive volume, accepted by "
        "the panels, used with a weight in the prediction."
    )
    return html.section("muons", "Where the muons go", read, _figure(picture))


def _solids(data: ReportData) -> str:
    scene = scene_in_mm(data.study)
    looks = series(data.evaluation["designs"])
    pictures = []
    for name in shown_designs(data.evaluation):
        geometry = data.evaluation["designs"][name]["geometry"]
        if geometry:
            faces = detector_faces(scene, geometry, data.predictions.get(name))
            label = design_label(name)
            colour = recolour(looks[name].colour)
            svg = solid_svg(faces, scene, colour=colour, alt=f"{label} detector in space")
            caption = f"<figcaption>{escape(label)}</figcaption>"
            pictures.append(f"<figure>{caption}{svg}</figure>")
    if not pictures:
        return ""
    read = (
        "Drag a picture, or use the arrow keys, to turn all of them; point at a panel to read "
        "where it is."
    )
    return html.section(
        "space",
        "Before and after, in space",
        read,
        f'<div class="solids">{"".join(pictures)}</div>',
    )


def _history(data: ReportData) -> str:
    if not data.history:
        return ""
    scene = scene_in_mm(data.study)
    middle = tuple(side / 2 for side in scene.side)
    picture = inline_svg(
        history_figure(data.history, middle), salt="history", alt="Loss and parameters per epoch"
    )
    read = (
        "Loss and parameters after each epoch; shading marks the phases. Upper panels solid, lower "
        "ones dashed. At the centres x is solid, y dotted, and the level line is the middle of the "
        "passive volume."
    )
    if any(row.get("metrics") for row in data.history):
        read += " Below: metrics, with level lines at their best values."
    blind = blind_epochs(data.history)
    return html.section("fit", "How the fit went", f"{blind} {read}".strip(), _figure(picture))


def _predicted(data: ReportData) -> str:
    if data.grids:
        return object_section(data)
    picture = inline_svg(
        predicted_figure(data.evaluation, data.predictions, data.target),
        salt="predicted",
        alt="Predicted against true",
    )
    read = (
        "Above: each test volume (dots), mean and standard deviation at each true value; the line "
        "is a perfect prediction. Below: mean error with its standard error (thick) and the "
        "standard deviation of single volumes (thin)."
    )
    details = []
    for name, design in data.evaluation["designs"].items():
        rows = html.table(per_target_table(design, data.target))
        details.append(
            f"<details><summary>{escape(design_label(name))}, in numbers</summary>{rows}</details>"
        )
    title = f"Predicted against true {data.target.name}"
    return html.section("predicted", title, read, _figure(picture), *details)


def _table(data: ReportData) -> str:
    names = list(data.evaluation["designs"])
    looks = series(names)
    rows = html.table(
        comparison_table(data.evaluation, data.target, data.older_code),
        words=("result",),
        ours=names.index(final_design(data.evaluation)),
        colours=[recolour(looks[name].colour) for name in names],
    )
    read = (
        "± one standard error. Every design has the same test volumes and muons and a linear "
        "calibration fitted on the validation bank. Empty volumes had no accepted muon and are "
        f"scored as the mean of the calibration bank. {escape(older_note(data.older_code))}"
    ).rstrip()
    return html.section("table", "All designs in numbers", read, rows)


def _detector(data: ReportData) -> str:
    name = final_design(data.evaluation)
    design = data.evaluation["designs"][name]
    geometry = design["geometry"]
    if not geometry:
        return ""
    study = str(data.study.get("study", "study"))
    total = sum(panel["span"][0] * panel["span"][1] for panel in geometry)
    comment = (
        f"{data.title}: the {design_label(name)} detector; lengths in m.\nMade by: {data.command}"
    )
    yaml, csv = detector_yaml(geometry, comment=comment), detector_csv(geometry)
    read = (
        f"Centre and half-lengths in mm, ready for a Geant4 box; {len(geometry)} panels, "
        f"{total:.4f} m² in all. z points up; the passive volume has its low corner at x = y = 0, "
        f"and fills z from {MM * data.study['world']['passive'][0]:.0f} to "
        f"{MM * data.study['world']['passive'][1]:.0f} mm."
    )
    return html.section(
        "detector",
        f"The {design_label(name)} detector",
        read,
        html.table(detector_table(geometry)),
        html.download(csv, f"{study}-{name}.csv", "text/csv"),
        html.download(yaml, f"{study}-{name}.yaml", "application/yaml"),
        "<details><summary>as YAML, for <code>detectors: {name: {file: …}}</code></summary>",
        html.code_block("detector-yaml", yaml),
        "</details><details><summary>as CSV</summary>",
        html.code_block("detector-csv", csv),
        "</details>",
    )


def _limits(data: ReportData) -> str:
    rows = limit_table(data.study, data.history)
    if not rows:
        return ""
    read = (
        "Limits that the optimised detector has reached, and what more room would change: "
        "their shadow prices (Lagrange multipliers), from the gradients of the last "
        f"{LAST} epochs; ± one standard error. The limits hold exactly: areas are shares "
        "of the budget, and heights are moved into their zone and apart after every step."
    )
    return html.section("limits", "What the limits cost", read, html.table(rows, words=("room",)))


def _stages(data: ReportData) -> str:
    if not data.stages:
        return ""
    ran = [stage for stage in data.stages if stage["status"] == "ran"]
    seconds = sum(float(stage.get("seconds") or 0.0) for stage in ran)
    total = len(data.stages)
    count = f"{len(ran)} of {total} stages ran ({duration(seconds)}), the others were found"
    if len(ran) == total:
        count = f"All {total} stages ran ({duration(seconds)}); next time they are found"
    elif not ran:
        count = f"No stage ran: all {total} were found"
    read = (
        f"{count} in the store. Blue: ran; grey: cached; dashed: some of each. The last line of a "
        "box is the start of its key, the same for the same inputs and code."
    )
    rows = [
        {
            "stage": str(stage["label"]),
            "status": str(stage["status"]),
            "time": duration(float(stage.get("seconds") or 0.0))
            if stage["status"] == "ran"
            else "—",
            "key": str(stage["key"])[:16],
            "reason": str(stage.get("reason") or ""),
        }
        for stage in data.stages
    ]
    listed = html.table(rows, words=("status", "key", "reason"))
    details = f"<details><summary>all {len(rows)} stages</summary>{listed}</details>"
    graph = _figure(graph_svg(data.stages))
    return html.section("stages", "What ran and what was cached", read, graph, details)


def _provenance(data: ReportData) -> str:
    parts = []
    if data.command:
        parts += ["<h3>Make it again</h3>", html.code_block("command", data.command)]
    if data.provenance:
        parts += ["<h3>Versions and seeds</h3>", html.facts(data.provenance)]
    return html.section("again", "Where it comes from", "", *parts) if parts else ""


_SECTIONS: tuple[tuple[str, str, Callable[[ReportData], str]], ...] = (
    ("comparison", "does it win", _forest),
    ("why", "why", _side),
    ("exposure", "exposure", _exposure),
    ("muons", "muons", _waterfall),
    ("records", "scatters and hits", density_section),
    ("space", "in space", _solids),
    ("heat", "heat maps", heat_map_section),
    ("fit", "fit", _history),
    ("films", "films", film_section),
    ("predicted", "predicted", _predicted),
    ("table", "table", _table),
    ("detector", "detector", _detector),
    ("limits", "limits", _limits),
    ("stages", "stages", _stages),
    ("again", "make it again", _provenance),
)
