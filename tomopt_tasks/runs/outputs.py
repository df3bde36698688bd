"""What a run leaves for people: the page, and the winning detector as YAML and CSV.

These files are derived: ``tomopt report RUN`` makes them again from the store.
"""

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from tomopt_tasks.project import project_root, writing
from tomopt_tasks.reports.data import ReportData, final_design
from tomopt_tasks.reports.export import detector_csv, detector_yaml
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class Outputs:
    """The files of a run, and what they were made of."""

    data: ReportData
    report: Path
    detector_yaml: Path
    detector_csv: Path


def report_folder(store: Store, run: str) -> Path:
    """Where the files of a run lie: in a local store, else below the project."""
    local = "://" not in store.url
    return (Path(store.url) if local else project_root() / ".tomopt") / "reports" / run


def outputs_of(store: Store, run: str) -> Outputs:
    """The results of a finished run, and where its files lie; nothing is written.

    Raises:
        UserError: the run has not finished, or what it made is lost.
    """
    folder = report_folder(store, run)
    paths = (folder / name for name in ("report.html", "detector.yaml", "detector.csv"))
    return Outputs(results_of(store, run), *paths)


def write_report(store: Store, run: str, *, again: bool = True) -> Outputs:
    """Write the report and the final detector of a finished run.

    Args:
        store: where the run is.
        run: its id.
        again: draw the page whatever is there; False: one of the same results stays as it is.

    Raises:
        UserError: the run has not finished, what it made is lost, or the files cannot be written.
    """
    outputs = outputs_of(store, run)
    data = outputs.data
    mark = _mark(data)
    if not again and _made(outputs, mark):
        return outputs
    from tomopt_tasks.reports.page import render_html  # noqa: PLC0415 - brings matplotlib along

    name = final_design(data.evaluation)
    panels = data.evaluation["designs"][name]["geometry"]
    comment = f"Final detector of run {run}; numbers in m.\nMade by: {data.command}"
    contents = {
        outputs.report: render_html(data) + mark,
        outputs.detector_yaml: detector_yaml(panels, comment=comment),
        outputs.detector_csv: detector_csv(panels),
    }
    folder = outputs.report.parent
    with writing(folder, f"all results are stored: mend that, then tomopt report {run}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            replace_file(path, content)
    return outputs


def _mark(data: ReportData) -> str:
    """The end of a page: a digest of the results that it shows and of the code that draws it."""
    made = sha256()
    for file in sorted(Path(str(files("tomopt_tasks.reports"))).rglob("*")):
        if file.suffix in (".py", ".css", ".js", ".html"):
            made.update(file.read_bytes())
    shown = [[stage["key"] for stage in data.stages], list(data.older_code), data.command]
    made.update(json.dumps([shown, data.title, data.study], sort_keys=True).encode())
    return f"<!-- {made.hexdigest()} -->\n"


def _made(outputs: Outputs, mark: str) -> bool:
    """Whether all files are there, and the page has this mark."""
    if not (outputs.detector_yaml.is_file() and outputs.detector_csv.is_file()):
        return False
    try:
        with outputs.report.open("rb") as page:
            page.seek(-len(mark), os.SEEK_END)
            return page.read() == mark.encode()
    except OSError:
        return False


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; of several writers the last one wins."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
