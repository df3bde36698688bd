"""What a Prefect server needs to know of this project: pool, queues, deployments, crashes."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from tomopt_tasks.caching.keys import digest
from tomopt_tasks.config.document import read_document
from tomopt_tasks.core import UserError
from tomopt_tasks.project import state_folder

POOL = "local"
HEARTBEATS = 3
"""Heartbeats that a run may miss before it counts as crashed."""

SILENT = "tomopt: runs without a sign of life have crashed"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


async def prepare_pool(limits: dict[str, int | None]) -> None:
    """Make the pool and its queues, and set how many runs each lets through at a time.

    Args:
        limits: name of a queue -> runs at a time; None: as many as its workers take.
    """
    async with get_client() as client:
        try:
            await client.read_work_pool(POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template)
            await client.create_work_pool(pool)
        for name, limit in limits.items():
            await _queue(client, name, limit)
        await _crash_what_is_silent(client)


async def _queue(client: PrefectClient, name: str, limit: int | None) -> None:
    try:
        queue = await client.create_work_queue(name=name, work_pool_name=POOL)
    except ObjectAlreadyExists:
        queue = await client.read_work_queue_by_name(name, work_pool_name=POOL)
    await client.update_work_queue(queue.id, concurrency_limit=limit)


async def _crash_what_is_silent(client: PrefectClient) -> None:
    """A run whose heartbeats stop has crashed, also if its worker died with it."""
    heartbeat = "prefect.flow-run.heartbeat"
    every = float(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    wanted = AutomationCore(
        name=SILENT,
        description="Made by `tomopt up`.",
        trigger=EventTrigger(
            after={heartbeat},
            expect={heartbeat, *(f"prefect.flow-run.{end}" for end in ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=HEARTBEATS * every + 10),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="its process has given no sign of life; run it again to go on",
            )
        ],
    )
    for old in await client.read_automations_by_name(SILENT):
        await client.delete_automation(old.id)
    await client.create_automation(wanted)


async def workers_online(names: set[str]) -> bool:
    """Whether all of some workers have reported."""
    async with get_client() as client:
        found = await client.read_workers_for_work_pool(POOL)
    return names <= {worker.name for worker in found if worker.status == "ONLINE"}


def deploy(root: Path, environment: dict[str, str]) -> bool:
    """Deploy what ``prefect.yaml`` declares, unless exactly that was deployed here before.

    A schedule that somebody has switched on or off stays so, unless the file has another word on
    it than last time: Prefect by itself would switch it as the file says.

    Raises:
        UserError: there is no such file, or Prefect refuses it.
    """
    file = root / "prefect.yaml"
    if not file.is_file():
        raise UserError(f"there is no {file}; call this in the folder of the project")
    mark = state_folder() / "deployed.json"
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else {}
    text = file.read_text(encoding="utf-8")
    seen = digest([text, str(root), environment["PREFECT_API_URL"]])
    if known.get("digest") == seen:
        return False
    declared = switches_in(file)
    before = asyncio.run(switches())
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=root,
        env={**os.environ, **environment, "PWD": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join((done.stdout + done.stderr).split())[-300:]
        raise UserError(f"{file} could not be deployed: {words}")
    asyncio.run(switch(kept(before, declared, known.get("switches", declared))))
    mark.write_text(json.dumps({"digest": seen, "switches": declared}), encoding="utf-8")
    return True


Switches = dict[str, bool]
"""Deployment/slug of a schedule -> whether it is on."""


def switches_in(file: Path) -> Switches:
    """What a deployment file says about its schedules that have a slug."""
    return {
        f"{each['name']}/{schedule['slug']}": bool(schedule.get("active", True))
        for each in read_document(file).data["deployments"]
        for schedule in each.get("schedules", ())
        if schedule.get("slug")
    }


def kept(before: Switches, declared: Switches, earlier: Switches) -> Switches:
    """Those schedules that a deployment must not switch: the file says the same as last time.

    Args:
        before: how they are switched on the server.
        declared: what the file says.
        earlier: what it said last time.
    """
    return {
        place: on
        for place, on in before.items()
        if place in declared and declared[place] == earlier.get(place, declared[place])
    }


async def switches() -> Switches:
    """How the schedules on the server are switched."""
    async with get_client() as client:
        return {
            f"{each.name}/{schedule.slug}": bool(schedule.active)
            for each in await client.read_deployments()
            for schedule in each.schedules
            if schedule.slug
        }


async def switch(wanted: Switches) -> None:
    """Switch schedules on the server."""
    async with get_client() as client:
        for each in await client.read_deployments():
            for schedule in each.schedules:
                on = wanted.get(f"{each.name}/{schedule.slug}")
                if on is not None and on != schedule.active:
                    await client.update_deployment_schedule(each.id, schedule.id, active=on)


async def deployments() -> list[Any]:
    """The deployments that the server has."""
    async with get_client() as client:
        return list(await client.read_deployments())
