"""What a run leaves for people: the page, and the winning detector as YAML and CSV.

These files are derived: ``tomopt report RUN`` makes them again from the store.
"""

from dataclasses import dataclass
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
    files = (folder / name for name in ("report.html", "detector.yaml", "detector.csv"))
    return Outputs(results_of(store, run), *files)


def write_report(store: Store, run: str) -> Outputs:
    """Write the report and the final detector of a finished run.

    Args:
        store: where the run is.
        run: its id.

    Raises:
        UserError: the run has not finished, what it made is lost, or the files cannot be written.
    """
    from tomopt_tasks.reports.page import render_html  # noqa: PLC0415 - brings matplotlib along

    outputs = outputs_of(store, run)
    data = outputs.data
    name = final_design(data.evaluation)
    panels = data.evaluation["designs"][name]["geometry"]
    comment = f"Final detector of run {run}; numbers in m.\nMade by: {data.command}"
    files = {
        outputs.report: render_html(data),
        outputs.detector_yaml: detector_yaml(panels, comment=comment),
        outputs.detector_csv: detector_csv(panels),
    }
    folder = outputs.report.parent
    with writing(folder, f"all results are stored: mend that, then tomopt report {run}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            replace_file(path, content)
    return outputs


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; of several writers the last one wins."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
