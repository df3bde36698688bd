"""How a run stands as Markdown: the epoch, the loss, what was cached, and why it ended."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomopt_tasks.reports.markdown import loss_image, markdown_table
from tomopt_tasks.reports.standing import Standing, metrics_of


def render_status(standing: Standing) -> str:
    """Headline, what happens now, the loss, and one row a kind of stage."""
    parts = [f"# {standing.run}: {standing.state}"]
    parts += filter(None, (standing.words, standing.progress))
    if standing.state == "running" and standing.now:
        parts.append(f"Now: **{standing.now}**")
    parts += [*_epochs(standing), *_stages(standing)]
    for title, rows in standing.tables.items():
        parts += [f"## {title}", markdown_table(rows)] if rows else []
    if standing.facts:
        parts.append(markdown_table([dict(standing.facts)]))
    return "\n\n".join(parts) + "\n"


def _epochs(standing: Standing) -> Iterator[str]:
    done, total = standing.epochs
    if total:
        words = [f"{done} of {total} epochs.", loss_words(standing.history)]
        yield " ".join(filter(None, [*words, *metric_lines(standing.history)]))
    if len(_losses(standing.history)) > 1:
        yield loss_image(standing.history)


def _stages(standing: Standing) -> Iterator[str]:
    if standing.stages:
        ran = sum(bool(stage["ran"]) for stage in standing.stages)
        cached = len(standing.stages) - ran
        yield f"{ran} stages ran, {cached} were cached, of {standing.n_stages}."
        yield markdown_table(stage_rows(standing.stages))


def loss_words(history: Sequence[Mapping[str, Any]]) -> str:
    """The last loss and the best one."""
    losses = _losses(history)
    if not losses:
        return ""
    best = min(losses, key=lambda pair: pair[1])
    return f"Loss {losses[-1][1]:.4g}, the best {best[1]:.4g} in epoch {best[0] + 1}."


def metric_lines(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The last value of each metric and the best one."""
    for name in dict.fromkeys(name for row in history for name in metrics_of(row)):
        rows = [row for row in history if metrics_of(row).get(name) is not None]
        if rows:
            of = [row["metrics"][name] for row in rows]
            sign = 1.0 if of[-1]["lower_is_better"] else -1.0
            best = min(range(len(of)), key=lambda number: sign * of[number]["value"])
            text = f"{name} {of[-1]['value']:.4g}, the best {of[best]['value']:.4g}"
            yield f"{text} in epoch {int(rows[best]['epoch']) + 1}."


def stage_rows(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row for each kind of stage: how many were cached, how many ran, and why."""
    rows = []
    for name in dict.fromkeys(str(stage["name"]) for stage in stages):
        ours = [stage for stage in stages if stage["name"] == name]
        ran = [stage for stage in ours if stage["ran"]]
        why = dict.fromkeys(str(stage.get("reason") or "") for stage in ran)
        rows.append(
            {
                "stage": name.replace("_", " "),
                "cached": str(len(ours) - len(ran)),
                "ran": str(len(ran)),
                "why it ran": "; ".join(reason for reason in why if reason),
            }
        )
    return rows


def _losses(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    return [
        (int(row["epoch"]), float(row["loss"]))
        for row in history
        if isinstance(row.get("loss"), int | float) and math.isfinite(row["loss"])
    ]
