"""``tomopt campaign``: many studies planned, run side by side and compared."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.commands.app import (
    AcceptCode,
    AsJson,
    Changes,
    Compile,
    Device,
    GpuMemory,
    StoreUrl,
    Threads,
    Trust,
    compute,
    say,
)
from tomopt_tasks.config.changes import pairs
from tomopt_tasks.core import UserError
from tomopt_tasks.project import default_store

app = typer.Typer(
    help="Many studies as one: seeds, detectors, budgets, scenes; planned, run and compared.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[Path, typer.Argument(help="Campaign file (YAML).", show_default=False)]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Members at a time; default: cores.")
]
Members = Annotated[
    list[str] | None, typer.Option("--member", help="Only this member; repeatable.")
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="tcp://HOST:PORT",
        help="Run on the workers of this Dask scheduler; default: $TOMOPT_DASK, else here.",
    ),
]
Shared = Annotated[bool, typer.Option("--shared", help="Only what members share.")]


@app.command()
def run(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    jobs: Jobs = None,
    member: Members = None,
    dask: Dask = None,
    shared: Shared = False,
    accept_code: AcceptCode = False,
    threads: Threads = None,
    device: Device = None,
    gpu_memory: GpuMemory = None,
    compile_: Compile = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Run what is missing, side by side, then compare; what is stored does not run again."""
    from tomopt_tasks.campaigns.doing import Part, carry_out, tell, where  # noqa: PLC0415
    from tomopt_tasks.campaigns.show import JobLines, failure_lines  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    compute(device, gpu_memory, threads, compile_)
    campaign = _load(file, changes)
    results = open_store(store or default_store())
    asked = Part(tuple(member or ()), shared, accept_code)
    try:
        done = carry_out(campaign, results, where(jobs, dask), JobLines(_say), asked)
    except KeyboardInterrupt:
        _say("interrupted; everything finished is stored: run it again to go on")
        raise typer.Exit(130) from None
    except UserError as problem:
        tell(campaign, f"failed: {problem}", failed=True)
        raise
    for line in failure_lines(done.failures):
        typer.echo(line, err=True)
    part = Answer({"executed": done.executed, "failures": done.failures}, [])
    said = part if shared or member else done.answer()
    if not (shared or member):
        tell(campaign, done.said(), failed=bool(done.failures))
    say(replace(said, code=1 if done.failures else 0), as_json=as_json)


@app.command()
def plan(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    accept_code: AcceptCode = False,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Say which members there are, what they share and what would run; nothing runs."""
    from tomopt_tasks.campaigns.doing import Part, planned  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415

    results = existing_store(store or default_store())
    part = Part(accept_code=accept_code)
    say(planned(_load(file, changes), results, part), as_json=as_json)


@app.command()
def status(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    accept_code: AcceptCode = False,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Say how far each member is."""
    from tomopt_tasks.campaigns.doing import Part, standing  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415

    results = existing_store(store or default_store())
    part = Part(accept_code=accept_code)
    say(standing(_load(file, changes), results, part), as_json=as_json)


@app.command()
def report(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    accept_code: AcceptCode = False,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Compare the members that are complete and write the report again."""
    from tomopt_tasks.campaigns.doing import Part, look_up  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    results = open_store(store or default_store(), create=False)
    part = Part(accept_code=accept_code)
    say(look_up(_load(file, changes), results, part).answer(), as_json=as_json)


@app.command()
def commands(
    file: File,
    changes: Changes = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Print one independent command a member, for a batch farm with a shared store."""
    campaign = _load(file, changes)
    if campaign.settings.search is not None:
        raise UserError(
            f"{file}: a search proposes a trial by how others ended, so that there are no "
            "independent commands; run it on a Dask cluster (--dask) inside the batch system"
        )
    words = ["tomopt", "campaign", "run", str(file)]
    words += [word for change in changes or () for word in ("--set", change)]
    words += [word for folder in trust or () for word in ("--trust", str(folder))]
    words += ["--store", store or default_store()]
    first = shlex.join([*words, "--shared"])
    last = shlex.join(["tomopt", "campaign", "report", *words[3:]])
    members = {
        each.name: shlex.join([*words, "--jobs", "1", "--member", each.name])
        for each in campaign.members
    }
    _say(f"# once before the members, so that they find what they share:  {first}")
    data = {"first": first, "members": members, "last": last}
    say(Answer(data, list(members.values())), as_json=as_json)
    _say(f"# when they are done:  {last}")


def _load(file: Path, changes: list[str] | None) -> Any:  # noqa: ANN401 - imported when needed
    from tomopt_tasks.config.members import load_campaign  # noqa: PLC0415

    return load_campaign(file, pairs(changes))


def _say(line: str) -> None:
    typer.echo(line, err=True)
    sys.stderr.flush()
