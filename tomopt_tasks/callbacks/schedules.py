"""Learning rates, momenta and edge widths as functions of the step since activation (spec 9.7)."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch

from tomopt_tasks.callbacks.base import detector_panels
from tomopt_tasks.callbacks.shapes import cosine_between
from tomopt_tasks.callbacks.warmup import PostWarmupCallback


class AbsOptSchedule(PostWarmupCallback):
    """A schedule of one optimiser that starts after the warm-ups and holds its last value.

    Args:
        opt_name: name of the optimiser in ``wrapper.opts``.
        length: epochs from activation to the last value; None: the epochs that the fit has left.
    """

    remembers: ClassVar[tuple[str, ...]] = ("active", "iter_cnt", "n_iters", "length")

    def __init__(self, opt_name: str, length: int | None = None) -> None:
        super().__init__()
        self.opt_name = opt_name
        self.length = length
        self._derived = length is None
        self.iter_cnt = 0
        self.n_iters = 1

    def on_train_begin(self) -> None:
        """Check the name and set the values of step 0.

        Raises:
            ValueError: there is no such optimiser.
        """
        super().on_train_begin()
        if self.opt_name not in self.attached.opts:
            raise ValueError(
                f"{type(self).__name__} names optimiser {self.opt_name!r}; there are "
                f"{sorted(self.attached.opts)}"
            )
        self.iter_cnt = 0
        if self._derived:
            self.length = None
        self.apply(0.0)

    def activate(self) -> None:
        """Fix the number of steps an epoch and the length."""
        fit = self.fit_params
        self.n_iters = max(1, math.ceil(len(fit.trn_passives) / (fit.passive_bs or 1)))
        if self.length is None:
            self.length = max(1, (fit.n_epochs or fit.epoch) - fit.epoch + 1)

    def on_step_end(self) -> None:
        """Advance by one step."""
        if self.active:
            self.iter_cnt += 1
            self.apply(self.iter_cnt / self.n_iters)

    def apply(self, epochs: float) -> None:
        """Set the values after ``epochs`` (fractional) epochs since activation."""
        raise NotImplementedError


class OneCycle(AbsOptSchedule):
    """Cosine from init to mid over the warm-up, then cosine from mid to final (D-07).

    Learning rate and momentum are scheduled independently; None leaves one alone.

    Args:
        opt_name: name of the optimiser.
        warmup_length: epochs from init to mid.
        init_lr: learning rate at activation.
        init_mom: momentum (or beta_1) at activation.
        mid_lr: learning rate after the warm-up.
        mid_mom: momentum after the warm-up.
        final_lr: last learning rate; defaults to the first.
        final_mom: last momentum; defaults to the first.
        length: epochs of the whole cycle; None: what the fit has left at activation.
    """

    def __init__(
        self,
        opt_name: str,
        warmup_length: float,
        init_lr: float | None = None,
        init_mom: float | None = None,
        mid_lr: float | None = None,
        mid_mom: float | None = None,
        final_lr: float | None = None,
        final_mom: float | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__(opt_name, length)
        self.warmup_length = float(warmup_length)
        self.lr = _three(init_lr, mid_lr, final_lr)
        self.mom = _three(init_mom, mid_mom, final_mom)

    def apply(self, epochs: float) -> None:
        """Set learning rate and momentum after ``epochs`` epochs."""
        if self.lr is not None:
            self.attached.set_opt_lr(self._value(self.lr, epochs), self.opt_name)
        if self.mom is not None:
            self.attached.set_opt_mom(self._value(self.mom, epochs), self.opt_name)

    def _value(self, points: tuple[float, float, float], epochs: float) -> float:
        init, mid, final = points
        if epochs < self.warmup_length:
            return cosine_between(init, mid, epochs / self.warmup_length)
        rest = float(self.length or math.inf) - self.warmup_length
        return cosine_between(mid, final, (epochs - self.warmup_length) / max(rest, 1e-9))


def _three(
    init: float | None, mid: float | None, final: float | None
) -> tuple[float, float, float] | None:
    if init is None:
        return None
    middle = init if mid is None else mid
    return float(init), float(middle), float(init if final is None else final)


class SigmoidPanelSmoothnessSchedule(PostWarmupCallback):
    """Anneals the edge width of all sigmoid panels geometrically, one value an epoch.

    Args:
        smooth_range: first and last width; > 0.
        length: epochs from the first to the last value; None: what the fit has left.
    """

    remembers: ClassVar[tuple[str, ...]] = ("active", "epochs_active", "length")

    def __init__(self, smooth_range: tuple[float, float], length: int | None = None) -> None:
        super().__init__()
        if min(smooth_range) <= 0:
            raise ValueError(f"smooth_range = {smooth_range} holds a width that is not positive")
        self.smooth_range = smooth_range
        self.length = length
        self._derived = length is None
        self.epochs_active = 0

    def on_train_begin(self) -> None:
        """Set the first width."""
        super().on_train_begin()
        self.epochs_active = 0
        if self._derived:
            self.length = None
        self._set(self.smooth_range[0])

    def activate(self) -> None:
        """Fix the length."""
        if self.length is None:
            fit = self.fit_params
            self.length = max(1, (fit.n_epochs or fit.epoch) - fit.epoch + 1)

    def on_epoch_begin(self) -> None:
        """Set the width of this epoch."""
        super().on_epoch_begin()
        if not self.active or self.fit_params.state != "train":
            return
        steps = max(1, (self.length or 1) - 1)
        fraction = min(1.0, self.epochs_active / steps)
        first, last = (math.log(width) for width in self.smooth_range)
        exact = {0.0: self.smooth_range[0], 1.0: self.smooth_range[1]}
        self._set(exact.get(fraction, math.exp(first + (last - first) * fraction)))
        self.epochs_active += 1

    @torch.no_grad()
    def _set(self, width: float) -> None:
        for panel in detector_panels(self.attached.get_detectors()):
            if hasattr(panel, "smooth"):
                panel.smooth = width


class RelativeSchedule(AbsOptSchedule):
    """A schedule in factors of the learning rate that holds at activation.

    Args:
        opt_name: name of the optimiser.
        factor: epochs since activation (in parts of one) -> factor on the rate.
        length: epochs from the first to the last factor.
        momentum: epochs since activation -> momentum, or beta_1; None: it stays as it is.
    """

    remembers: ClassVar[tuple[str, ...]] = (*AbsOptSchedule.remembers, "base")

    def __init__(
        self,
        opt_name: str,
        factor: Callable[[float], float],
        length: int,
        momentum: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(opt_name, length)
        self.factor = factor
        self.momentum = momentum
        self.base: float | None = None

    def on_train_begin(self) -> None:
        """Forget the base rate."""
        self.base = None
        super().on_train_begin()

    def activate(self) -> None:
        """Take the present learning rate as base and set the first value."""
        super().activate()
        self.base = self.attached.get_opt_lr(self.opt_name)
        self.apply(0.0)

    def apply(self, epochs: float) -> None:
        """Set learning rate and momentum after ``epochs`` epochs."""
        if self.base is None:
            return
        self.attached.set_opt_lr(self.base * self.factor(epochs), self.opt_name)
        if self.momentum is not None:
            self.attached.set_opt_mom(self.momentum(epochs), self.opt_name)
