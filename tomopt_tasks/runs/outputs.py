"""What a run leaves for people: the page, and the winning detector as YAML and CSV.

These files are derived: ``tomopt report RUN`` makes them again from the store.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from tomopt_tasks.config.report_settings import MONITORS, Hdf5PredictionsSettings
from tomopt_tasks.project import project_root, writing
from tomopt_tasks.reports.data import ReportData, final_design
from tomopt_tasks.reports.export import detector_csv, detector_yaml
from tomopt_tasks.runs.prediction_files import prediction_files
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.store.store import Store

DRAWING = tuple(Path(str(files(f"tomopt_tasks.{part}"))) for part in ("reports", "plotting"))
"""Where the code is that draws a page."""
PREDICTIONS = "predictions-*.h5"
"""Name of a file of predictions, a star for that of the design."""


@dataclass(frozen=True)
class Outputs:
    """The files of a run, and what they were made of."""

    data: ReportData
    report: Path
    detector_yaml: Path
    detector_csv: Path
    films: Mapping[str, Path]
    """Kind of a monitor -> its film."""
    predictions: Mapping[str, Path]
    """Design -> its predictions in HDF5."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, the report first."""
        always = (self.report, self.detector_yaml, self.detector_csv)
        return (*always, *self.films.values(), *self.predictions.values())


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
    data = results_of(store, run)
    report = data.study["report"]
    kinds = [each["kind"] for each in report.get("monitors", ())]
    names = data.evaluation["designs"] if report.get("files") else ()
    return Outputs(
        data,
        folder / "report.html",
        folder / "detector.yaml",
        folder / "detector.csv",
        {kind: folder / f"{kind}.gif" for kind in kinds},
        {name: folder / PREDICTIONS.replace("*", _plain(name)) for name in names},
    )


def _plain(name: str) -> str:
    """A name that no system of files takes for a path."""
    return re.sub(r"[^\w.+-]", "-", name)


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
    shown = _shown(data)
    if not again and _made(outputs, shown):
        return outputs
    from tomopt_tasks.reports.monitors import films  # noqa: PLC0415 - brings matplotlib along
    from tomopt_tasks.reports.page import render_html  # noqa: PLC0415

    name = final_design(data.evaluation)
    panels = data.evaluation["designs"][name]["geometry"]
    comment = f"Final detector of run {run}; numbers in m.\nMade by: {data.command}"
    contents = {
        outputs.detector_yaml: detector_yaml(panels, comment=comment).encode(),
        outputs.detector_csv: detector_csv(panels).encode(),
    }
    made = films(data)
    contents |= {outputs.films[kind]: film for kind, film in made.items()}
    for settings in data.study["report"].get("files", ()):
        rows = prediction_files(store, run, Hdf5PredictionsSettings.model_validate(settings))
        contents |= {outputs.predictions[name]: file for name, file in rows.items()}
    page = render_html(replace(data, films=made)).encode()
    contents[outputs.report] = page + _mark(shown, page, *contents.values())
    folder = outputs.report.parent
    with writing(folder, f"all results are stored: mend that, then tomopt report {run}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            replace_file(path, content)
        for path in (*(folder / f"{kind}.gif" for kind in MONITORS), *folder.glob(PREDICTIONS)):
            if path not in contents:
                path.unlink(missing_ok=True)  # of a report that asked for more
    return outputs


def _shown(data: ReportData) -> str:
    """A digest of the results that a page shows and of the code that draws it."""
    made = sha256()
    for file in (each for part in DRAWING for each in sorted(part.rglob("*"))):
        if file.suffix in (".py", ".css", ".js", ".html"):
            made.update(file.read_bytes())
    shown = [[stage["key"] for stage in data.stages], list(data.older_code), data.command]
    made.update(json.dumps([shown, data.title, data.study], sort_keys=True).encode())
    return made.hexdigest()


def _mark(shown: str, *contents: bytes) -> bytes:
    """The end of a page: what it shows, and a digest of all files of the run."""
    whole = sha256(b"".join(sha256(content).digest() for content in contents))
    return f"<!-- {shown} {whole.hexdigest()} -->\n".encode()


def _made(outputs: Outputs, shown: str) -> bool:
    """Whether all files are there, of these results, with no bit changed."""
    try:
        page, *others = [path.read_bytes() for path in outputs.paths]
    except OSError:
        return False
    size = len(_mark(shown))
    return page[-size:] == _mark(shown, page[:-size], *others)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; of several writers the last one wins."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
