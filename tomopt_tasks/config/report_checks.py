"""Whether a report can show what it is asked for; each failure names one place."""

from collections.abc import Mapping

from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.report_settings import ReportSettings
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.wrapper.settings import FitSettings


def check_monitors(
    report: ReportSettings, fit: FitSettings, detectors: Mapping[str, DetectorSettings]
) -> None:
    """There is a fit to film, and a heat map where one is asked for.

    Raises:
        Problem: at the kind of the first monitor that has nothing to show.
    """
    for index, monitor in enumerate(report.monitors):
        here: Path = ("report", "monitors", index, "kind")
        if not fit.phases:
            text = f'got "{monitor.kind}", but there is no fit to show: fit.phases is empty; '
            raise Problem(here, text + "add phases or remove the monitor")
        first = detectors[fit.start].layers[0].panels[0]
        if monitor.kind == "heat_map_gif" and first.kind != "heat_map":
            text = f'got "heat_map_gif", but {first.name} of the detector "{fit.start}", which '
            text += f"the fit starts from, is of kind {first.kind}; write panel_metric_logger"
            raise Problem(here, f"{text} or remove the monitor")
