"""Many studies as one: planned together, run side by side, compared on the same banks."""

from tomopt_tasks.core import lazy_exports

_HERE = "tomopt_tasks.campaigns"

__all__ = [
    "CampaignPlan",
    "Table",
    "member_states",
    "plan_campaign",
    "run_campaign",
    "write_campaign_report",
]

__getattr__ = lazy_exports(
    _HERE,
    {
        "CampaignPlan": f"{_HERE}.plan",
        "Table": f"{_HERE}.tables",
        "member_states": f"{_HERE}.state",
        "plan_campaign": f"{_HERE}.plan",
        "run_campaign": f"{_HERE}.run",
        "write_campaign_report": f"{_HERE}.outputs",
    },
)
