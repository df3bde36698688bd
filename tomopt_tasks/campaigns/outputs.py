"""What a campaign leaves for people: the page, the table as CSV, pictures, the best detectors.

These files are derived: ``tomopt campaign report FILE`` makes them again from the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tomopt_tasks.campaigns.plan import CampaignPlan
from tomopt_tasks.campaigns.results import results_of_campaign
from tomopt_tasks.project import writing
from tomopt_tasks.reports.campaign_data import CampaignData, entry_label, is_fit
from tomopt_tasks.reports.campaign_table import board_table, campaign_csv
from tomopt_tasks.reports.campaign_words import slug_of
from tomopt_tasks.reports.export import detector_yaml
from tomopt_tasks.reports.search_data import SearchData
from tomopt_tasks.runs.outputs import replace_file, report_folder
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class Finished:
    """What there is when a campaign, or as much of it as is complete, was compared."""

    data: CampaignData
    outputs: "CampaignOutputs"
    made: int
    """Comparisons that had to be made."""

    def leaderboards(self) -> dict[str, list[dict[str, str]]]:
        """Label of each comparison -> rows of its leaderboard."""
        return {table.label: board_table(table) for table in self.data.tables}

    def markdown(self) -> str:
        """The report in short, with its pictures inside."""
        from tomopt_tasks.reports.campaign_markdown import (  # noqa: PLC0415 - matplotlib
            render_campaign_markdown,
        )
        from tomopt_tasks.reports.campaign_page import MOST_PICTURES  # noqa: PLC0415

        return render_campaign_markdown(self.data, MOST_PICTURES)


def finish(
    plan: CampaignPlan, store: Store, refs: Mapping[str, Ref], search: SearchData | None = None
) -> Finished:
    """Compare what is complete and write the report.

    Args:
        plan: the campaign.
        store: where its results are.
        refs: see ``look_up_all``.
        search: what the designs were found by.

    Raises:
        UserError: no member is complete.
    """
    data, made = results_of_campaign(plan, store, refs, search)
    return Finished(data, write_campaign_report(plan, store, data), made)


@dataclass(frozen=True)
class CampaignOutputs:
    """The files of a campaign."""

    report: Path
    table: Path
    detectors: tuple[Path, ...]
    pictures: tuple[Path, ...] = ()


def write_campaign_report(plan: CampaignPlan, store: Store, data: CampaignData) -> CampaignOutputs:
    """Write the report of what is complete.

    Args:
        plan: the campaign.
        store: its store; the files lie in its ``reports`` folder.
        data: see ``results_of_campaign``.
    """
    from tomopt_tasks.reports.campaign_page import (  # noqa: PLC0415 - matplotlib
        MOST_PICTURES,
        render_campaign,
    )
    from tomopt_tasks.reports.campaign_pictures import campaign_pictures  # noqa: PLC0415

    folder = report_folder(store, plan.run)
    report, table = folder / "report.html", folder / "table.csv"
    drawn = campaign_pictures(data, MOST_PICTURES)
    pictures = {folder / name: picture for name, picture in drawn}
    detectors = _detectors(folder, data)
    files: dict[Path, str | bytes] = {report: render_campaign(data)}
    files |= {table: campaign_csv(data.tables), **pictures, **detectors}
    if data.search is not None:
        from tomopt_tasks.reports.search_page import trials_csv  # noqa: PLC0415 - matplotlib

        files[folder / "trials.csv"] = trials_csv(data.search)
    cure = f"all results are stored: mend that, then tomopt campaign report {plan.campaign.file}"
    with writing(folder, cure):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            replace_file(path, content)
    return CampaignOutputs(report, table, tuple(detectors), tuple(pictures))


def _detectors(folder: Path, data: CampaignData) -> dict[Path, str]:
    """The best fit of each table, as a detector file that a study can start from."""
    written = {}
    for table in data.tables:
        entry, label = table.best
        geometry = table.repeat(entry, label)["geometry"]
        if is_fit(entry) and geometry:
            slug = slug_of(table.label)
            words = ", ".join(part for part in (table.label, entry_label(entry), label) if part)
            comment = f"{data.title}: {words}, the best on the validation bank; numbers in m."
            path = folder / f"detector-{slug}.yaml"
            written[path] = detector_yaml(geometry, comment=comment)
    return written
