"""What came out of a campaign: its comparisons with all that a report shows of them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tomopt_tasks.campaigns.comparison import find_comparison, have_comparison, read_comparison
from tomopt_tasks.campaigns.manifest import read_manifest
from tomopt_tasks.campaigns.plan import CampaignPlan, MemberPlan, complete
from tomopt_tasks.campaigns.state import Times, member_states
from tomopt_tasks.campaigns.tables import Table, make_tables
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.reports.campaign_data import CampaignData, TableData, is_fit
from tomopt_tasks.reports.search_data import SearchData
from tomopt_tasks.runs.closing import campaign_command
from tomopt_tasks.runs.manifest import epoch_row
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


def results_of_campaign(
    plan: CampaignPlan, store: Store, refs: Mapping[str, Ref], search: SearchData | None = None
) -> tuple[CampaignData, int]:
    """Everything that the report shows, and the number of comparisons that had to be made.

    Args:
        plan: the campaign.
        store: where its results are.
        refs: see ``look_up_all``.
        search: what the designs were found by.

    Raises:
        UserError: no member is complete.
    """
    done = [each for each in plan.members if complete(each, refs)]
    if not done:
        raise UserError(
            f"no member of {plan.campaign.settings.campaign} is complete in {store.url}; run "
            f"tomopt campaign run {plan.campaign.file} first"
        )
    tables = make_tables(plan, done)
    made = sum(find_comparison(table, store) is None for table in tables)
    times = Times(store, plan.run)
    data = [
        replace(_table(table, store, refs, times), older=_marked(table, plan.older))
        for table in tables
    ]
    states = member_states(plan, refs, store)
    missing = {each.plan.name: each.note or each.state for each in states if not each.done}
    entries = read_manifest(plan, store)
    return CampaignData(
        title=plan.campaign.title,
        campaign=plan.campaign.settings.campaign,
        tables=data,
        missing=missing,
        n_members=len(plan.members),
        goals={
            label: goal.model_dump(mode="json")
            for label, goal in plan.campaign.settings.judge.goals.items()
        },
        command=campaign_command(plan.campaign.file, plan.campaign.overrides),
        provenance=_provenance(entries),
        search=search,
    ), made


def _table(table: Table, store: Store, refs: Mapping[str, Ref], times: Times) -> TableData:
    record = read_comparison(have_comparison(table, store, refs), store)
    sources = {place: plan for place, plan in table.sources.items() if is_fit(place[0])}
    data = TableData(
        label=table.label,
        study=table.plans[0].member.study.model_dump(mode="json"),
        record=record,
        members={place: _facts(plan, times, refs) for place, plan in sources.items()},
        histories={place: _history(plan, refs) for place, plan in sources.items()},
    )
    predictions = {
        name: _predictions(store, refs[table.parents[f"test/{entry}/{label}"]])
        for name, (entry, label) in data.shown.items()
    }
    return replace(data, predictions=predictions)


def _marked(table: Table, older: Collection[str]) -> frozenset[str]:
    """Entries of which some prediction hangs on accepted results of older code."""
    return frozenset(role.split("/")[1] for role, key in table.parents.items() if key in older)


def _facts(plan: MemberPlan, times: Times, refs: Mapping[str, Ref]) -> dict[str, Any]:
    return {"member": plan.name, "run": plan.run, "fit_seconds": times.fit(plan, refs)}


def _history(plan: MemberPlan, refs: Mapping[str, Ref]) -> list[dict[str, Any]]:
    """One row an epoch, without the panels."""
    rows = []
    for stage in plan.stages:
        if stage.name == "fit_epoch":
            row = epoch_row(stage.label, stage.components, refs[stage.key].metrics)
            rows.append({name: row.get(name) for name in ("epoch", "phase", "loss")})
    return rows


def _predictions(store: Store, ref: Ref) -> Predictions:
    dataset = store.open_dataset(ref)
    arrays = {name: dataset.array(name) for name in dataset.names}
    return Predictions.from_arrays(arrays, dataset.attrs)


def _provenance(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """When, where and by which code it was run; of what ran in processes, how long."""
    if not entries:
        return {}
    started = [entry for entry in entries if entry["event"] == "started"][-1]
    ended = entries[-1] if entries[-1]["event"] != "started" else {}
    found = {
        "started": started["at"],
        "finished": ended.get("at"),
        "seconds": ended.get("seconds"),
        "code": started["commit"],
        "versions": started["versions"],
        "host": started["host"],
    }
    return {name: value for name, value in found.items() if value}
