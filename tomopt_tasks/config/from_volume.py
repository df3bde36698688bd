"""A study of the volume and the wrapper that a notebook has built."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tomopt_tasks.config.document import Document
from tomopt_tasks.config.load import study_of
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import UserError
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.base import AbsVolumeWrapper
from tomopt_tasks.wrapper.described import (
    describe_inference,
    describe_layers,
    describe_loss,
    describe_optimiser,
    describe_plane,
    describe_source,
    told,
)

Tree = dict[str, Any]
ATTRIBUTES = {"xy": "xy", "z": "z", "side": "xy_span"}


def study_from_volume(volume: Volume, wrapper: AbsVolumeWrapper | None, **parts: Any) -> Study:  # noqa: ANN401
    """The study in which the detector of a volume is optimised as a wrapper would.

    World, detector and budget come from the volume; inference, loss, optimisers with their rates,
    the muon source and the seed from the wrapper. What neither knows comes from the arguments:
    the objects, how many muons, the phases of the fit.

    Args:
        volume: passive layers between detector layers of panels.
        wrapper: of this volume; None: all but world and detector is a default, or given.
        parts: entries of a study file as mappings, laid over what was found: ``study``, ``scenes``,
            ``muons``, ``fit`` and so on.

    Raises:
        UserError: something has no word in a study, or the study would not be valid.
    """
    found: Tree = {"version": 1, "study": "notebook", "world": _world(volume)}
    found["detectors"] = {"start": {"layers": describe_layers(volume)}}
    found["constraints"] = _constraints(volume)
    if wrapper is not None:
        if wrapper.volume is not volume:
            raise UserError("the wrapper has another volume; give that one: wrapper.volume")
        found |= _of_wrapper(wrapper, parts)
    return study_of(Document(_laid_over(found, copy.deepcopy(parts)), "Study.from_volume"))


def _world(volume: Volume) -> Tree:
    low, high = (told(z) for z in volume.get_passive_z_range())
    return {
        "size": [told(width) for width in volume.lw],
        "passive": [low, high],
        "voxel": float(volume.passive_size),
        "height": told(volume.h),
    }


def _constraints(volume: Volume) -> Tree:
    gaps = [float(getattr(layer, "min_separation", 0.0)) for layer in volume.get_detectors()]
    panels = [panel for layer in volume.get_detectors() for panel in layer.panels]
    area = None
    if volume.budget is not None:
        area = float(volume.budget) / float(panels[0].m2_cost)
    return {"area": area, "gap": min(gaps)}


def _of_wrapper(wrapper: AbsVolumeWrapper, given: Mapping[str, Any]) -> Tree:
    found: Tree = {"seed": wrapper.seed}
    if "inference" not in given:
        inferrers = (wrapper.partial_scatter_inferrer, wrapper.partial_volume_inferrer)
        found["inference"] = describe_inference(*inferrers)
    loss = None if "loss" in given else describe_loss(wrapper.loss_func)
    if loss is not None:
        found["loss"] = loss
    muons = given.get("muons")
    said = muons if isinstance(muons, Mapping) else {}
    if "source" not in said:
        found["muons"] = {"source": describe_source(wrapper.mu_generator)}
        if "plane" not in said:
            found["muons"] |= describe_plane(wrapper.mu_generator, wrapper.volume)
    optimisers = {_moved(name, wrapper): (name, opt) for name, opt in wrapper.opts.items()}
    found["fit"] = {
        "optimiser": {key: describe_optimiser(*each) for key, each in optimisers.items()},
        "parameters": _rules(list(optimisers)),
    }
    if not optimisers:
        del found["fit"]
    return found


def _rules(keys: Sequence[str]) -> Tree:
    """Free is what an optimiser moves, in all groups (``z``) or in one (``z.above``)."""
    rules: Tree = {name: "free" if name in keys else "frozen" for name in ATTRIBUTES}
    groups: dict[str, Tree] = {}
    for key in keys:
        parameter, _, group = key.partition(".")
        if group:
            groups.setdefault(group, {})[parameter] = "free"
    return {**rules, "groups": groups}


def _moved(name: str, wrapper: AbsVolumeWrapper) -> str:
    """What an optimiser moves, in the words of a study: ``xy``, ``z.above``, ``side`` ..."""
    opt, volume = wrapper.opts[name], wrapper.volume
    moved = {id(each) for group in opt.param_groups for each in group["params"]}
    layers = volume.get_detectors()
    if volume.budget is not None and moved == {id(volume.budget_weights)}:
        return "side"
    for parameter, attribute in ATTRIBUTES.items():
        sides: dict[str, set[int]] = {}
        for layer in layers:
            ids = {id(getattr(panel, attribute, None)) for panel in layer.panels}
            sides.setdefault(layer.pos, set()).update(ids)
        if moved == set().union(*sides.values()):
            return parameter
        for side, ids in sides.items():
            if moved == ids and sum(layer.pos == side for layer in layers) == 1:
                return f"{parameter}.{side}"
    raise UserError(
        f"the optimiser {name!r} moves something else than xy, z or the sides of all panels, or of "
        "those above or below, which a study cannot say"
    )


def _laid_over(base: Any, over: Any) -> Any:  # noqa: ANN401
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        same = base.get("kind") == over.get("kind") or "kind" not in over
        merged = {k: _laid_over(base[k], v) if k in base else v for k, v in over.items()}
        return {**base, **merged} if same else dict(over)
    return over
