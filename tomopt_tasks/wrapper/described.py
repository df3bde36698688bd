"""Settings that describe what a notebook has built: the other way round than ``build.py``."""

from collections.abc import Callable, Mapping
from functools import partial
from math import isclose
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.inference.edges import EdgeDetLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_compat import TomOptX0
from tomopt_tasks.inference.x0_map import UnbiasedX0
from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.volumes import VolumeClassLoss, VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.muons.generators import MuonGenerator2015, MuonGenerator2016
from tomopt_tasks.muons.plane import default_margin
from tomopt_tasks.wrapper.optimiser_settings import OPTIMISERS
from tomopt_tasks.wrapper.optimisers import build_optimiser

Tree = dict[str, Any]

READERS: Mapping[str, Callable[[Mapping[str, Any]], Tree]] = {
    "SGD": lambda g: {"kind": "sgd", "momentum": g["momentum"], "nesterov": g["nesterov"]},
    "ASGD": lambda g: {
        "kind": "asgd", "decay": g["lambd"], "power": g["alpha"], "average_after": int(g["t0"]) + 1
    },
    "Adam": lambda g: {"kind": "adam", **_moments(g), "amsgrad": g["amsgrad"]},
    "AdamW": lambda g: {
        "kind": "adamw", **_moments(g), "amsgrad": g["amsgrad"], "decay": g["weight_decay"]
    },
    "Adamax": lambda g: {"kind": "adamax", **_moments(g)},
    "NAdam": lambda g: {"kind": "nadam", **_moments(g), "momentum_decay": g["momentum_decay"]},
    "RAdam": lambda g: {"kind": "radam", **_moments(g)},
    "RMSprop": lambda g: {
        "kind": "rmsprop", "momentum": g["momentum"], "beta2": g["alpha"], "eps": g["eps"],
        "centred": g["centered"],
    },
    "Adagrad": lambda g: {"kind": "adagrad", "rate_decay": g["lr_decay"], "eps": g["eps"]},
    "Adadelta": lambda g: {"kind": "adadelta", "rho": g["rho"], "eps": g["eps"]},
    "Rprop": lambda g: {
        "kind": "rprop", "shrink": g["etas"][0], "grow": g["etas"][1],
        "smallest": g["step_sizes"][0], "largest": g["step_sizes"][1],
    },
}  # fmt: skip
"""Name of a class of torch -> settings from a group of parameters."""


def _moments(group: Mapping[str, Any]) -> Tree:
    return {"momentum": group["betas"][0], "beta2": group["betas"][1], "eps": group["eps"]}


def describe_optimiser(name: str, opt: Optimizer) -> Tree:
    """Settings that build such an optimiser.

    Raises:
        UserError: it has several groups, or an option that settings have no word for.
    """
    label = type(opt).__name__
    if label not in READERS or len(opt.param_groups) > 1:
        why = "has groups of its own" if label in READERS else f"is a {label}"
        raise UserError(
            f"the optimiser {name!r} {why}, which a study cannot say; its optimisers are "
            f"{', '.join(READERS)}, one group each"
        )
    group = opt.param_groups[0]
    found = READERS[label](group)
    settings = OPTIMISERS[found["kind"]](**found)
    again = build_optimiser(settings, [Parameter(group["params"][0].detach())], group["lr"])  # type: ignore[arg-type]
    for key, value in again.param_groups[0].items():
        if key != "params" and value != group[key]:
            raise UserError(
                f"the optimiser {name!r} has {key} = {group[key]}, which a study cannot say; "
                f"leave it at {value}"
            )
    return {**found, "rate": float(group["lr"])}


def told(value: Tensor) -> float:
    """The shortest number that is this one in its precision: 1.4, not 1.399999976158142."""
    return float(str(value.detach().cpu().reshape(()).numpy()[()]))


def describe_layers(volume: Any) -> list[Tree]:
    """The detector layers with every panel.

    Raises:
        UserError: a layer holds something else than panels.
    """
    layers = volume.get_detectors()
    sides = [layer.pos for layer in layers]
    result = []
    for number, layer in enumerate(layers):
        twice = sides.count(layer.pos) > 1
        group = f"{layer.pos}_{sides[: number + 1].count(layer.pos)}" if twice else layer.pos
        panels = [_panel(p, f"{group}[{i}]") for i, p in enumerate(layer.panels)]
        size, top = float(layer.size), told(layer.z)
        result.append({"pos": layer.pos, "z": top, "size": size, "panels": panels})
    return result


def _panel(panel: Any, name: str) -> Tree:
    if not isinstance(panel, DetectorPanel):
        raise UserError(
            f"{name} is a {type(panel).__name__}, but only panels can be told from a volume; write "
            "the detector of the study by hand"
        )
    soft = isinstance(panel, SigmoidDetectorPanel)
    return {
        "name": name,
        "kind": "sigmoid" if soft else "panel",
        "xy": [told(value) for value in panel.xy],
        "z": told(panel.z),
        "span": [told(value) for value in panel.get_scaled_xy_span()],
        "resolution": told(panel.resolution),
        "efficiency": told(panel.efficiency),
        "m2_cost": told(panel.m2_cost),
        **({"smooth": told(panel.smooth)} if isinstance(panel, SigmoidDetectorPanel) else {}),
        "soft_resolution": panel.soft_resolution,
        "missed_hits": panel.missed_hits,
    }


def describe_inference(scatters: Any, volume: Any) -> Tree:
    """Settings of the two inferrers that a wrapper has.

    Raises:
        UserError: a study has no word for one of them.
    """
    made, options = _unwrapped(volume)
    common = _unwrapped(scatters)[1]
    words = {"policy": "acceptance", "track_fit": "track_fit"}
    unknown = sorted(set(common) - set(words))
    if unknown:
        raise UserError(f"the scatter inferrer has {unknown[0]}, which a study cannot say")
    shared = {words[name]: value for name, value in common.items()}
    if made is PocaZLadleFurnaceFillLevelInferrer:
        return {"kind": "poca_z_fill_level", **shared, **options}
    if made is PanelX0Inferrer:
        return {"kind": "voxel_x0", **shared, **_method(options)}
    if made is EdgeDetLadleFurnaceFillLevelInferrer:
        pipeline = options.get("pipeline")
        steps = {} if pipeline is None else {"pipeline": list(pipeline)}
        return {"kind": "edge_detector", **shared, **steps}
    raise UserError(
        f"the inferrer {getattr(made, '__name__', made)} has no settings that can be told from it; "
        "give them: Study.from_volume(volume, wrapper, inference={...})"
    )


def _method(options: Mapping[str, Any]) -> Tree:
    method = options.get("method")
    if isinstance(method, TomOptX0):
        return {"method": {"kind": "tomopt"}}
    if isinstance(method, UnbiasedX0):
        return {"method": method.model_dump(mode="json")}
    return {}


def _unwrapped(part: Any) -> tuple[Any, Tree]:
    return (part.func, dict(part.keywords)) if isinstance(part, partial) else (part, {})


def describe_loss(loss: Any) -> Tree | None:
    """Settings of the loss of one volume; None: there is none.

    Raises:
        UserError: a study has no word for it.
    """
    if loss is None:
        return None
    kinds: dict[type, Tree] = {
        VolumeMSELoss: {"kind": "volume_mse", "correct": False},
        VoxelX0Loss: {"kind": "voxel_x0"},
        LadleFurnaceIntClassLoss: {"kind": "ladle_layer"},
        VolumeClassLoss: {"kind": "volume_class"},
    }
    if type(loss) not in kinds or not isinstance(loss, AbsDetectorLoss):
        raise UserError(
            f"the loss {type(loss).__name__} has no settings that can be told from it; give them: "
            "Study.from_volume(volume, wrapper, loss={...})"
        )
    more: Tree = {}
    if isinstance(loss, LadleFurnaceIntClassLoss):
        more["squared"] = loss.use_mse
    if isinstance(loss, VolumeClassLoss):
        more["targets"] = sorted(loss.x02id, key=lambda x0: loss.x02id[x0])
    terms = ("target_budget", "budget_smoothing", "cost_coef", "steep_budget")
    return {**kinds[type(loss)], **more, **{name: getattr(loss, name) for name in terms}}


def describe_source(generator: Any) -> Tree:
    """Settings of the source that a wrapper draws from.

    Raises:
        UserError: a study has no word for it.
    """
    made = getattr(generator, "__wrapped__", generator)
    if type(made) in (MuonGenerator2015, MuonGenerator2016):
        settings: Tree = made.source.model_dump(mode="json")
        return settings
    name = getattr(made, "__name__", type(made).__name__)
    raise UserError(
        f"the muon source {name} has no settings that can be told from it, only MuonGenerator2015 "
        "and MuonGenerator2016 have; say what the study draws from: "
        'Study.from_volume(volume, wrapper, muons={"source": {"kind": "shukla2016"}})'
    )


def describe_plane(generator: Any, volume: Any) -> Tree:
    """Where the muons of a 2015 or 2016 source start, unless that is what a study does anyway.

    Raises:
        UserError: not as far beyond all four sides of the volume.
    """
    ranges = (generator.x_range, generator.y_range)
    widths = [told(width) for width in volume.lw]
    low = [-float(each[0]) for each in ranges]
    high = [float(each[1]) - width for each, width in zip(ranges, widths, strict=True)]
    if min(low + high) < -1e-6 or max(low + high) - min(low + high) > 1e-6 * max(widths):
        raise UserError(
            f"the muons start at x {ranges[0]} m and y {ranges[1]} m, but a study can only say how "
            f"far they start beyond all four sides of the volume ({widths[0]} x {widths[1]} m); "
            'use such ranges, or say it: Study.from_volume(volume, wrapper, muons={"plane": ...})'
        )
    drop = float(volume.h) - float(volume.get_passive_z_range()[0])
    usual = default_margin(drop, float(volume.passive_size))
    margin = max(low[0], 0.0)
    return {} if isclose(margin, usual, rel_tol=1e-5) else {"plane": {"margin": margin}}
