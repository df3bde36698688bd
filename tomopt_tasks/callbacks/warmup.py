"""Warm-up epochs: measure before the first step is taken (spec 9.3 to 9.6)."""

import statistics
from collections.abc import Mapping
from typing import ClassVar

import torch

from tomopt_tasks.callbacks.base import Callback


class WarmupCallback(Callback):
    """Holds back all optimiser steps for a number of training epochs.

    Several warm-ups of one fit run one after the other, in the order of the list.

    Args:
        n_warmup: training epochs; >= 1.
    """

    remembers: ClassVar[tuple[str, ...]] = ("epoch_cnt", "warmup_active")

    def __init__(self, n_warmup: int) -> None:
        if n_warmup < 1:
            raise ValueError(f"n_warmup = {n_warmup} is not a number of epochs >= 1")
        self.n_warmup = n_warmup
        self.epoch_cnt = 0
        self.warmup_active = False

    def on_train_begin(self) -> None:
        """Skip steps; the first warm-up of the list becomes active."""
        super().on_train_begin()
        self.epoch_cnt = 0
        self.warmup_active = False
        self.fit_params.skip_opt_step = True
        first = (self.fit_params.warmup_cbs or [self])[0]
        if isinstance(first, WarmupCallback):
            first.warmup_active = True

    def on_epoch_begin(self) -> None:
        """Pass on to the next warm-up when this one is done."""
        if self.fit_params.state == "train" and self.warmup_active:
            self._pass_on()

    def _pass_on(self) -> None:
        if self.epoch_cnt < self.n_warmup:
            return
        self.warmup_active = False
        warmups = list(self.fit_params.warmup_cbs or [self])
        following = warmups[warmups.index(self) + 1 :]
        if following and isinstance(following[0], WarmupCallback):
            following[0].warmup_active = True
        else:
            self.fit_params.skip_opt_step = False

    @property
    def measuring(self) -> bool:
        """Whether this warm-up is active in a training epoch."""
        return self.warmup_active and self.fit_params.state == "train"

    def on_epoch_end(self) -> None:
        """Count the epoch; finish after the last one."""
        if self.measuring:
            self.epoch_cnt += 1
            if self.epoch_cnt == self.n_warmup:
                self.finish()

    def finish(self) -> None:
        """Use what was measured; called once, after the last warm-up epoch."""


class CostCoefWarmup(WarmupCallback):
    """Sets the coefficient of the cost term to the median error of the training volumes.

    Args:
        n_warmup: training epochs; >= 1.
    """

    remembers: ClassVar[tuple[str, ...]] = (*WarmupCallback.remembers, "errors")

    def __init__(self, n_warmup: int) -> None:
        super().__init__(n_warmup)
        self.errors: list[float] = []

    def on_train_begin(self) -> None:
        """Forget earlier measurements."""
        super().on_train_begin()
        self.errors = []

    def on_volume_end(self) -> None:
        """Note the error term of the volume."""
        if self.measuring and self.fit_params.pred is not None:
            self.errors.append(float(self.attached.loss_func.sub_losses["error"].detach()))

    def finish(self) -> None:
        """Set the coefficient.

        Raises:
            ValueError: no training volume gave a prediction.
        """
        if not self.errors:
            raise ValueError("CostCoefWarmup saw no prediction; check that muons reach all panels")
        self.attached.loss_func.cost_coef = statistics.median(self.errors)


class OptConfig(WarmupCallback):
    """Sets learning rates so that a median gradient moves a parameter by a wanted distance.

    Args:
        n_warmup: training epochs; >= 1.
        rates: optimiser name -> wanted change per step, in the unit of the parameter.
    """

    remembers: ClassVar[tuple[str, ...]] = (*WarmupCallback.remembers, "gradients", "lrs")

    def __init__(self, n_warmup: int, rates: Mapping[str, float]) -> None:
        super().__init__(n_warmup)
        self.rates = dict(rates)
        self.gradients: dict[str, list[float]] = {}
        self.lrs: dict[str, float] = {}

    def on_train_begin(self) -> None:
        """Forget earlier measurements.

        Raises:
            ValueError: a rate names no optimiser.
        """
        super().on_train_begin()
        unknown = sorted(set(self.rates) - set(self.attached.opts))
        if unknown:
            raise ValueError(
                f"OptConfig has a rate for {unknown}; optimisers are {sorted(self.attached.opts)}"
            )
        self.gradients = {name: [] for name in self.rates}
        self.lrs = {}

    def on_backwards_end(self) -> None:
        """Note the absolute gradients of the named optimisers."""
        if not self.measuring:
            return
        for name in self.rates:
            for group in self.attached.opts[name].param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self.gradients[name] += parameter.grad.detach().abs().flatten().tolist()

    def finish(self) -> None:
        """Set the learning rates.

        Raises:
            ValueError: the median gradient of an optimiser is zero or was never finite.
        """
        for name, rate in self.rates.items():
            seen = torch.tensor(self.gradients[name], dtype=torch.float64)
            median = float(seen.nanmedian()) if len(seen) else float("nan")
            if not 0 < median < float("inf"):
                raise ValueError(
                    f"OptConfig cannot set a rate for {name!r}: its median gradient is {median}; "
                    "its parameters do not act on the loss"
                )
            self.lrs[name] = rate / median
            self.attached.set_opt_lr(self.lrs[name], name)


class PostWarmupCallback(Callback):
    """Becomes active at the first training epoch after all warm-ups."""

    remembers: ClassVar[tuple[str, ...]] = ("active",)

    def __init__(self) -> None:
        self.active = False

    def on_train_begin(self) -> None:
        """Wait for the warm-ups."""
        super().on_train_begin()
        self.active = False

    def on_epoch_begin(self) -> None:
        """Activate once no warm-up has epochs left, whatever its place in the list."""
        if self.active or self.fit_params.state != "train":
            return
        warmups = [w for w in self.fit_params.warmup_cbs or [] if isinstance(w, WarmupCallback)]
        if all(w.epoch_cnt >= w.n_warmup for w in warmups):
            self.active = True
            self.activate()

    def activate(self) -> None:
        """Called once, at the beginning of the first epoch after the warm-ups."""
