"""The commands about a store as Typer sees them; each imports its own module when it is called."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tomopt_tasks.commands.answer import Answer, json_text

StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="Where results lie; default: $TOMOPT_STORE, else data/store."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=1", help="Change one entry of the file; repeatable."),
]
AcceptCode = Annotated[
    bool,
    typer.Option("--accept-code-changes", help="Take results of older code; tables mark them."),
]


def _trusted(folders: list[Path] | None) -> list[Path] | None:
    from tomopt_tasks.own import trust as trust_folders  # noqa: PLC0415

    trust_folders(folders or ())
    return folders


Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        metavar="PATH",
        help="Folder of Python code to trust; repeatable.",
        callback=_trusted,
    ),
]
"""Holds as soon as it is read: a command that has this option needs nothing more."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="Threads of torch in a process; default: 1.", min=1, max=1024),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1 or auto; default: $TOMOPT_DEVICE, else cpu."),
]
GpuMemory = Annotated[
    str | None,
    typer.Option("--gpu-memory", help="For graphs, e.g. 8GB; default: half of what is free."),
]
Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile",
                 help="Compile kernels, once a machine; default: $TOMOPT_COMPILE, else not."),
]  # fmt: skip
Object = Annotated[
    str,
    typer.Argument(metavar="REF", help="First digits of a key; RUN:STAGE; or a run.",
                   show_default=False),
]  # fmt: skip


def compute(
    device: str | None = None,
    gpu_memory: str | None = None,
    threads: int | None = None,
    compile_: bool | None = None,  # noqa: FBT001 - an option
) -> None:
    """Where and how this process, and those that it starts, compute; before any key is made."""
    from tomopt_tasks.caching import device as place  # noqa: PLC0415
    from tomopt_tasks.runs import machine  # noqa: PLC0415

    asked = {place.DEVICE: device, place.GPU_MEMORY: gpu_memory, machine.THREADS: threads}
    asked[place.COMPILE] = None if compile_ is None else ("off", "on")[compile_]
    for name, value in asked.items():
        if value is not None:
            os.environ[name] = str(value)
    place.graph_memory(place.compute_device())
    place.compiled()


def say(answer: Answer, *, as_json: bool) -> None:
    """Print an answer, and end with its exit code."""
    if as_json:
        typer.echo(json_text(answer.data))
    else:
        for line in answer.lines:
            typer.echo(line)
    if answer.code:
        raise typer.Exit(answer.code)


def status(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs or studies; default: all.")] = None,
    last: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 20,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of the store, live and past."""
    from tomopt_tasks.commands import status as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.status(opened(store), runs or (), last), as_json=as_json)


def explain(
    ref: Object,
    number: Annotated[str, typer.Argument(help="Place of a number: designs.fit.mse")] = "",
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Trace a result, or a number in it, back to the study, its seeds, code and machine."""
    from tomopt_tasks.commands import explain as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.explain(opened(store), ref, number), as_json=as_json)


def inspect(ref: Object, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show what an object is and what it holds."""
    from tomopt_tasks.commands import inspect as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.inspect(opened(store), ref), as_json=as_json)


def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Read all data too.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check that everything in the store is as it was committed; exit code 1 if not."""
    from tomopt_tasks.commands import verify as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.verify(opened(store), deep=deep), as_json=as_json)


def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Delete; default: only tell.")] = False,
    keep_last: Annotated[int, typer.Option(help="Newest checkpoints of each fit.", min=1)] = 3,
    keep_best: Annotated[int, typer.Option(help="Those with the lowest loss.", min=0)] = 1,
    keep_every: Annotated[int, typer.Option(help="Every m-th as well; 0: none.", min=0)] = 0,
    keep_runs: Annotated[int, typer.Option(help="Newest runs of a study; 0: all.", min=0)] = 0,
    older_than: Annotated[float, typer.Option(help="Hours; at least 24.")] = 24.0,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give up checkpoints that nothing needs, keeping their metrics, and leftovers of kills."""
    from tomopt_tasks.commands import gc as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    policy = command.Policy(keep_last, keep_best, keep_every, keep_runs, older_than)
    say(command.gc(opened(store), policy, apply=apply), as_json=as_json)


def pin(
    ref: Object,
    remove: Annotated[bool, typer.Option("--remove", help="Take the pin away.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let no gc give an object up."""
    from tomopt_tasks.commands import gc as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import find_ref, opened  # noqa: PLC0415

    results = opened(store)
    say(command.pin(results, find_ref(results, ref), keep=not remove), as_json=as_json)


def invalidate(
    stage: Annotated[str, typer.Argument(help="predict, 'test bank', fit_epoch@3 ...")],
    of: Annotated[str | None, typer.Option(help="Study file or run; default: newest run.")] = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Throw the results of a stage away, so that the next run makes them again."""
    from tomopt_tasks.commands import invalidate as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.invalidate(opened(store), stage, of), as_json=as_json)


def export(
    ref: Object,
    to: Annotated[Path | None, typer.Option(help="File: .csv, .parquet, .nc or .h5.")] = None,
    array: Annotated[str, typer.Option(help="Array that the table of a dataset is about.")] = "",
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write a table or a grid for other programs; a run: one row an epoch."""
    from tomopt_tasks.commands import export as command  # noqa: PLC0415
    from tomopt_tasks.commands.target import opened  # noqa: PLC0415

    say(command.export(opened(store), ref, to, array), as_json=as_json)


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="Study file, run or study.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Study file, run or study.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Compare two studies or runs: settings, keys, results."""
    from tomopt_tasks.commands import diff as command  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415
    from tomopt_tasks.project import default_store  # noqa: PLC0415

    results = existing_store(store or default_store())
    say(command.diff(results, one, other), as_json=as_json)


COMMANDS: tuple[Callable[..., None], ...] = (
    status, explain, inspect, verify, gc, pin, invalidate, export, diff,
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Register the commands under their names."""
    for command in COMMANDS:
        app.command()(command)
