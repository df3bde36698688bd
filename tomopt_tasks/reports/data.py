"""What a report is made of, and the words that it uses for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.predictions import Predictions

_LABELS = {"start": "initial", "fit": "optimised"}


@dataclass(frozen=True, slots=True)
class Target:
    """The quantity that is measured, and the unit that people read it in."""

    name: str = "target"
    unit: str = ""
    """Unit of the stored numbers."""
    shown: str = ""
    """Unit on the page."""
    scale: float = 1.0
    """Shown number over stored number."""

    def axis(self, words: str) -> str:
        """An axis label with the unit, if there is one."""
        return f"{words} [{self.shown}]" if self.shown else words

    def square(self, words: str) -> str:
        """The same for a squared quantity, in the stored unit."""
        return f"{words} [{self.unit}²]" if self.unit else words


FILL_HEIGHT = Target("fill height", "m", "mm", 1000.0)
"""Target of the ladle furnace."""

RADIATION_LENGTH = Target("radiation length", "m", "mm", 1000.0)
"""Target where every voxel is predicted."""

DENSITY = Target("scattering density", "1/m", "1/m")
"""Target where voxels are judged by the inverse of their radiation length."""

MATERIAL = Target("material", "", "")
"""Target where the material of every voxel is predicted; errors are shares of wrong voxels."""

PRESENCE = Target("presence", "", "")
"""Target of lorries and cargoes: whether there is something to find."""

BLOCK = Target("radiation length of the block", "m", "mm", 1000.0)
"""Target of the scenes with one block."""

_BY_SCENE = {
    "ladle_furnace": FILL_HEIGHT,
    "u_lorry": PRESENCE,
    "cargo": PRESENCE,
    "random_block": BLOCK,
    "block_present": BLOCK,
}


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that the page shows; equal data give equal bytes."""

    title: str
    study: Mapping[str, Any]
    """The study as JSON (``study.model_dump(mode="json")``)."""
    evaluation: Mapping[str, Any]
    """The evaluation record of the test bank."""
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """Of each design, for the test bank."""
    history: Sequence[Mapping[str, Any]] = ()
    """One row of metrics an epoch: epoch, phase, loss, and where known valid, geometry, rates."""
    first: Mapping[str, Any] = field(default_factory=dict)
    """The row of what the first of these epochs began with: its geometry; empty: not known."""
    films: Mapping[str, bytes] = field(default_factory=dict)
    """Kind of a monitor -> its film (GIF)."""
    stages: Sequence[Mapping[str, Any]] = ()
    """Stages in order: label, name, kind, key, status ("cached" or "ran"), seconds, reason; and
    ``parents``, the keys of their parents, where known."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Versions, seeds, host, times: shown as they are, nested once at most."""
    command: str = ""
    """Shell command that makes the page again."""
    truth: np.ndarray | None = None
    """True radiation lengths [m], or numbers of materials, of the first test volume (z, x, y)."""
    grids: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What each design makes of it, where voxels are predicted."""
    records: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Scatters and hits that were recorded of each design, column by column."""
    older_code: Sequence[str] = ()
    """Designs whose numbers hang on results of older code, taken by --accept-code-changes."""

    def __post_init__(self) -> None:
        if not self.evaluation.get("designs"):
            raise UserError(
                "a report needs an evaluation with at least one design; run the evaluate stage"
            )

    @property
    def target(self) -> Target:
        """The measured quantity, from the kind of the test scenes."""
        return target_of(self.study)


def target_of(study: Mapping[str, Any]) -> Target:
    """The measured quantity of a study's test scenes."""
    inference = study.get("inference") or {}
    kind = (
        inference.get("predicts") if inference.get("kind") == "learned" else inference.get("kind")
    )
    if kind in ("voxel_x0", "x0") or inference.get("predicts") == "voxels":
        return DENSITY if inference.get("error_of") == "density" else RADIATION_LENGTH
    if kind == "voxel_class":
        return MATERIAL
    if kind == "dense_block" and scene_of(study).get("kind") not in ("u_lorry", "cargo"):
        return Target()  # it answers with a number that has no unit
    return _BY_SCENE.get(str(scene_of(study).get("kind")), Target())


def scene_of(study: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the test scenes (of the first family, if there are several)."""
    scenes = study.get("scenes") or {}
    scene = scenes.get("test") or scenes.get("train") or {}
    if isinstance(scene, Sequence):
        scene = scene[0] if scene else {}
    return scene if isinstance(scene, Mapping) else {}


def design_label(name: str) -> str:
    """How a design is called on the page: "start" is the initial, "fit" the optimised one."""
    head, _, tail = name.partition("_")
    return f"{_LABELS.get(head, head)} {tail.replace('_', ' ')}".strip()


def final_design(evaluation: Mapping[str, Any]) -> str:
    """The design that the study is about: "fit", else the best one that is new."""
    designs: Mapping[str, Any] = evaluation["designs"]
    if "fit" in designs:
        return "fit"
    ours = [name for name in designs if name not in ("start", evaluation["reference"])]
    return min(ours or designs, key=lambda name: float(designs[name]["mse"]))


def shown_designs(evaluation: Mapping[str, Any]) -> list[str]:
    """Before, after and the best baseline: those that are drawn side by side."""
    wanted = ("start", final_design(evaluation), evaluation["reference"])
    return [name for name in dict.fromkeys(wanted) if name in evaluation["designs"]]
