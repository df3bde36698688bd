"""The stages of a run as a graph: what was found, what ran, and what hangs on what."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tomopt_tasks.reports.numbers import duration

_TITLES = {
    "make_volumes": "volumes",
    "transport_muons": "muon banks",
    "start_fit": "start",
    "try_start": "starts tried",
    "fit_epoch": "epochs",
    "train_model": "models",
    "predict": "predictions",
    "evaluate": "evaluation",
}
_PIPELINE = tuple(_TITLES)
_MOST = 12
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _TOP = 142, 46, 40, 12, 26
_LONGEST = 22


@dataclass(frozen=True, slots=True)
class Node:
    """One stage, or a run of like stages drawn as one box."""

    label: str
    name: str
    keys: tuple[str, ...]
    parents: frozenset[str]
    """Keys of the stages that it hangs on, its own ones left out."""
    ran: int
    cached: int
    seconds: float
    reason: str

    @property
    def state(self) -> str:
        """Either "ran", "cached", or "mixed" for a box with both."""
        if self.ran and self.cached:
            return "mixed"
        return "ran" if self.ran else "cached"

    @property
    def words(self) -> str:
        """What happened, and how long it took."""
        count = len(self.keys)
        things = "epochs" if self.name == "fit_epoch" else "stages"
        head = f"{count} {things} " if count > 1 else ""
        took = duration(self.seconds)
        if self.state == "mixed":
            return f"{self.cached} cached, {self.ran} ran, {took}"
        return f"{head}ran, {took}" if self.ran else f"{head}cached"


def stage_nodes(stages: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Boxes of the graph: epochs of a phase share one, and so do stages that are very many."""
    counts: dict[str, int] = {}
    for stage in stages:
        counts[stage["name"]] = counts.get(stage["name"], 0) + 1
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for stage in stages:
        label = str(stage["label"])
        if stage["name"] == "fit_epoch":
            label = re.sub(r"\s*\bepoch\b\s*\d*$|\s*\d+$", "", label) or "fit"
        elif counts[stage["name"]] > _MOST:
            label = stage["name"].replace("_", " ")
        groups.setdefault((stage["name"], label), []).append(stage)
    return [_node(name, label, members) for (name, label), members in groups.items()]


def _node(name: str, label: str, members: Sequence[Mapping[str, Any]]) -> Node:
    keys = tuple(str(member["key"]) for member in members)
    ran = [member for member in members if member["status"] == "ran"]
    reasons = dict.fromkeys(str(m["reason"]) for m in (ran or members) if m.get("reason"))
    return Node(
        label=label,
        name=name,
        keys=keys,
        parents=frozenset(p for m in members for p in _parents(m)) - frozenset(keys),
        ran=len(ran),
        cached=len(members) - len(ran),
        seconds=sum(float(member.get("seconds") or 0.0) for member in ran),
        reason="; ".join(reasons),
    )


def _parents(stage: Mapping[str, Any]) -> list[str]:
    parents = stage.get("parents") or ()
    return [str(p) for p in (parents.values() if isinstance(parents, Mapping) else parents)]


def graph_svg(stages: Sequence[Mapping[str, Any]]) -> str:
    """The stage graph, a column for each kind of stage; colours come from the page."""
    columns = _columns(stage_nodes(stages))
    rows = max((len(column) for column in columns.values()), default=1)
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X + 4
    height = _TOP + rows * (_HEIGHT + _GAP_Y) + 2
    places: dict[str, tuple[int, int]] = {}
    boxes, heads = [], []
    for index, (name, column) in enumerate(columns.items()):
        x = 2 + index * (_WIDTH + _GAP_X)
        start = _TOP + (rows - len(column)) * (_HEIGHT + _GAP_Y) // 2
        heads.append(f'<text class="head" x="{x}" y="14">{escape(_TITLES.get(name, name))}</text>')
        for row, node in enumerate(column):
            y = start + row * (_HEIGHT + _GAP_Y)
            places |= dict.fromkeys(node.keys, (x, y))
            boxes.append(_box(node, x, y))
    nodes = [node for column in columns.values() for node in column]
    edges = {_edge(places[p], places[node.keys[0]]) for node in nodes for p in _direct(node, nodes)}
    return (
        f'<svg class="graph" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Stage graph">{"".join(heads)}{"".join(sorted(edges))}{"".join(boxes)}</svg>'
    )


def _columns(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Nodes by kind, in the order of the pipeline; each near the parents that it hangs on."""
    names = [name for name in _PIPELINE if any(node.name == name for node in nodes)]
    names += dict.fromkeys(node.name for node in nodes if node.name not in _PIPELINE)
    columns: dict[str, list[Node]] = {}
    rank: dict[str, float] = {}
    for name in names:
        column = [node for node in nodes if node.name == name]
        if name != "fit_epoch":
            column.sort(key=lambda node: _mean_rank(_direct(node, nodes), rank))
        for place, node in enumerate(column):
            rank |= dict.fromkeys(node.keys, place - (len(column) - 1) / 2)
        columns[name] = column
    return columns


def _mean_rank(keys: Iterable[str], rank: Mapping[str, float]) -> float:
    ranks = [rank[key] for key in keys if key in rank]
    return sum(ranks) / len(ranks) if ranks else 0.0


def _direct(node: Node, nodes: Sequence[Node]) -> list[str]:
    """Parents that no other parent hangs on: an edge to the rest would say nothing new."""
    owner = {key: other for other in nodes for key in other.keys}
    parents = {owner[key].keys[-1]: owner[key] for key in node.parents if key in owner}
    implied = {key for parent in parents.values() for key in _ancestors(parent, owner)}
    return sorted(parent.keys[-1] for parent in parents.values() if implied.isdisjoint(parent.keys))


def _ancestors(node: Node, owner: Mapping[str, Node]) -> set[str]:
    found: set[str] = set()
    waiting = list(node.parents)
    while waiting:
        key = waiting.pop()
        if key in owner and key not in found:
            found |= set(owner[key].keys)
            waiting += owner[key].parents
    return found


def _box(node: Node, x: int, y: int) -> str:
    title = f"{node.label}\n{node.reason}\nkey {node.keys[-1]}"
    label = node.label if len(node.label) <= _LONGEST else f"{node.label[: _LONGEST - 1]}…"
    return (
        f'<g class="{node.state}"><title>{escape(title)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text class="label" x="{x + 8}" y="{y + 15}">{escape(label)}</text>'
        f'<text class="more" x="{x + 8}" y="{y + 28}">{escape(node.words)}</text>'
        f'<text class="key" x="{x + 8}" y="{y + 40}">{escape(node.keys[-1][:10])}</text></g>'
    )


def _edge(parent: tuple[int, int], child: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = parent, child
    if x0 == x1:
        x = x0 + _WIDTH // 2
        return f'<path d="M{x} {min(y0, y1) + _HEIGHT}V{max(y0, y1)}"/>'
    x0, y0, y1 = x0 + _WIDTH, y0 + _HEIGHT // 2, y1 + _HEIGHT // 2
    bend = _GAP_X // 2 + (x1 - x0) // 6
    return f'<path d="M{x0} {y0}C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"/>'


def graph_mermaid(stages: Sequence[Mapping[str, Any]]) -> str:
    """The same graph in Mermaid, which Prefect's page draws offline."""
    nodes = stage_nodes(stages)
    names = {key: f"n{index}" for index, node in enumerate(nodes) for key in node.keys}
    lines = ["graph LR"]
    for index, node in enumerate(nodes):
        text = f"{node.label}<br/>{node.words}<br/>{node.keys[-1][:10]}".replace('"', "'")
        lines.append(f'  n{index}["{text}"]:::{node.state}')
    edges = {
        f"  {names[parent]} --> n{index}"
        for index, node in enumerate(nodes)
        for parent in _direct(node, nodes)
    }
    lines += sorted(edges)
    lines += [
        "  classDef ran fill:#cfe3f5,stroke:#0068b5,color:#1d2127",
        "  classDef mixed fill:#e6eff7,stroke:#0068b5,color:#1d2127",
        "  classDef cached fill:#f2f3f5,stroke:#8a919b,color:#1d2127",
    ]
    return "\n".join(lines)
