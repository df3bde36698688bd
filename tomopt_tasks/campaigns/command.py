"""``tomopt campaign``: many studies planned, run side by side and compared."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tomopt_tasks.config.changes import pairs
from tomopt_tasks.core import UserError
from tomopt_tasks.project import default_store

app = typer.Typer(
    help="Many studies as one: seeds, detectors, budgets, scenes; planned, run and compared.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[Path, typer.Argument(help="Campaign file (YAML).", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=1", help="Change one entry of the file; repeatable."),
]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="Where results lie; default: $TOMOPT_STORE, else data/store."),
]


@app.command()
def run(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Members at a time; default: cores.")
    ] = None,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="Only this member; repeatable.")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Only what members share.")] = False,  # noqa: FBT002
) -> None:
    """Run what is missing, side by side, then compare; what is stored does not run again."""
    from tomopt_tasks.campaigns.run import run_campaign  # noqa: PLC0415
    from tomopt_tasks.campaigns.show import failure_lines, job_line, result_lines  # noqa: PLC0415
    from tomopt_tasks.campaigns.slots import cores  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    whole = _plan(file, changes)
    plan = whole.needed(_known(member, [each.name for each in whole.members])) if member else whole
    results = open_store(store or default_store())
    try:
        done = run_campaign(
            plan,
            results,
            jobs or cores(),
            lambda outcome, n, total: _say(job_line(outcome, n, total)),
            shared_only=shared,
        )
    except KeyboardInterrupt:
        _say("interrupted; everything finished is stored: run it again to go on")
        raise typer.Exit(130) from None
    if not shared and not member:
        for line in result_lines(plan, results, done):
            typer.echo(line)
    for line in failure_lines(done):
        typer.echo(line, err=True)
    if done.failures:
        raise typer.Exit(1)


@app.command()
def plan(file: File, changes: Changes = None, store: StoreUrl = None) -> None:
    """Say which members there are, what they share and what would run; nothing runs."""
    from tomopt_tasks.campaigns.plan import look_up_all  # noqa: PLC0415
    from tomopt_tasks.campaigns.show import campaign_plan_lines  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415

    planned = _plan(file, changes)
    refs = look_up_all(planned, existing_store(store or default_store()))
    for line in campaign_plan_lines(planned, refs):
        typer.echo(line)


@app.command()
def status(file: File, changes: Changes = None, store: StoreUrl = None) -> None:
    """Say how far each member is."""
    from tomopt_tasks.campaigns.plan import look_up_all  # noqa: PLC0415
    from tomopt_tasks.campaigns.show import status_lines  # noqa: PLC0415
    from tomopt_tasks.campaigns.state import member_states  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415

    planned = _plan(file, changes)
    results = existing_store(store or default_store())
    for line in status_lines(member_states(planned, look_up_all(planned, results), results)):
        typer.echo(line)


@app.command()
def report(file: File, changes: Changes = None, store: StoreUrl = None) -> None:
    """Compare the members that are complete and write the report again."""
    from tomopt_tasks.campaigns.plan import look_up_all  # noqa: PLC0415
    from tomopt_tasks.campaigns.run import CampaignRun  # noqa: PLC0415
    from tomopt_tasks.campaigns.show import result_lines  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    planned = _plan(file, changes)
    results = open_store(store or default_store(), create=False)
    for line in result_lines(planned, results, CampaignRun(planned, look_up_all(planned, results))):
        typer.echo(line)


@app.command()
def commands(file: File, changes: Changes = None, store: StoreUrl = None) -> None:
    """Print one independent command a member, for a batch farm with a shared store."""
    planned = _plan(file, changes)
    words = ["tomopt", "campaign", "run", str(file)]
    words += [word for change in changes or () for word in ("--set", change)]
    words += ["--store", store or default_store()]
    first = shlex.join([*words, "--shared"])
    _say(f"# once before the members, so that they find what they share:  {first}")
    for each in planned.members:
        typer.echo(shlex.join([*words, "--jobs", "1", "--member", each.name]))
    _say(f"# when they are done:  {shlex.join(['tomopt', 'campaign', 'report', *words[3:]])}")


def _plan(file: Path, changes: list[str] | None) -> Any:  # noqa: ANN401 - imported when needed
    from tomopt_tasks.campaigns.plan import plan_campaign  # noqa: PLC0415
    from tomopt_tasks.config.members import load_campaign  # noqa: PLC0415

    return plan_campaign(load_campaign(file, pairs(changes)))


def _known(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """The members that are asked for.

    Raises:
        UserError: there is no such member.
    """
    for name in wanted:
        if name not in names:
            raise UserError(
                f"--member {name}: there is no such member; the first are {', '.join(names[:3])} "
                "(tomopt campaign plan FILE lists all)"
            )
    return list(wanted)


def _say(line: str) -> None:
    typer.echo(line, err=True)
    sys.stderr.flush()
