"""Whether scenes, inference, loss and evaluation speak of the same quantity."""

from collections.abc import Sequence
from itertools import pairwise

from tomopt_tasks.config.constraints import Constraints
from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.settings import InferenceSettings, judged_by_density, predicted
from tomopt_tasks.inference.x0_settings import DenseBlockSettings, VoxelClassSettings
from tomopt_tasks.losses.settings import (
    LadleLayerLossSettings,
    LossSettings,
    VolumeClassLossSettings,
    VolumeIntClassLossSettings,
    VoxelClassLossSettings,
    VoxelX0LossSettings,
)
from tomopt_tasks.materials import X0, find_material
from tomopt_tasks.volume.scene_settings import (
    BlockPresentSettings,
    RandomBlockSettings,
    SceneSettings,
    has_number,
)
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World

LOSSES = {
    "poca_z_fill_level": ("expected_mse", "spread_range", "volume_mse"),
    "voxel_x0": ("voxel_x0",),
    "voxel_class": ("voxel_class",),
    "dense_block": ("volume_class", "volume_mse", "spread_range"),
    "edge_detector": ("ladle_layer", "volume_int_class"),
    "learned number": ("volume_mse", "spread_range"),
    "learned classes": ("volume_class",),
    "learned integers": ("volume_int_class",),
    "learned x0": ("voxel_x0",),
    "learned voxel_class": ("voxel_class",),
}
"""Kind of inference, and what a learned one predicts -> losses that can judge it, the usual one
first."""

SAME = 1e-6
"""Relative difference up to which targets and radiation lengths count as equal."""

OWN_LOSSES = {
    "number": ("volume_mse", "spread_range", "volume_class", "expected_mse"),
    "voxels": ("voxel_x0",),
}
"""What an inferrer of the user's own predicts -> losses that can judge it."""


def fill_loss(loss: LossSettings, inference: InferenceSettings, world: World) -> LossSettings:
    """The loss with the classes and integers of the inference where it leaves them open."""
    learned = inference if isinstance(inference, LearnedSettings) else None
    if isinstance(loss, VoxelX0LossSettings) and loss.of is None:
        return loss.model_copy(update={"of": "density" if judged_by_density(inference) else "x0"})
    if isinstance(loss, VoxelClassLossSettings) and loss.materials is None:
        if isinstance(inference, VoxelClassSettings | LearnedSettings):
            return loss.model_copy(update={"materials": inference.materials})
    elif isinstance(loss, VolumeClassLossSettings) and loss.targets is None:
        return loss.model_copy(update={"targets": learned.targets if learned else (0.0, 1.0)})
    elif isinstance(loss, VolumeIntClassLossSettings):
        first, step = world.passive[0] + world.voxel, world.voxel  # tops of the layers of a ladle
        if learned is not None:
            first, step = learned.targets[0], learned.targets[1] - learned.targets[0]
        update = {"first": first, "step": step}
        given = {name: value for name in update if (value := getattr(loss, name)) is not None}
        return loss.model_copy(update=update | given)
    return loss


def check_inference(inference: InferenceSettings, world: World, *, trained: bool) -> None:
    """Classes differ, integers are consecutive, and something trains a network.

    Raises:
        Problem: at the first entry that is wrong.
    """
    here: Path = ("inference",)
    if isinstance(inference, LearnedSettings) and not trained:
        text = 'got "learned", but nothing trains the network: the fit has no phases; add '
        raise Problem((*here, "kind"), text + "fit.phases or choose another kind")
    if isinstance(inference, DenseBlockSettings):
        n_z, n_x, n_y = world.shape
        if inference.voxels >= n_z * n_x * n_y:
            text = f"got {inference.voxels}, but the volume has {n_z * n_x * n_y} voxels; lower it"
            raise Problem((*here, "voxels"), text)
    if predicted(inference) == "voxel_class":
        assert isinstance(inference, VoxelClassSettings | LearnedSettings)
        _check_materials(inference.materials, (*here, "materials"))
    if isinstance(inference, LearnedSettings) and inference.predicts in ("classes", "integers"):
        _check_ascending(inference.targets, (*here, "targets"))
        first, second = inference.targets[:2]
        for i, target in enumerate(inference.targets):
            wanted = first + i * (second - first)
            if inference.predicts == "integers" and abs(target - wanted) > SAME * (second - first):
                text = f"got {target:g}, but integers are at equal distances: {wanted:g}; change it"
                raise Problem((*here, "targets", i), text)


def check_loss(
    inference: InferenceSettings, loss: LossSettings, scene: SceneSettings, world: World
) -> None:
    """The loss can judge what the inference predicts of the training volumes.

    Args:
        inference: with what it predicts.
        loss: with its classes filled in.
        scene: the training volumes.
        world: their box.

    Raises:
        Problem: at the kind of the loss, or at its classes.
    """
    kind: str = inference.kind
    known = OWN_LOSSES[inference.predicts] if inference.kind == "own" else ()
    if isinstance(inference, LearnedSettings):
        kind = f"learned {inference.predicts}"
    allowed = (*(known or LOSSES[kind]), "own")
    if loss.kind not in allowed:
        shown = kind.replace("learned ", "learned with predicts: ")
        text = f'got "{loss.kind}", which cannot judge inference.kind {shown}; write '
        raise Problem(("loss", "kind"), text + " or ".join(allowed[:-1]))
    if isinstance(loss, VoxelClassLossSettings):
        assert isinstance(inference, VoxelClassSettings | LearnedSettings)
        if loss.materials != inference.materials:
            raise Problem(
                ("loss", "materials"),
                "are not those of inference.materials, in their order; leave them out",
            )
    if isinstance(loss, VolumeClassLossSettings):
        assert loss.targets is not None
        _check_ascending(loss.targets, ("loss", "targets"))
        _check_volume_classes(loss.targets, inference, scene)
    if isinstance(loss, VolumeIntClassLossSettings):
        _check_integers(loss, inference, scene, world)
    _check_ladle_layer(loss, scene, world)


def _check_ladle_layer(loss: LossSettings, scene: SceneSettings, world: World) -> None:
    if isinstance(loss, LadleLayerLossSettings) and isinstance(scene, LadleFurnaceSettings):
        full = world.passive[1] - SAME
        if scene.heights[-1] > full:
            last = len(scene.heights) - 1
            text = f"got {scene.heights[-1]:g} m, but the loss ladle_layer looks for an edge below "
            text += f"{world.passive[1]:g} m; leave out ladles that are full to the top"
            raise Problem(("scenes", "train", "heights", last), text)


def check_cost(loss: LossSettings, constraints: Constraints) -> None:
    """A price moves a detector only where nothing else fixes its cost.

    Raises:
        Problem: at the target of the cost.
    """
    target = getattr(loss, "target_budget", None)
    if target is not None and constraints.area is not None:
        raise Problem(
            ("loss", "target_budget"),
            f"got {target:g}, but constraints.area keeps the cost of the detector at "
            f"{constraints.area:g} m2; write constraints: {{area: null}} or leave it out",
        )


def _check_volume_classes(
    targets: Sequence[float], inference: InferenceSettings, scene: SceneSettings
) -> None:
    path: Path = ("loss", "targets")
    if isinstance(inference, LearnedSettings) and targets != inference.targets:
        raise Problem(path, "are not those of inference.targets; leave them out")
    if isinstance(inference, DenseBlockSettings) and len(targets) != 2:
        text = f"got {len(targets)} classes, but dense_block tells two apart; write two"
        raise Problem(path, text)
    there = _targets_of(scene)
    for i, target in enumerate(targets):
        if there and not any(abs(target - each) <= SAME * max(1.0, abs(each)) for each in there):
            shown = ", ".join(f"{each:g}" for each in there[:8])
            raise Problem(
                (*path, i),
                f"got {target:g}, but no volume of scenes.train ({scene.kind}) has that target; "
                f"write some of {shown}",
            )


def _check_integers(
    loss: VolumeIntClassLossSettings,
    inference: InferenceSettings,
    scene: SceneSettings,
    world: World,
) -> None:
    """Every target of the scene is one of the integers that are predicted."""
    assert loss.first is not None
    assert loss.step is not None
    n_layers = world.shape[0] - 1  # the floor of a ladle is none
    n_classes = inference.n_outputs if isinstance(inference, LearnedSettings) else n_layers
    last = loss.first + (n_classes - 1) * loss.step
    for target in _targets_of(scene):
        steps = (target - loss.first) / loss.step
        if abs(steps - round(steps)) > 1e-3 or not 0 <= round(steps) < n_classes:
            raise Problem(
                ("loss", "first"),
                f"got integers at {loss.first:g} to {last:g} in steps of {loss.step:g}, but "
                f"scenes.train has a volume with target {target:g}; change first and step, or "
                "inference.targets",
            )


def _targets_of(scene: SceneSettings) -> tuple[float, ...]:
    """Targets that volumes of a family have; none: any number."""
    if isinstance(scene, LadleFurnaceSettings):
        return () if scene.vary is not None else scene.heights
    if scene.kind in ("u_lorry", "cargo"):
        return (0.0, 1.0)
    if isinstance(scene, RandomBlockSettings | BlockPresentSettings):
        return tuple(find_material(name).x0 for name in scene.materials or X0)
    return ()


def _check_materials(names: Sequence[str], path: Path) -> None:
    """Materials exist and differ in radiation length."""
    seen: dict[float, str] = {}
    for i, name in enumerate(names):
        try:
            x0 = find_material(name).x0
        except UserError as error:
            raise Problem((*path, i), str(error)) from error
        twin = next((n for other, n in seen.items() if abs(x0 - other) <= SAME * x0), None)
        if twin is not None:
            text = f'got "{name}", whose radiation length is that of {twin}; remove one'
            raise Problem((*path, i), text)
        seen[x0] = name


def _check_ascending(targets: Sequence[float], path: Path) -> None:
    for i, (before, target) in enumerate(pairwise(targets), start=1):
        if not before < target:
            text = f"got {target:g} after {before:g}, but targets are ascending; sort them"
            raise Problem((*path, i), text)


def check_targets(scene: SceneSettings, inference: InferenceSettings, split: str) -> None:
    """The scene has what the inference predicts.

    Raises:
        Problem: at the kind of the scene.
    """
    path = ("scenes", split, "kind")
    ladle = inference.kind in ("poca_z_fill_level", "edge_detector")
    if ladle and scene.kind not in ("ladle_furnace", "file", "own"):
        text = f'got "{scene.kind}", but inference.kind {inference.kind} predicts fill heights; '
        raise Problem(path, text + "write ladle_furnace or another inference.kind")
    if predicted(inference) == "number" and not has_number(scene):
        text = f'got "{scene.kind}", which has no one number per volume that {inference.kind} '
        raise Problem(path, text + "could predict; use inference.kind voxel_x0 or voxel_class")


def check_correction(inference: InferenceSettings, evaluation: EvaluationSettings) -> None:
    """Voxels are judged as they are.

    Raises:
        Problem: at the correction.
    """
    if predicted(inference) != "number" and evaluation.correction != "none":
        text = f'got "{evaluation.correction}", but predictions of voxels are judged as they '
        raise Problem(("evaluation", "correction"), text + "are; write none or leave it out")
