"""The ``tomopt`` command.

Starts in a fraction of a second: torch, Prefect and the drawing libraries are imported by the
commands that need them. What a user can mend ends in one sentence and exit code 2.
"""

import gc
import shlex
import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from tomopt_tasks.commands import service
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
    add_to,
    compute,
    say,
)
from tomopt_tasks.commands.campaign import app as campaign_app
from tomopt_tasks.config.changes import pairs
from tomopt_tasks.core import UserError
from tomopt_tasks.project import default_store, writing

app = typer.Typer(
    help="Design muon-tomography detectors by gradient descent: declarative, cached, reproducible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(campaign_app, name="campaign")

StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML).", show_default=False)]
Force = Annotated[
    list[str] | None,
    typer.Option("--force", metavar="STAGE[@EPOCH]", help="Run again, stored or not; repeatable."),
]


class Runner(StrEnum):
    """Who calls the stages."""

    prefect = "prefect"
    plain = "plain"


class Family(StrEnum):
    """What a part of the user's own can be."""

    scene = "scene"
    inference = "inference"
    loss = "loss"
    callback = "callback"


def main() -> None:
    """Run the command; a user's mistake is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"tomopt: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"tomopt {metadata.version('tomopt-tasks')}")
        raise typer.Exit


@app.command()
def plan(
    study: StudyFile,
    changes: Changes = None,
    store: StoreUrl = None,
    every: Annotated[bool, typer.Option("--all", help="One line for every epoch.")] = False,
    accept_code: AcceptCode = False,
    force: Force = None,
    device: Device = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Say what would run, why, and what it would cost; nothing runs."""
    gc.disable()  # a short life with many small objects: a sixth of its time
    compute(device)
    from tomopt_tasks.commands import plan as command  # noqa: PLC0415
    from tomopt_tasks.config.load import load_study  # noqa: PLC0415
    from tomopt_tasks.planning.lookup import existing_store  # noqa: PLC0415
    from tomopt_tasks.runs.run import Request  # noqa: PLC0415

    loaded = load_study(study, pairs(changes))
    request = Request(str(study), dict(pairs(changes)), accept_code, force or ())
    results = existing_store(store or default_store())
    say(command.plan(loaded, results, request, every=every), as_json=as_json)


@app.command()
def run(
    study: StudyFile,
    changes: Changes = None,
    store: StoreUrl = None,
    runner: Annotated[Runner, typer.Option(help="Under Prefect, or without it.")] = Runner.prefect,
    accept_code: AcceptCode = False,
    force: Force = None,
    threads: Threads = None,
    device: Device = None,
    gpu_memory: GpuMemory = None,
    compile_: Compile = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Optimise the detector of a study and report; what is stored already does not run again."""
    from tomopt_tasks.config.load import load_study  # noqa: PLC0415
    from tomopt_tasks.runs import command  # noqa: PLC0415
    from tomopt_tasks.runs.run import Request  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    compute(device, gpu_memory, threads, compile_)
    loaded = load_study(study, pairs(changes))
    results = open_store(store or default_store())
    request = Request(str(study), dict(pairs(changes)), accept_code, force or ())
    try:
        if runner is Runner.plain:
            done = command.run_plain(loaded, results, request)
        else:
            typer.echo("starting Prefect", err=True)
            from flows.optimise import optimise  # noqa: PLC0415
            from flows.serving import prefect_server  # noqa: PLC0415

            def meanwhile() -> None:
                _import_ahead(engine=command.will_run(loaded, results, request))

            with prefect_server(meanwhile):
                done = command.run_flow(optimise, results, request)
    except KeyboardInterrupt as stop:
        typer.echo(interrupted(stop), err=True)
        raise typer.Exit(getattr(stop, "exit_code", 130)) from None
    say(done.answer(), as_json=as_json)


def interrupted(stop: KeyboardInterrupt) -> str:
    """What has become of a run that was stopped, and how to go on."""
    lost = "what was finished is stored" if getattr(stop, "at_once", True) else "all is stored"
    command = shlex.join(["tomopt", *sys.argv[1:]])
    return f"{str(stop) or 'interrupted'}: {lost}; go on with: {command}"


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run, or study for its last run.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Make the report and the detector files of a run again, and print its table."""
    from tomopt_tasks.runs.command import result  # noqa: PLC0415
    from tomopt_tasks.runs.manifest import find_run  # noqa: PLC0415
    from tomopt_tasks.runs.outputs import write_report  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    results = open_store(store or default_store(), create=False)
    say(result(write_report(results, find_run(results, name))), as_json=as_json)


@app.command()
def show(
    study: StudyFile, changes: Changes = None, as_json: AsJson = False, trust: Trust = None
) -> None:
    """Print the study as it is understood: bases merged, defaults filled in, SI units."""
    from tomopt_tasks.config.dump import dump_study  # noqa: PLC0415
    from tomopt_tasks.config.load import load_study  # noqa: PLC0415

    loaded = load_study(study, pairs(changes))
    say(Answer(loaded.model_dump(mode="json"), dump_study(loaded).splitlines()), as_json=as_json)


@app.command()
def evaluate(
    detector: Annotated[Path, typer.Argument(help="Detector file (YAML).", show_default=False)],
    against: Annotated[str, typer.Option(metavar="RUN", help="Run, or study for its last run.")],
    store: StoreUrl = None,
    threads: Threads = None,
    device: Device = None,
    compile_: Compile = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Judge a detector of your own against the designs of a run, on the same muons."""
    from tomopt_tasks.runs.judging import judge  # noqa: PLC0415
    from tomopt_tasks.runs.manifest import find_run  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    compute(device, None, threads, compile_)
    results = open_store(store or default_store(), create=False)
    judged = judge(results, find_run(results, against), detector)
    say(judged.answer(), as_json=as_json)


@app.command()
def predict(
    file: Annotated[
        Path, typer.Argument(help="Object: npz or CSV, see data/README.md.", show_default=False)
    ],
    run: Annotated[str, typer.Option("--with", metavar="RUN", help="Run, or study.")],
    design: Annotated[str, typer.Option(help="Design of the run.")] = "fit",
    out: Annotated[Path | None, typer.Option(help="Write what is predicted (npz).")] = None,
    store: StoreUrl = None,
    threads: Threads = None,
    device: Device = None,
    as_json: AsJson = False,
    trust: Trust = None,
) -> None:
    """Predict an object of your own with a detector of a run."""
    import numpy as np  # noqa: PLC0415

    from tomopt_tasks.runs.manifest import find_run  # noqa: PLC0415
    from tomopt_tasks.runs.predicting import predict_object  # noqa: PLC0415
    from tomopt_tasks.store.opening import open_store  # noqa: PLC0415

    compute(device, None, threads)
    results = open_store(store or default_store(), create=False)
    found = predict_object(results, find_run(results, run), file, design)
    if out is not None:
        grids = {} if found.grids is None else {found.grid or "x0": found.grids}
        with writing(out, "choose another place with --out"):
            np.savez(out, allow_pickle=False, prediction=found.values, **grids)
    say(found.answer(), as_json=as_json)


@app.command()
def check(
    part: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="A scene, inferrer, loss or callback.")
    ],
    family: Annotated[
        Family | None, typer.Option("--as", help="What it is; default: what it looks like.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="a=1", help="An option; repeatable.")
    ] = None,
    trust: Trust = None,
    voxels: Annotated[
        bool, typer.Option("--voxels", help="It is about grids of voxels, not one number a volume.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try the laws that every scene, inferrer, loss and callback obeys on one of your own."""
    from tomopt_tasks.commands.check import answer, report  # noqa: PLC0415

    request = (part, family, pairs(options))
    if as_json:
        say(answer(*request, voxels=voxels), as_json=True)
        return
    for line in report(*request, voxels=voxels):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    import json  # noqa: PLC0415

    from tomopt_tasks.config.schema import json_schema  # noqa: PLC0415

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _import_ahead(*, engine: bool) -> None:
    """What takes seconds to import: what draws, and torch with the stages if some will run."""
    import tomopt_tasks.reports.page  # noqa: PLC0415

    if engine:
        import tomopt_tasks.stages  # noqa: F401, PLC0415


add_to(app)
service.add_to(app)


if __name__ == "__main__":
    main()
