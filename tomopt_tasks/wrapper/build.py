"""From the settings of a study to a volume, and to a wrapper in any phase of a fit."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.detector import PanelUpdateLimiter, TieGradients, TieKind
from tomopt_tasks.callbacks.ladle import BatchLoss, ExpectedMSELoss, SpreadRangeLoss
from tomopt_tasks.callbacks.schedules import RelativeSchedule, SigmoidPanelSmoothnessSchedule
from tomopt_tasks.callbacks.warmup import OptConfig
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.heatmap_build import build_heat_map
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.detectors.settings import (
    DetectorSettings,
    LayerSettings,
    PanelSettings,
    learnable,
)
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.learned import MODEL
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.settings import (
    InferenceSettings,
    OwnInferenceSettings,
    PocaZFillLevelSettings,
)
from tomopt_tasks.losses.settings import (
    ExpectedMSELossSettings,
    LossSettings,
    OwnLossSettings,
    SpreadRangeLossSettings,
    VolumeMSELossSettings,
)
from tomopt_tasks.losses.spread import calibrated_mse
from tomopt_tasks.own import build_own
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import ArbVolumeWrapper
from tomopt_tasks.wrapper.guards import build_callbacks, build_judges, build_own_callbacks
from tomopt_tasks.wrapper.optimiser_settings import OptimiserSettings
from tomopt_tasks.wrapper.optimisers import build_optimiser
from tomopt_tasks.wrapper.parts import batch_cost, own_inferrer, volume_loss, x0_inferrer
from tomopt_tasks.wrapper.schedule_settings import ConstantSchedule, OneCycleSettings
from tomopt_tasks.wrapper.settings import Parameter as Learnable
from tomopt_tasks.wrapper.settings import Phase, Tie

DTYPE = torch.float64

ATTRIBUTES = {"side": "xy_span"}
"""Parameters of a study that have another name in the detector."""

MODEL_PARAMETERS = "model"
"""Name of the optimiser of a network that learns with the detector."""


def build_volume(world: World, detector: DetectorSettings) -> Volume:
    """The volume of a world with a detector; all numbers in double precision."""
    _, high = world.passive
    lw = torch.tensor(world.size, dtype=DTYPE)
    passives = [
        PassiveLayer(lw=lw, z=high - k * world.voxel, size=world.voxel)
        for k in range(world.shape[0])
    ]
    layers = [_build_layer(layer, lw) for layer in detector.layers]
    for built in layers:
        built.min_separation = detector.gap
    above = [layer for layer in layers if layer.pos == "above"]
    below = [layer for layer in layers if layer.pos == "below"]
    volume = Volume(nn.ModuleList([*above, *passives, *below]), budget=detector.budget).to(DTYPE)
    if detector.budget is not None:
        costs = [panel.area * panel.m2_cost for panel in detector.panels]
        shares = torch.tensor(costs, dtype=DTYPE).log()
        with torch.no_grad():
            volume.budget_weights.copy_(shares - shares.mean())
        volume.assign_budget()
    return volume


def _build_layer(layer: LayerSettings, lw: torch.Tensor) -> PanelDetectorLayer:
    panels = [_build_panel(panel).to(DTYPE) for panel in layer.panels]
    return PanelDetectorLayer(layer.pos, lw=lw, z=layer.z, size=layer.size, panels=panels)


def _build_panel(panel: PanelSettings) -> DetectorPanel | DetectorHeatMap:
    if panel.kind == "heat_map":
        return build_heat_map(panel, DTYPE)
    common: dict[str, Any] = {
        "res": panel.resolution,
        "eff": panel.efficiency,
        "init_xyz": (*panel.xy, panel.z),
        "init_xy_span": panel.span,
        "m2_cost": panel.m2_cost,
    }
    if panel.kind == "sigmoid":
        built: DetectorPanel = SigmoidDetectorPanel(smooth=panel.smooth, **common)
    else:
        built = DetectorPanel(**common)
    built = built.to(DTYPE)
    built.soft_resolution = panel.soft_resolution
    built.missed_hits = panel.missed_hits
    with torch.no_grad():  # exact: a panel is first built in single precision
        built.xy.copy_(torch.tensor(panel.xy, dtype=DTYPE))
        built.z.fill_(panel.z)
        built.xy_span.copy_(torch.tensor(panel.span, dtype=DTYPE))
        built.resolution.fill_(panel.resolution)
        built.efficiency.fill_(panel.efficiency)
        built.m2_cost.fill_(panel.m2_cost)
    if isinstance(built, SigmoidDetectorPanel):
        built.smooth = panel.smooth
    return built


def build_inference(
    settings: InferenceSettings, *, fitting: bool = True, fiducial: float | None = None
) -> dict[str, Any]:
    """The two inferrers that a wrapper takes.

    Args:
        settings: from scatters to predictions.
        fitting: see ``x0_inferrer``.
        fiducial: see ``ScatterBatch``.
    """
    scatters = partial(
        ScatterBatch,
        policy=settings.acceptance,
        track_fit=settings.track_fit,
        fiducial=fiducial,
    )
    if isinstance(settings, PocaZFillLevelSettings):
        volume: Any = partial(
            PocaZLadleFurnaceFillLevelInferrer,
            smooth=settings.smooth,
            detach_quantiles=settings.detach_quantiles,
            weighted_quantiles=settings.weighted_quantiles,
        )
        return {"partial_scatter_inferrer": scatters, "partial_volume_inferrer": volume}
    if isinstance(settings, OwnInferenceSettings):
        volume = own_inferrer(settings)
    else:
        volume = x0_inferrer(settings, fitting=fitting)
    return {"partial_scatter_inferrer": scatters, "partial_volume_inferrer": volume}


def build_loss(settings: LossSettings) -> tuple[Any, list[Callback]]:
    """The loss of one volume, or the callbacks that set the loss of a batch."""
    if isinstance(settings, SpreadRangeLossSettings):
        return None, [SpreadRangeLoss(), *batch_cost(settings)]
    if isinstance(settings, ExpectedMSELossSettings):
        return None, [ExpectedMSELoss()]
    if isinstance(settings, VolumeMSELossSettings) and settings.correct:
        return None, [BatchLoss(calibrated_mse), *batch_cost(settings)]
    if isinstance(settings, OwnLossSettings):
        return build_own(settings), []
    return volume_loss(settings), []


class PhaseBuilder:
    """Builds what one phase needs: optimisers of what is free, and its callbacks.

    Args:
        volume: the volume to fit.
        detector: its settings, for the names of panels and groups.
        phase: the phase.
        rates: learning rates that the phase before ended its search with.
    """

    def __init__(
        self, volume: Volume, detector: DetectorSettings, phase: Phase, rates: dict[str, float]
    ) -> None:
        self.volume = volume
        self.panels = detector.panels
        self.modules = [panel for layer in volume.get_detectors() for panel in layer.panels]
        self.phase = phase
        self.rates = rates

    def optimisers(self) -> dict[str, Optimizer]:
        """Name -> optimiser, for every named optimiser that has something free to move."""
        built = {}
        for name, settings in self.phase.optimiser.items():
            parameters = self._parameters(name)
            if parameters:
                built[name] = self._optimiser(name, settings, parameters)
        return built

    def _parameters(self, name: str) -> list[Parameter]:
        parameter, _, group = name.partition(".")
        if parameter == MODEL_PARAMETERS:
            model = getattr(self.volume, MODEL, None)
            if model is None or MODEL_PARAMETERS in self.phase.freeze:
                return []
            return list(model.parameters())
        if parameter == "side" and self.volume.budget is not None:
            groups = {panel.group for panel in self.panels}
            free = any(self.phase.rule("side", member) != "frozen" for member in groups)
            return [self.volume.budget_weights] if free else []
        return [
            getattr(module, ATTRIBUTES.get(parameter, parameter))
            for panel, module in zip(self.panels, self.modules, strict=True)
            if group in ("", panel.group)
            and parameter in learnable(panel)
            and (group or f"{parameter}.{panel.group}" not in self.phase.optimiser)
            and self.phase.rule(parameter, panel.group) != "frozen"  # type: ignore[arg-type]
        ]

    def _optimiser(
        self, name: str, settings: OptimiserSettings, parameters: Iterable[Parameter]
    ) -> Optimizer:
        rate = settings.rate or self._wanted(name, settings) or self.rates.get(name)
        return build_optimiser(settings, parameters, rate or 1.0)

    def _wanted(self, name: str, settings: OptimiserSettings) -> float | None:
        """Adam and its kin step by their rate, so that the wanted step itself is the rate."""
        searched = self.phase.find_rates is not None and name != MODEL_PARAMETERS
        if not searched or settings.rate_is != "step":
            return None
        return self._step(name)

    def _step(self, name: str) -> float:
        found = self.phase.find_rates
        assert found is not None
        parameter = name.partition(".")[0]
        if parameter == "side" and self.volume.budget is not None:
            return found.budget
        return float(getattr(found, parameter))

    def callbacks(self, opts: dict[str, Optimizer], loss: Sequence[Callback]) -> list[Callback]:
        """The callbacks of the phase, in the order in which they must run."""
        phase = self.phase
        result = build_own_callbacks(phase.callbacks, first=True)
        result += build_callbacks(phase.callbacks, ("linear_correction",))
        result += loss
        result += build_callbacks(phase.callbacks, ("cost_coef_warmup",))
        if phase.find_rates is not None:
            searched = {
                name: self._step(name)
                for name in opts
                if phase.optimiser[name].rate_is == "per gradient"
                and phase.optimiser[name].rate is None
            }
            result.append(OptConfig(phase.find_rates.epochs, searched))
        result += build_callbacks(phase.callbacks, ("gradient_record", "no_more_nans"))
        result += self._ties()
        limits = phase.limits
        if (limits.xy, limits.z, limits.side) != (None, None, None):
            side = None if self.volume.budget is not None else limits.side
            result.append(PanelUpdateLimiter(limits.xy, limits.z, side))
        if phase.smoothness is not None:
            ramp = phase.smoothness
            result.append(SigmoidPanelSmoothnessSchedule((ramp.start, ramp.stop), ramp.length))
        result += self._schedules(opts)
        result += build_callbacks(phase.callbacks, ("panel_centring",))
        return result + build_judges(phase.callbacks, phase.guards, result)

    def _schedules(self, opts: Iterable[str]) -> list[Callback]:
        schedule = self.phase.schedule
        if schedule is None or isinstance(schedule, ConstantSchedule):
            return []
        cycled = isinstance(schedule, OneCycleSettings) and schedule.momentum is not None
        momentum = schedule.momentum_at if cycled else None  # type: ignore[union-attr]
        length = schedule.length or max(self.phase.epochs, 1)
        return [
            RelativeSchedule(name, partial(schedule.factor, name=name), length, momentum)
            for name in opts
        ]

    def _ties(self) -> list[Callback]:
        result: list[Callback] = []
        for parameter in ("xy", "z", "side"):
            for how, members in self._tied(parameter):
                target = "budget" if parameter == "side" and self.volume.budget is not None else ""
                attribute = target or ATTRIBUTES.get(parameter, parameter)
                result.append(TieGradients(attribute, members, how))
        return result

    def _tied(self, parameter: Learnable) -> list[tuple[TieKind, list[list[int]]]]:
        """Ties of one parameter as (how, groups of panel indices)."""
        by_tie: dict[str, dict[str, list[int]]] = {}
        for index, panel in enumerate(self.panels):
            rule = self.phase.rule(parameter, panel.group)
            if isinstance(rule, Tie) and parameter in learnable(panel):
                by_tie.setdefault(rule.tie, {}).setdefault(panel.group, []).append(index)
        result: list[tuple[TieKind, list[list[int]]]] = []
        for tie, groups in by_tie.items():
            if tie == "mirror":
                pairs = [list(pair) for pair in zip(*groups.values(), strict=True)]
                result.append(("mirror" if parameter == "z" else "tie", pairs))
            elif tie == "all":
                result.append(("tie", [[i for members in groups.values() for i in members]]))
            else:
                result.append(("tie", list(groups.values())))
        return result


def build_wrapper(
    volume: Volume,
    inference: InferenceSettings,
    loss: Any,
    opts: dict[str, Optimizer],
    seed: int,
    *,
    fitting: bool = True,
    fiducial: float | None = None,
) -> ArbVolumeWrapper:
    """A wrapper around a built volume; muons come from banks, so that it needs no generator."""
    return ArbVolumeWrapper(
        volume,
        opts=opts,
        loss_func=loss,
        mu_generator=_no_generator,
        seed=seed,
        **build_inference(inference, fitting=fitting, fiducial=fiducial),
    )


def _no_generator(n_muons: int, **_: object) -> torch.Tensor:
    raise RuntimeError(f"asked for {n_muons} new muons, but this wrapper reads muon banks")
