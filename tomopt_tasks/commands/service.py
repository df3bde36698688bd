"""``tomopt up``, ``down`` and ``doctor`` as Typer sees them."""

from typing import Annotated

import typer

from tomopt_tasks.commands.app import AsJson, StoreUrl, say


def up(
    host: Annotated[
        str, typer.Option(help="Where the server listens; beyond this machine: with a password.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Default: 4200, or a free one.", min=1, max=65535)
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time on the CPU.", min=1, max=1024)] = 2,
) -> None:
    """Start server, queues, workers and deployments on this machine, and print the address."""
    from flows.service import up as start  # noqa: PLC0415

    for line in start(host, port, jobs):
        typer.echo(line)


def down() -> None:
    """End what `up` has started, and nothing else."""
    from flows.service import down as stop  # noqa: PLC0415

    for line in stop():
        typer.echo(line)


def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="Mend what can be mended.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Find stale runs, orphan servers, wrong versions, full disks and unreachable stores."""
    from flows.doctor import examine  # noqa: PLC0415

    say(examine(store, mend=mend), as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Register the commands under their names."""
    for command in (up, down, doctor):
        app.command()(command)
