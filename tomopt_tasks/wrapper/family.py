"""The wrappers for panels, heat maps and arbitrary optimisers (spec 8.2)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.volume import VolumeInferrer
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.wrapper.base import AbsVolumeWrapper, PartialOpt

Loss = Callable[..., Tensor]


class PanelVolumeWrapper(AbsVolumeWrapper):
    """Wrapper for detectors made of panels.

    Args:
        volume: volume with panel layers.
        xy_pos_opt: optimiser of the centres.
        z_pos_opt: optimiser of the heights.
        xy_span_opt: optimiser of the widths.
        budget_opt: optimiser of the budget shares; needs a volume with a budget.
        loss_func: see :class:`AbsVolumeWrapper`, like the other arguments.
        partial_scatter_inferrer: as there.
        partial_volume_inferrer: as there.
        mu_generator: as there.
        seed: as there.
    """

    def __init__(
        self,
        volume: Any,
        *,
        xy_pos_opt: PartialOpt,
        z_pos_opt: PartialOpt,
        xy_span_opt: PartialOpt,
        budget_opt: PartialOpt | None = None,
        loss_func: Loss | None = None,
        partial_scatter_inferrer: Callable[..., Any] = ScatterBatch,
        partial_volume_inferrer: Callable[..., VolumeInferrer] = PanelX0Inferrer,
        mu_generator: Callable[..., Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        partial_opts = {
            "xy_pos_opt": xy_pos_opt,
            "z_pos_opt": z_pos_opt,
            "xy_span_opt": xy_span_opt,
        }
        if budget_opt is not None:
            partial_opts["budget_opt"] = budget_opt
        super().__init__(
            volume,
            partial_opts=partial_opts,
            loss_func=loss_func,
            partial_scatter_inferrer=partial_scatter_inferrer,
            partial_volume_inferrer=partial_volume_inferrer,
            mu_generator=mu_generator,
            seed=seed,
        )

    def _build_opt(self, **partial_opts: PartialOpt) -> None:
        names = {"xy_pos_opt": "xy", "z_pos_opt": "z", "xy_span_opt": "xy_span"}
        self.opts = {
            opt: partial_opts[opt](iter(_panel_parameters(self.volume, name, "panel")))
            for opt, name in names.items()
        }
        if "budget_opt" in partial_opts:
            if getattr(self.volume, "budget", None) is None:
                raise ValueError(
                    "budget_opt needs a volume with a budget: Volume(layers, budget=…)"
                )
            self.opts["budget_opt"] = partial_opts["budget_opt"](iter([self.volume.budget_weights]))

    @classmethod
    def from_save(
        cls,
        name: str | Path,
        *,
        volume: Any,
        loss_func: Loss | None,
        **kwargs: Any,
    ) -> "PanelVolumeWrapper":
        """A new wrapper with the saved parameters; the arguments are those of the class."""
        wrapper = cls(volume, loss_func=loss_func, **kwargs)
        wrapper.load(name)
        return wrapper


class HeatMapVolumeWrapper(AbsVolumeWrapper):
    """Wrapper for heat-map detectors.

    Args:
        volume: volume with heat-map layers.
        mu_opt: optimiser of the centres of the Gaussians.
        norm_opt: optimiser of their normalisation.
        sig_opt: optimiser of their widths.
        z_pos_opt: optimiser of the heights.
        loss_func: see :class:`AbsVolumeWrapper`, like the other arguments.
        partial_scatter_inferrer: as there.
        partial_volume_inferrer: as there.
        mu_generator: as there.
        seed: as there.
    """

    def __init__(
        self,
        volume: Any,
        *,
        mu_opt: PartialOpt,
        norm_opt: PartialOpt,
        sig_opt: PartialOpt,
        z_pos_opt: PartialOpt,
        loss_func: Loss | None,
        partial_scatter_inferrer: Callable[..., Any] = ScatterBatch,
        partial_volume_inferrer: Callable[..., VolumeInferrer] = PanelX0Inferrer,
        mu_generator: Callable[..., Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            volume,
            partial_opts={
                "mu_opt": mu_opt,
                "norm_opt": norm_opt,
                "sig_opt": sig_opt,
                "z_pos_opt": z_pos_opt,
            },
            loss_func=loss_func,
            partial_scatter_inferrer=partial_scatter_inferrer,
            partial_volume_inferrer=partial_volume_inferrer,
            mu_generator=mu_generator,
            seed=seed,
        )

    def _build_opt(self, **partial_opts: PartialOpt) -> None:
        names = {"mu_opt": "mu", "norm_opt": "norm", "sig_opt": "sig", "z_pos_opt": "z"}
        self.opts = {
            opt: partial_opts[opt](iter(_panel_parameters(self.volume, name, "heatmap")))
            for opt, name in names.items()
        }

    @classmethod
    def from_save(
        cls,
        name: str | Path,
        *,
        volume: Any,
        loss_func: Loss | None,
        **kwargs: Any,
    ) -> "HeatMapVolumeWrapper":
        """A new wrapper with the saved parameters; the arguments are those of the class."""
        wrapper = cls(volume, loss_func=loss_func, **kwargs)
        wrapper.load(name)
        return wrapper


class ArbVolumeWrapper(AbsVolumeWrapper):
    """Wrapper with optimisers that the user has built.

    Args:
        volume: any volume.
        opts: name -> optimiser.
        loss_func: see :class:`AbsVolumeWrapper`, like the other arguments.
        partial_scatter_inferrer: as there.
        partial_volume_inferrer: as there.
        mu_generator: as there.
        seed: as there.
    """

    def __init__(
        self,
        volume: Any,
        *,
        opts: Mapping[str, Optimizer],
        loss_func: Loss | None = None,
        partial_scatter_inferrer: Callable[..., Any] = ScatterBatch,
        partial_volume_inferrer: Callable[..., VolumeInferrer] = PanelX0Inferrer,
        mu_generator: Callable[..., Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self._given = dict(opts)
        super().__init__(
            volume,
            partial_opts={},
            loss_func=loss_func,
            partial_scatter_inferrer=partial_scatter_inferrer,
            partial_volume_inferrer=partial_volume_inferrer,
            mu_generator=mu_generator,
            seed=seed,
        )

    def _build_opt(self, **_partial_opts: PartialOpt) -> None:
        self.opts = dict(self._given)

    @classmethod
    def from_save(
        cls,
        name: str | Path,
        *,
        volume: Any,
        loss_func: Loss | None,
        **kwargs: Any,
    ) -> "ArbVolumeWrapper":
        """A new wrapper with the saved parameters; the arguments are those of the class."""
        wrapper = cls(volume, loss_func=loss_func, **kwargs)
        wrapper.load(name)
        return wrapper


def _panel_parameters(volume: Any, name: str, label: str) -> list[Parameter]:
    layers = [layer for layer in volume.get_detectors() if layer.type_label == label]
    found = [getattr(panel, name) for layer in layers for panel in layer.panels]
    if not found:
        raise ValueError(f"the volume has no {label} detectors to optimise")
    return found
