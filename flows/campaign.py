"""A campaign: many studies side by side, listed or found by a search, and their comparison.

Every member is a study of its own: what is stored does not run again, what several need is made
once, and one that fails does not stop the others.
"""

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from flows.endings import HOOKS, stoppable
from flows.overseeing import Overseer
from flows.telling import attended
from tomopt_tasks.campaigns.doing import carry_out, where
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.project import default_store
from tomopt_tasks.runs.form import CampaignPath, Changes, Jobs, as_text
from tomopt_tasks.store.opening import open_store


@flow(name="campaign", flow_run_name="campaign {file}", **HOOKS)
def campaign(
    file: CampaignPath = "data/campaigns/ladle_headline.yaml",
    changes: Changes | None = None,
    store: str | None = None,
    jobs: Jobs | None = None,
    dask: str | None = None,
) -> str:
    """Run a campaign; the path of its report.

    Args:
        file: the campaign file.
        changes: place in the file -> other value, e.g. {"axes.seed.seeds": 2}.
        store: folder of the results; default: data/store.
        jobs: members at a time; default: as many as there are cores.
        dask: address of a standing Dask cluster; default: TOMOPT_DASK, else this machine.
    """
    plan = load_campaign(file, list(as_text(changes).items()))
    results = open_store(store or default_store())
    watch = Overseer(plan, results)
    with stoppable(), attended(watch):
        run = carry_out(plan, results, where(jobs, dask), watch)
        done = run.finish()
        watch.finished(done)
        if run.failures:
            raise UserError(run.said())
    return str(done.outputs.report)


if __name__ == "__main__":
    campaign()
