"""The seam between the loop and everything that looks, schedules or guards (spec 8.1, 9.1)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

HOOKS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_volume_batch_begin",
    "on_volume_begin",
    "on_mu_batch_begin",
    "on_scatter_end",
    "on_mu_batch_end",
    "on_x0_pred_begin",
    "on_x0_pred_end",
    "on_volume_end",
    "on_volume_batch_end",
    "on_backwards_begin",
    "on_backwards_end",
    "on_step_end",
    "on_epoch_end",
    "on_train_end",
    "on_pred_begin",
    "on_pred_end",
)
"""Every hook of the loop, in the order in which a fit and then a prediction fire them."""


class FitParams:
    """Everything that one fit or one prediction knows about itself; any keyword is accepted."""

    volume_inferrer: Any = None
    state: str | None = None
    """``train``, ``valid`` or ``test``."""
    pred: Tensor | None = None
    pred_var: Tensor | None = None
    """Variance of the prediction over other muons, where the inferrer knows it."""
    n_mu_per_volume: int | None = None
    mu_bs: int | None = None
    mu: Any = None
    cbs: "Sequence[Callback] | None" = None
    sb: Any = None
    loss_val: Tensor | None = None
    """Sum of the losses of the volumes of the present batch."""
    volume_id: int | None = None
    cb_savepath: Path | None = None
    trn_passives: Any = None
    val_passives: Any = None
    tst_passives: Any = None
    passive_bs: int | None = None
    valid_bs: int | None = None
    """Volumes of a batch of validation; None: as in training."""
    mean_loss: Tensor | None = None
    """What is differentiated at the end of a batch; callbacks may replace it."""
    n_epochs: int | None = None
    epoch_bar: Any = None
    stop: bool | None = None
    epoch: int = 0
    """Counts from 1 inside the hooks."""
    cyclic_cbs: "Sequence[Callback] | None" = None
    warmup_cbs: "Sequence[Callback] | None" = None
    metric_log: "Callback | None" = None
    metric_cbs: "Sequence[Callback] | None" = None
    passive_bar: Any = None
    device: torch.device | str = "cpu"
    skip_opt_step: bool = False
    n_skipped: int = 0
    """Volumes of the present epoch without a prediction (no muon was accepted)."""
    n_done: int = 0
    """Volumes of the present training epoch that its updates so far have seen."""
    between_steps: Callable[[], object] | None = None
    """Called after each update of a training epoch but the last; may stop the fit by raising."""

    def __init__(self, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            setattr(self, name, value)


@runtime_checkable
class Wrapper(Protocol):
    """What callbacks may use of a volume wrapper."""

    volume: Any
    loss_func: Any
    opts: dict[str, torch.optim.Optimizer]
    fit_params: FitParams

    def get_detectors(self) -> list[Any]:
        """The detector layers, from top to bottom."""
        ...

    def get_opt_lr(self, opt: str) -> float:
        """Learning rate of an optimiser."""
        ...

    def set_opt_lr(self, lr: float, opt: str) -> None:
        """Set the learning rate of an optimiser."""
        ...

    def get_opt_mom(self, opt: str) -> float:
        """Momentum, or beta_1, of an optimiser."""
        ...

    def set_opt_mom(self, mom: float, opt: str) -> None:
        """Set the momentum, or beta_1, of an optimiser."""
        ...


class Callback:
    """Base of all callbacks: every hook does nothing.

    What a callback must remember across epochs is named in ``remembers``: it enters the checkpoint.
    """

    wrapper: Wrapper | None = None
    remembers: ClassVar[tuple[str, ...]] = ()

    def set_wrapper(self, wrapper: Wrapper) -> None:
        """Attach the callback to the wrapper that will run it."""
        self.wrapper = wrapper

    @property
    def attached(self) -> Wrapper:
        """The wrapper.

        Raises:
            AttributeError: no wrapper has been set.
        """
        if self.wrapper is None:
            raise AttributeError(f"{type(self).__name__} has no wrapper; call set_wrapper first")
        return self.wrapper

    @property
    def fit_params(self) -> FitParams:
        """State of the running fit or prediction."""
        return self.attached.fit_params

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback, as it is now: later hooks do not change it."""
        return deepcopy({name: getattr(self, name) for name in self.remembers})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: the state names other things than this callback remembers.
        """
        if set(state) != set(self.remembers):
            raise ValueError(
                f"state of {type(self).__name__} holds {sorted(state)}, expected "
                f"{sorted(self.remembers)}; the checkpoint belongs to another version"
            )
        for name, value in state.items():
            setattr(self, name, deepcopy(value))

    def on_train_begin(self) -> None:
        """Before the first epoch of a fit."""
        _ = self.attached

    def on_epoch_begin(self) -> None:
        """Before a training or validation epoch."""

    def on_volume_batch_begin(self) -> None:
        """Before the first volume of a batch."""

    def on_volume_begin(self) -> None:
        """After a passive volume has been loaded."""

    def on_mu_batch_begin(self) -> None:
        """After muons have been generated, before they fly."""

    def on_scatter_end(self) -> None:
        """After the scatters of a batch of muons have been inferred."""

    def on_mu_batch_end(self) -> None:
        """After the scatters have been given to the volume inferrer."""

    def on_x0_pred_begin(self) -> None:
        """Before the prediction for a volume."""

    def on_x0_pred_end(self) -> None:
        """After the prediction for a volume; ``fit_params.pred`` may be replaced."""

    def on_volume_end(self) -> None:
        """After the loss of a volume."""

    def on_volume_batch_end(self) -> None:
        """After the last volume of a batch; ``fit_params.mean_loss`` may be replaced."""

    def on_backwards_begin(self) -> None:
        """After gradients were zeroed, before they are computed."""

    def on_backwards_end(self) -> None:
        """After gradients were computed, before the step."""

    def on_step_end(self) -> None:
        """After the step, before the detector is held in its bounds."""

    def on_epoch_end(self) -> None:
        """After a training or validation epoch."""

    def on_train_end(self) -> None:
        """After the last epoch of a fit."""

    def on_pred_begin(self) -> None:
        """Before a prediction."""
        _ = self.attached

    def on_pred_end(self) -> None:
        """After a prediction."""


def judged_epoch(fit: FitParams) -> bool:
    """Whether the present epoch is the one to judge by: of validation if there is one."""
    return fit.state == ("train" if fit.val_passives is None else "valid")


def detector_panels(detectors: Iterable[Any]) -> list[Any]:
    """All panels (or heat maps) of some detector layers, in the order of construction."""
    return [panel for layer in detectors for panel in layer.panels]
