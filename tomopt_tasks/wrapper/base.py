"""Volume wrappers: a volume, its optimisers, and the loop that fits it (spec 8)."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from tomopt_tasks.callbacks.base import Callback, FitParams
from tomopt_tasks.callbacks.cyclic import CyclicCallback
from tomopt_tasks.callbacks.monitors import EvalMetric, MetricLogger
from tomopt_tasks.callbacks.predictions import PredHandler
from tomopt_tasks.callbacks.warmup import WarmupCallback
from tomopt_tasks.inference.volume import VolumeInferrer
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.wrapper.files import load_states, save_states
from tomopt_tasks.wrapper.loop import VolumeLoop
from tomopt_tasks.wrapper.memory import HeldMemory
from tomopt_tasks.wrapper.scans import Passives

PartialOpt = Callable[[Iterator[Parameter]], Optimizer]


class AbsVolumeWrapper(VolumeLoop):
    """Base of all wrappers; subclasses say which parameters each optimiser moves.

    Args:
        volume: the volume whose detectors are optimised.
        partial_opts: name -> function from parameters to an optimiser; given to ``_build_opt``.
        loss_func: loss of one volume; needed for a fit unless a callback sets the loss.
        partial_scatter_inferrer: called with ``mu`` and ``volume`` for each batch of muons.
        partial_volume_inferrer: called with ``volume`` for each scan.
        mu_generator: source of muons; None: ``MuonGenerator2016.from_volume(volume)``. Called with
            a number of muons and, if it takes one, ``rng``; without, equal seeds repeat a run only
            if it repeats its muons.
        seed: names all random streams of fits and predictions.
    """

    def __init__(
        self,
        volume: Any,
        *,
        partial_opts: Mapping[str, PartialOpt],
        loss_func: Callable[..., Tensor] | None = None,
        partial_scatter_inferrer: Callable[..., Any],
        partial_volume_inferrer: Callable[..., VolumeInferrer],
        mu_generator: Callable[..., Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.volume = volume
        self.loss_func = loss_func
        self.partial_scatter_inferrer = partial_scatter_inferrer
        self.partial_volume_inferrer = partial_volume_inferrer
        self.mu_generator = _taking_rng(mu_generator or MuonGenerator2016.from_volume(volume))
        self.seed = seed
        self.device = volume.device
        self.parameters = volume.parameters
        self.opts: dict[str, Optimizer] = {}
        self.fit_params = FitParams()
        self.memory = HeldMemory()
        self._build_opt(**partial_opts)

    def _build_opt(self, **partial_opts: PartialOpt) -> None:
        """Set ``opts`` from the partial optimisers."""
        raise NotImplementedError

    def to(self, device: torch.device | str) -> None:
        """Go on elsewhere; optimisers keep their parameters, but take up their state afterwards."""
        self.volume.to(device)
        if isinstance(self.loss_func, nn.Module):
            self.loss_func.to(device)
        self.device = self.volume.device

    def get_detectors(self) -> list[Any]:
        """The detector layers, from top to bottom."""
        return list(self.volume.get_detectors())

    def get_param_count(self, trainable: bool = True) -> int:  # noqa: FBT001, FBT002
        """Number of parameters of the volume; only those that can be trained by default."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable)

    def _opt(self, name: str) -> Optimizer:
        if name not in self.opts:
            raise KeyError(f"there is no optimiser {name!r}; there are {sorted(self.opts)}")
        return self.opts[name]

    def get_opt_lr(self, opt: str) -> float:
        """Learning rate of an optimiser (of its first parameter group)."""
        return float(self._opt(opt).param_groups[0]["lr"])

    def set_opt_lr(self, lr: float, opt: str) -> None:
        """Set the learning rate of all parameter groups, as a plain float (D-13)."""
        for group in self._opt(opt).param_groups:
            group["lr"] = float(lr)

    def get_opt_mom(self, opt: str) -> float:
        """Momentum, or beta_1, of an optimiser.

        Raises:
            KeyError: the optimiser has neither.
        """
        group = self._opt(opt).param_groups[0]
        return float(group["betas"][0] if "betas" in group else group[_momentum_key(group, opt)])

    def set_opt_mom(self, mom: float, opt: str) -> None:
        """Set the momentum, or beta_1, of all parameter groups, as a plain float."""
        for group in self._opt(opt).param_groups:
            if "betas" in group:
                group["betas"] = (float(mom), *group["betas"][1:])
            else:
                group[_momentum_key(group, opt)] = float(mom)

    def begin(self, cbs: Sequence[Callback], **params: Any) -> None:
        """Attach callbacks and set up the state of a fit; fires no hook.

        Args:
            cbs: the callbacks, in the order in which they run.
            params: fields of :class:`FitParams`.
        """
        warmups = [cb for cb in cbs if isinstance(cb, WarmupCallback)]
        self.fit_params = FitParams(
            cbs=list(cbs),
            device=self.device,
            stop=False,
            cyclic_cbs=[cb for cb in cbs if isinstance(cb, CyclicCallback)],
            warmup_cbs=warmups,
            metric_log=next((cb for cb in cbs if isinstance(cb, MetricLogger)), None),
            metric_cbs=[cb for cb in cbs if isinstance(cb, EvalMetric)],
            **params,
        )
        for callback in cbs:
            callback.set_wrapper(self)

    def fit(
        self,
        n_epochs: int,
        passive_bs: int,
        n_mu_per_volume: int,
        mu_bs: int,
        trn_passives: Passives,
        val_passives: Passives | None,
        cbs: list[Callback] | None = None,
        cb_savepath: Path = Path("train_weights"),
    ) -> list[Callback]:
        """Optimise the detector; the state stays readable in ``fit_params`` afterwards (D-58).

        Args:
            n_epochs: training (and validation) epochs.
            passive_bs: volumes per update.
            n_mu_per_volume: muons a volume.
            mu_bs: muons a batch.
            trn_passives: volumes to train on.
            val_passives: volumes to validate on, or None.
            cbs: callbacks; they run in this order.
            cb_savepath: where callbacks write; made if missing.

        Returns:
            The callbacks.

        Raises:
            ValueError: sizes below 1, or batches larger than what they are taken from (D-11).
        """
        _check_sizes(n_epochs, passive_bs, n_mu_per_volume, mu_bs, len(trn_passives))
        callbacks = [] if cbs is None else cbs
        cb_savepath = Path(cb_savepath)
        cb_savepath.mkdir(parents=True, exist_ok=True)
        self.begin(
            callbacks,
            n_epochs=n_epochs,
            passive_bs=passive_bs,
            n_mu_per_volume=n_mu_per_volume,
            mu_bs=mu_bs,
            trn_passives=trn_passives,
            val_passives=val_passives,
            cb_savepath=cb_savepath,
        )
        self.hook("on_train_begin")
        try:
            for _ in range(n_epochs):
                self.fit_epoch()
                if self.fit_params.stop:
                    break
        finally:
            self.hook("on_train_end")
        return callbacks

    def predict(
        self,
        passives: Passives,
        n_mu_per_volume: int,
        mu_bs: int,
        pred_cb: Any = None,
        cbs: Sequence[Callback] | None = None,
        cb_savepath: Path = Path("train_weights"),
    ) -> Any:
        """Predict every volume with the present detector, in order, without updates.

        Args:
            passives: the volumes; neither shuffled nor changed.
            n_mu_per_volume: muons a volume.
            mu_bs: muons a batch.
            pred_cb: collects the predictions; None: a new ``PredHandler``.
            cbs: further callbacks, which run before it.
            cb_savepath: where callbacks write.
        """
        _check_sizes(1, 1, n_mu_per_volume, mu_bs, len(passives))
        handler = PredHandler() if pred_cb is None else pred_cb
        self.begin(
            [*(cbs or []), handler],
            state="test",
            n_mu_per_volume=n_mu_per_volume,
            mu_bs=mu_bs,
            tst_passives=passives,
            cb_savepath=Path(cb_savepath),
        )
        self.volume.eval()
        self.hook("on_pred_begin")
        try:
            with torch.no_grad():
                self._scan_volumes(_in_order(passives))
        finally:
            self.hook("on_pred_end")
        return handler.get_preds()

    def save(self, name: str | Path) -> None:
        """Save the parameters of volume and optimisers."""
        save_states(Path(name), self.volume, self.opts)

    def load(self, name: str | Path) -> None:
        """Load what :meth:`save` wrote: every optimiser whatever its name (D-14), no code (D-44).

        Raises:
            ValueError: optimisers, parameters or their shapes are others; nothing is changed.
        """
        load_states(Path(name), self.volume, self.opts, self.device)
        self.volume.assign_budget()


def _taking_rng(source: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The source, or one that leaves out ``rng`` if it does not take one (spec 14.2)."""
    taken = inspect.signature(source).parameters
    if "rng" in taken or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        return source

    def without(n_muons: int, rng: torch.Generator | None = None) -> Tensor:  # noqa: ARG001
        return source(n_muons)

    without.__wrapped__ = source  # type: ignore[attr-defined]
    return without


def _momentum_key(group: Mapping[str, Any], opt: str) -> str:
    if "momentum" not in group:
        raise KeyError(f"optimiser {opt!r} has neither betas nor a momentum")
    return "momentum"


def _check_sizes(
    n_epochs: int, passive_bs: int, n_mu_per_volume: int, mu_bs: int, n_volumes: int
) -> None:
    sizes = {
        "n_epochs": n_epochs,
        "passive_bs": passive_bs,
        "n_mu_per_volume": n_mu_per_volume,
        "mu_bs": mu_bs,
        "number of volumes": n_volumes,
    }
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} = {value}; it must be at least 1")
    if passive_bs > n_volumes:
        raise ValueError(
            f"passive_bs = {passive_bs} is larger than the number of volumes ({n_volumes}); no "
            "batch would ever be complete: use a smaller batch or more volumes"
        )
    if mu_bs > n_mu_per_volume:
        raise ValueError(
            f"mu_bs = {mu_bs} is larger than n_mu_per_volume = {n_mu_per_volume}; use a smaller one"
        )


def _in_order(passives: Passives) -> Passives:
    """The same volumes without shuffling; the caller's object is left alone (D-31)."""
    ordered = getattr(passives, "in_order", None)
    return passives if ordered is None else ordered()
