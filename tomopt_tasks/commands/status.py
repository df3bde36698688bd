"""``tomopt status``: the runs of a store, live and past."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tomopt_tasks.commands.answer import Answer, clock, duration, since
from tomopt_tasks.commands.target import of_run, read_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.reports.standing import metric_words
from tomopt_tasks.reports.text import columns
from tomopt_tasks.runs.manifest import ENDS
from tomopt_tasks.store.store import Store

CLOCKS = 2.0
"""Seconds by which the clock of a process and that of a manifest may differ."""


def status(store: Store, names: Sequence[str] = (), most: int = 20) -> Answer:
    """One row a run, the newest first.

    Args:
        store: where the runs are.
        names: runs or studies to show; empty: all.
        most: rows at most.
    """
    runs = store.recent_runs()
    if names:
        runs = [run for run in runs if any(_named(run, name) for name in names)]
    stored = {kind: set(store.keys(kind)) for kind in sorted(set(KINDS.values()))}
    found = [_run(store, run, stored) for run in runs[:most]]
    rows = [
        {
            "run": each["run"],
            "state": each["state"],
            "started": clock(each["started"]),
            "time": duration(each["seconds"]),
            "epochs": f"{each['epochs'][0]}/{each['epochs'][1]}",
            "stages": f"{each['stages'][0]}/{each['stages'][1]}",
            "loss": "" if each["loss"] is None else f"{each['loss']:.4g}",
            **({"metrics": metric_words(each)} if any(e["metrics"] for e in found) else {}),
            "said": each["error"][:60],
        }
        for each in found
    ]
    more = len(runs) - len(found)
    tail = [f"... and {more} older runs: --last {len(runs)}"] if more > 0 else []
    return Answer({"store": store.url, "runs": found}, columns(rows) + tail or ["no runs yet"])


def state_of(entries: Sequence[Mapping[str, Any]]) -> str:
    """Finished, failed, interrupted, running, or killed (on another machine: running or killed)."""
    session = _session(entries)
    ended = [entry["event"] for entry in session if entry["event"] in ENDS]
    if ended:
        return str(ended[-1])
    host = session[0].get("host", {}) if session else {}
    if host.get("name") != platform.node():
        return f"running or killed on {host.get('name', 'an unknown machine')}"
    return "running" if _alive(int(host.get("pid", 0)), str(session[0]["at"])) else "killed"


def _run(store: Store, run: str, stored: Mapping[str, set[str]]) -> dict[str, Any]:
    entries = store.read_run(run)
    members = read_campaign(store, run)
    try:
        stages = of_run(store, run).stages if members is None else []
    except UserError as problem:
        empty = {"started": "", "seconds": 0.0, "loss": None, "metrics": {}}
        empty |= {"error": str(problem)}
        return {"run": run, "state": "damaged", "epochs": (0, 0), "stages": (0, 0), **empty}
    session = _session(entries)
    last = session[-1]
    state = state_of(entries)
    there = [stage for stage in stages if stage.key in stored[KINDS[stage.name]]]
    epochs = [stage for stage in stages if stage.name == "fit_epoch"]
    done = [stage for stage in there if stage.name == "fit_epoch"]
    started = str(session[0]["at"])
    seconds = since(started) if state == "running" else float(last.get("seconds", 0.0))
    return {
        "run": run,
        "state": state,
        "started": started,
        "seconds": seconds,
        "epochs": (len(done), len(epochs)),
        "stages": (len(there), len(stages)),
        **(_numbers(store, done[-1].key) if done else {"loss": None, "metrics": {}}),
        "error": str(last.get("error", "")) or (f"{len(members)} members" if members else ""),
        "host": session[0].get("host", {}),
        "runner": session[0].get("runner", ""),
        "study": session[0].get("source", {}).get("study", ""),
    }


def _session(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The entries from the last start on."""
    starts = [n for n, entry in enumerate(entries) if entry.get("event") == "started"]
    return entries[starts[-1] :] if starts else entries


def _numbers(store: Store, key: str) -> dict[str, Any]:
    """Loss and metrics of an epoch."""
    ref = store.find("checkpoint", key)
    found = ref.metrics if ref else {}
    loss = found.get("loss")
    return {
        "loss": loss if isinstance(loss, float) else None,
        "metrics": found.get("metrics") or {},
    }


def _named(run: str, name: str) -> bool:
    return run.startswith(name) or run.rpartition("-")[0] == name


def _alive(pid: int, started: str) -> bool:
    """Whether the process that wrote a start still lives; a later one may have got its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    begun = _begun(pid)
    return begun is None or begun <= datetime.fromisoformat(started).timestamp() + CLOCKS


def _begun(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where the system does not tell."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(after_name.rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError, IndexError):
        return None
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime"))
    return boot + ticks / os.sysconf("SC_CLK_TCK")
