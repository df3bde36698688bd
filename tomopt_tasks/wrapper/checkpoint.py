"""A fit taken apart after any update, as a tree, and put together again with the same bits."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import torch

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.ladle import LinearCorrectionCallback
from tomopt_tasks.callbacks.stopping import BestKeeper
from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.inference.learned import attach_model
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.reader import build_net
from tomopt_tasks.inference.settings import InferenceSettings, PocaZFillLevelSettings
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import PhaseBuilder, build_loss, build_volume, build_wrapper
from tomopt_tasks.wrapper.family import ArbVolumeWrapper
from tomopt_tasks.wrapper.files import restore_optimiser
from tomopt_tasks.wrapper.observers import EpochRow, geometry
from tomopt_tasks.wrapper.optimisers import averages
from tomopt_tasks.wrapper.scans import BankedPassives, mirrored, turn_of
from tomopt_tasks.wrapper.settings import Phase

Tree = dict[str, Any]
BetweenSteps = Callable[[int, Callable[[], Tree]], None]
"""Takes how many volumes an epoch has seen, and what gives the state there; may raise to stop."""


def first_tree(
    world: World, detector: DetectorSettings, model: LearnedSettings | None = None, seed: int = 1
) -> Tree:
    """The checkpoint before the first epoch.

    Args:
        world: box that the detector stands in.
        detector: where the fit starts.
        model: the network that learns with it, if there is one.
        seed: names the stream of its first weights.
    """
    volume = build_volume(world, detector)
    if model is not None:
        attach_model(volume, build_net(model, seed))
    return {
        "world": world.model_dump(mode="json"),
        "detector": detector.model_dump(mode="json"),
        "model": None if model is None else model.model_dump(mode="json"),
        "volume": dict(volume.state_dict()),
        "opts": {},
        "callbacks": [],
        "loss": {},
        "of_loss": [],
        "rates": {},
        "fit": {"epoch": 0, "skip_opt_step": False, "stop": False},
        "row": {"geometry": geometry(volume), "loss": None},
    }


def restore_volume(tree: Mapping[str, Any]) -> Volume:
    """The volume of a checkpoint, with the detector, and the network if any, as they were then."""
    detector = DetectorSettings.model_validate(tree["detector"])
    volume = build_volume(World.model_validate(tree["world"]), detector)
    model = model_of(tree)
    if model is not None:
        attach_model(volume, build_net(model, seed=0))
    volume.load_state_dict(tree["volume"])
    volume.assign_budget()
    return volume


def result_volume(tree: Mapping[str, Any]) -> Volume:
    """The volume that a fit which ended with this checkpoint gives.

    Where a callback kept the best parameters, or an optimiser the mean over its updates, these.
    """
    volume = restore_volume(tree)
    best = tree.get("best")
    if best:
        named = dict(volume.named_parameters())
        with torch.no_grad():
            for name, value in best.items():
                named[name].copy_(value)
        for layer in volume.get_detectors():
            layer.conform_detector()  # means were taken before the panels were held in their bounds
        volume.assign_budget()
    return volume


def model_of(tree: Mapping[str, Any]) -> LearnedSettings | None:
    """Settings of the network in a checkpoint."""
    saved = tree.get("model")
    return None if saved is None else LearnedSettings.model_validate(saved)


def set_edges(volume: Volume, *, hard: bool) -> None:
    """Say whether panels end at their edges when they do not train."""
    for layer in volume.get_detectors():
        for panel in layer.panels:
            panel.realistic_validation = hard


def from_checkpoint(
    store: Any,
    ref: Any,
    *,
    inference: InferenceSettings | None = None,
    loss: Any = None,
    seed: int = 1,
) -> ArbVolumeWrapper:
    """A wrapper with the detector of a stored checkpoint, for a notebook.

    It draws muons of its own (2016 source, 5 GeV) and has no optimisers: fill its ``opts``.

    Args:
        store: where the checkpoint is (``open_store(...)``).
        ref: of the checkpoint (``store.find("checkpoint", key)``).
        inference: from scatters to predictions; None: the network of the checkpoint, else fill
            levels.
        loss: called with ``pred`` and ``volume``; None: predictions only.
        seed: names the streams of hits and muons.

    Raises:
        UserError: there is no such checkpoint.
    """
    if ref is None or ref.kind != "checkpoint":
        got = "nothing" if ref is None else f"a stored object of kind {ref.kind}"
        raise UserError(f"from_checkpoint: got {got}; give the ref of a checkpoint")
    tree = store.get_record(ref)
    volume = result_volume(tree)
    chosen = inference or model_of(tree) or PocaZFillLevelSettings()
    wrapper = build_wrapper(volume, chosen, loss, {}, seed, fitting=loss is not None)
    wrapper.mu_generator = MuonGenerator2016.from_volume(volume)
    return wrapper


class PhaseFit:
    """One phase of a fit, going on from a checkpoint.

    Args:
        tree: the checkpoint.
        phase: settings of the phase.
        inference: from scatters to predictions.
        loss: what is minimised.
        seed: names the streams of the fit.
        new: the phase begins, with what the one before gives.
    """

    def __init__(
        self,
        tree: Tree,
        phase: Phase,
        inference: InferenceSettings,
        loss: LossSettings,
        seed: int,
        *,
        new: bool = False,
    ) -> None:
        self.before = {name: value for name, value in tree.items() if not new or name != "best"}
        self.phase = phase
        volume = result_volume(tree) if new else restore_volume(tree)
        if volume.budget is not None:
            volume.budget.requires_grad_()  # what more of it would be worth, for the report
        detector = DetectorSettings.model_validate(tree["detector"])
        builder = PhaseBuilder(volume, detector, phase, tree["rates"])
        opts = builder.optimisers()
        loss_func, loss_callbacks = build_loss(loss)
        self.callbacks: list[Callback] = builder.callbacks(opts, loss_callbacks)
        lines = [each for each in self.callbacks if isinstance(each, LinearCorrectionCallback)]
        self.of_loss = [*loss_callbacks, *lines]
        self.recorder = EpochRow()
        self.wrapper = build_wrapper(volume, inference, loss_func, opts, seed)

    def run(
        self,
        passives: BankedPassives,
        epoch: int,
        volumes_per_step: int,
        *,
        new: bool,
        between_steps: BetweenSteps | None = None,
        valid: BankedPassives | None = None,
    ) -> None:
        """One epoch of the loop, or the rest of one that was taken apart in its middle.

        Args:
            passives: training volumes with their bank; it runs where their grids live.
            epoch: epochs before this one, over all phases.
            volumes_per_step: volumes of one update.
            new: whether the phase begins, so that nothing of it is to be taken up.
            between_steps: called after each update but the last.
            valid: volumes that the epoch ends with a look at, in one batch and without an update.
        """
        self.wrapper.to(passives.x0.device)
        n_muons = passives.state.shape[1]
        if self.phase.mirror:
            width_x, width_y = self.wrapper.volume.lw.tolist()
            passives = mirrored(passives, turn_of(epoch), (width_x, width_y))
        self.wrapper.begin(
            [*self.callbacks, self.recorder],
            trn_passives=passives,
            val_passives=valid,
            passive_bs=min(volumes_per_step, len(passives)),
            valid_bs=None if valid is None else len(valid),
            n_mu_per_volume=n_muons,
            mu_bs=n_muons,
            epoch=epoch,
        )
        fit, half = self.wrapper.fit_params, self.before.get("half")
        if new and half is None:
            self.wrapper.hook("on_train_begin")
            self._keep_loss()
        else:
            self._take_up()
        if half is not None:
            fit.n_done, fit.n_skipped = half["n_done"], half["n_skipped"]
            self.recorder.load_state_dict(half["recorder"])
        if between_steps is not None:
            fit.between_steps = lambda: between_steps(fit.n_done, self.half_tree)
        self.wrapper.fit_epoch()

    def _keep_loss(self) -> None:
        """What the loss, or the line before it, has set itself goes on from phase to phase."""
        if self.before["loss"] and isinstance(self.wrapper.loss_func, torch.nn.Module):
            self.wrapper.loss_func.load_state_dict(self.before["loss"])
        for callback, state in zip(self.of_loss, self.before["of_loss"], strict=False):
            callback.load_state_dict(state)

    def _take_up(self) -> None:
        """Continue where the last checkpoint of the phase left it."""
        for name, opt in self.wrapper.opts.items():
            restore_optimiser(opt, self.before["opts"][name])
        for callback, state in zip(self.callbacks, self.before["callbacks"], strict=True):
            callback.load_state_dict(state)
        if isinstance(self.wrapper.loss_func, torch.nn.Module):
            self.wrapper.loss_func.load_state_dict(self.before["loss"])
        self.wrapper.fit_params.skip_opt_step = self.before["fit"]["skip_opt_step"]

    def tree(self) -> Tree:
        """The checkpoint after the epoch."""
        tree = self._state()
        rates = {name: self.wrapper.get_opt_lr(name) for name in self.wrapper.opts}
        tree["rates"] = self.before["rates"] | rates
        tree["fit"]["epoch"] = self.wrapper.fit_params.epoch
        self.wrapper.volume.assign_budget()  # the row shows the panels after the last step
        tree["row"] = self.recorder.row()
        best = averages(self.wrapper.volume, self.wrapper.opts)
        for keeper in self.callbacks:
            best |= keeper.parameters if isinstance(keeper, BestKeeper) else {}
        if best:
            tree["best"] = best
        tree.pop("half", None)
        return tree

    def half_tree(self) -> Tree:
        """What it takes to go on between two updates of an epoch."""
        fit = self.wrapper.fit_params
        half = {
            "n_done": fit.n_done,
            "n_skipped": fit.n_skipped,
            "recorder": self.recorder.state_dict(),
        }
        return {**self._state(), "half": half}

    def _state(self) -> Tree:
        """All that an update changes."""
        wrapper, fit = self.wrapper, self.wrapper.fit_params
        loss = wrapper.loss_func
        return {
            **self.before,
            "volume": dict(wrapper.volume.state_dict()),
            "opts": {name: opt.state_dict() for name, opt in wrapper.opts.items()},
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "of_loss": [callback.state_dict() for callback in self.of_loss],
            "loss": loss.state_dict() if isinstance(loss, torch.nn.Module) else {},
            "fit": {
                **self.before["fit"],
                "skip_opt_step": bool(fit.skip_opt_step),
                "stop": bool(fit.stop),
            },
        }


def validation_loss(
    tree: Mapping[str, Any],
    inference: InferenceSettings,
    loss: LossSettings,
    seed: int,
    passives: BankedPassives,
    *,
    hard: bool,
) -> float | None:
    """Loss of the detector of a checkpoint on volumes that do not train it, all in one batch.

    Args:
        tree: the checkpoint.
        inference: from scatters to predictions.
        loss: what the fit minimises.
        seed: names the streams of the hits.
        passives: the volumes with their bank.
        hard: whether panels end at their edges.

    Returns:
        The loss; None if it is not finite, or no volume has a prediction.
    """
    volume = result_volume(tree)
    set_edges(volume, hard=hard)
    loss_func, callbacks = build_loss(loss)
    if isinstance(loss_func, torch.nn.Module) and tree["loss"]:
        loss_func.load_state_dict(tree["loss"])
    wrapper = build_wrapper(volume, inference, loss_func, {}, seed)
    wrapper.to(passives.x0.device)
    n_muons = passives.state.shape[1]
    wrapper.begin(
        callbacks,
        trn_passives=None,
        val_passives=passives,
        passive_bs=len(passives),
        n_mu_per_volume=n_muons,
        mu_bs=n_muons,
    )
    wrapper.fit_epoch()
    found = wrapper.fit_params.mean_loss
    value = float("nan") if found is None else float(found.sum())
    return value if isfinite(value) else None
