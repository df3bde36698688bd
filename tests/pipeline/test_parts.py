"""Every loss, inferrer and scene of the library, chosen in a study file: it fits and is judged."""

import itertools
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.target_checks import LOSSES
from tomopt_tasks.core import UserError
from tomopt_tasks.inference.settings import InferenceSettings
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.scene_settings import SceneSettings

FILE = Path(__file__).with_name("parts.yaml")
LADLE = "kind: ladle_furnace, heights: [0.8, 1.0], per_height: 3, slag: 0.2"
SCENES = {
    "u_lorry": "kind: u_lorry, uranium: 0.008 m3, volumes: 6",
    "cargo": "kind: cargo, load: complex, volumes: 6",
    "ladle_furnace": LADLE,
    "random_block": "kind: random_block, materials: [lead, iron, water], volumes: 6",
    "block_present": "kind: block_present, materials: [lead, iron, water], volumes: 6",
    "voxel": "kind: voxel, materials: [lead, beryllium], volumes: 6",
    "small_walls": "kind: small_walls, min_height: 1, volumes: 6",
    "boxes": "kind: boxes, boxes: [{low: [0.2, 0.2, 0.4], high: [0.4, 0.4, 0.6]}], volumes: 6",
    "lead_in_beryllium": "kind: lead_in_beryllium, low: [0.2, 0.2, 0.4], high: [0.4, 0.4, 0.6], "
    "volumes: 6",
}
INFERENCE = {
    "poca_z_fill_level": "kind: poca_z_fill_level",
    "voxel_x0": "kind: voxel_x0, method: {kind: tomopt}",
    "voxel_class": "kind: voxel_class, materials: [beryllium, lead, water]",
    "dense_block": "kind: dense_block, voxels: 1, cut: 100, average: false",
    "edge_detector": "kind: edge_detector, pipeline: [avg_layers, negative, max_div_min]",
    "learned number": "kind: learned, width: 2",
    "learned classes": "kind: learned, predicts: classes, width: 2",
    "learned integers": "kind: learned, predicts: integers, targets: [0.8, 1.0], width: 2",
    "learned x0": "kind: learned, predicts: x0, width: 2",
    "learned voxel_class": "kind: learned, predicts: voxel_class, width: 2",
}
WHERE = {
    "poca_z_fill_level": "ladle_furnace",
    "edge_detector": "ladle_furnace",
    "learned integers": "ladle_furnace",
    "voxel_x0": "small_walls",
    "voxel_class": "boxes",
    "learned x0": "lead_in_beryllium",
    "learned voxel_class": "voxel",
    "learned classes": "cargo",
    "learned number": "random_block",
    "dense_block": "u_lorry",
}
EXTRA = {("learned number", "spread_range"): "ladle_furnace"}
CHOICES = [
    (inference, loss, EXTRA.get((inference, loss), WHERE[inference]))
    for inference, losses in LOSSES.items()
    for loss in losses
] + [("dense_block", "volume_mse", "block_present")]


def kinds(union):
    return {part.model_fields["kind"].default for part in get_args(get_args(union)[0])}


def chosen(inference, loss, scene, *more):
    """The small study with these parts."""
    changes = [
        ("scenes.train", f"{{{SCENES[scene]}}}"),
        ("inference", f"{{{INFERENCE[inference]}}}"),
    ]
    changes += [("loss", f"{{kind: {loss}}}"), *more]
    if inference.startswith("learned"):
        changes.append(("fit.optimiser.model", "{kind: adam, rate: 0.02}"))
        changes.append(("compare", "[fit, other]"))
    return load_study(FILE, changes)


def test_the_choices_below_leave_no_part_out():
    elsewhere = {"own", "file"}
    assert kinds(InferenceSettings) - elsewhere == {name.split()[0] for name in INFERENCE}
    assert kinds(LossSettings) - elsewhere == {loss for _, loss, _ in CHOICES}
    assert kinds(SceneSettings) - elsewhere == set(SCENES) == {scene for _, _, scene in CHOICES}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all: banks of a scene are made once."""
    return open_store(tmp_path_factory.mktemp("parts") / "store")


@pytest.mark.parametrize(("inference", "loss", "scene"), CHOICES)
def test_every_part_fits_and_is_judged(inference, loss, scene, store):
    study = chosen(inference, loss, scene)
    with begin(study, store) as run:
        run_all(run)
    stages = {stage.label: stage for stage in plan_study(study)}
    last = store.find("checkpoint", stages["fit epoch 2"].key)
    first = store.find("checkpoint", stages["start of the fit"].key)
    assert np.isfinite(last.metrics["loss"])
    assert all(np.isfinite(norm) for norm in last.metrics["grad_norms"].values())
    assert last.metrics["grad_norms"]["z"] > 0
    moved = [a["z"] != b["z"] for a, b in zip(first.metrics["geometry"], last.metrics["geometry"],
             strict=True)]  # fmt: skip
    assert all(moved)
    figures = store.get_record(store.find("evaluation", stages["evaluation"].key))["designs"]
    assert set(figures) == set(study.compare)
    assert all(np.isfinite(design["mse"]) for design in figures.values())


def test_what_does_not_fit_together_ends_in_a_sentence():
    wrong = []
    for inference, loss in itertools.product(INFERENCE, sorted(kinds(LossSettings) - {"own"})):
        if loss not in LOSSES[inference]:
            with pytest.raises(UserError, match=r"loss\.kind: got .*cannot judge.*; write "):
                chosen(inference, loss, WHERE[inference])
            wrong.append(loss)
    assert len(wrong) == 10 * 8 - sum(map(len, LOSSES.values()))


@pytest.mark.parametrize("loss", ["volume_mse", "volume_class"])
def test_a_price_shrinks_a_free_detector_and_its_weight_goes_on_from_phase_to_phase(loss, store):
    phases = "[{name: one, epochs: 1, smoothness: 0.5}, {name: two, epochs: 1, smoothness: 0.5}]"
    more = [
        ("constraints", "{area: null}"),
        ("fit.phases", phases),
        ("fit.optimiser.side.rate", "0.1"),
    ]
    priced = [("loss.target_budget", "0.5"), *more]
    ends = {}
    for changes in (more, priced):
        study = chosen("dense_block", loss, "u_lorry", *changes)
        with begin(study, store) as run:
            run_all(run)
        epochs = [stage for stage in plan_study(study) if stage.name == "fit_epoch"]
        ends[len(changes)] = [store.find("checkpoint", stage.key) for stage in epochs]
    areas = {n: sum(p["area"] for p in refs[-1].metrics["geometry"]) for n, refs in ends.items()}
    assert areas[len(priced)] < areas[len(more)]
    weights = [store.get_record(ref)["loss"] or store.get_record(ref)["of_loss"]
               for ref in ends[len(priced)]]  # fmt: skip
    assert str(weights[0]) == str(weights[1])
    assert "nan" not in str(weights[0])
