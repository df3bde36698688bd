"""The one loop over epochs, volumes and muons (spec 8.4): every fit, every prediction runs it."""

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import proxy

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import FitParams
from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.hits import Lines
from tomopt_tasks.inference.exposure import ScatterPiece
from tomopt_tasks.inference.reduced import ReducedScatters
from tomopt_tasks.inference.replay import Graph
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.wrapper.memory import HeldMemory
from tomopt_tasks.wrapper.predictions import Predictions, read
from tomopt_tasks.wrapper.scans import (
    CHUNK,
    NUMBERS_PER_MUON,
    NUMBERS_REDUCED,
    HitNoise,
    Passives,
    Scan,
    scans,
)

Work = TypeVar("Work")


class VolumeLoop:
    """Scans volumes, collects losses, updates the detector; fires the hooks in their order."""

    volume: Any
    loss_func: Any
    opts: dict[str, torch.optim.Optimizer]
    mu_generator: Any
    partial_scatter_inferrer: Any
    partial_volume_inferrer: Any
    fit_params: FitParams
    seed: int
    memory: HeldMemory
    """What an update may hold; scans beyond form their graphs twice."""
    _keep: bool
    """Whether the present scan keeps its graph."""

    def hook(self, name: str) -> None:
        """Fire a hook of every callback, in the order of the list."""
        for callback in self.fit_params.cbs or ():
            getattr(callback, name)()

    def fit_epoch(self) -> None:
        """One epoch: the training volumes with updates, then the validation volumes without.

        Needs ``fit_params`` with the volumes, ``passive_bs``, ``n_mu_per_volume`` and ``mu_bs``.
        """
        fit = self.fit_params
        fit.epoch += 1
        for state, passives in (("train", fit.trn_passives), ("valid", fit.val_passives)):
            if passives is None:
                continue
            fit.state = state
            self.volume.train(state == "train")
            if state == "valid" or fit.n_done == 0:  # else it goes on in the middle
                fit.n_skipped = 0
                self.hook("on_epoch_begin")
            with torch.set_grad_enabled(state == "train"), self.volume.holding_costs():
                self._scan_volumes(passives)
            if state == "train":
                fit.n_done = 0
            self.hook("on_epoch_end")

    def _scan_volumes(self, passives: Passives) -> None:
        fit = self.fit_params
        size = None if fit.state == "test" else (fit.passive_bs or 1)
        if fit.state == "valid":
            size = fit.valid_bs or size
        done = fit.n_done if fit.state == "train" else 0
        self.memory.clear()
        for scan in scans(passives, size, done):
            if size is not None and done % size == 0:
                fit.loss_val = None
                self.hook("on_volume_batch_begin")
                self.volume.hold_cost(on=True)
            alone = len(scan) == min(size or 0, len(passives) - done + done % (size or 1))
            self._scan(scan, alone=alone)
            done += len(scan)
            if size is not None and (done % size == 0 or done == len(passives)):
                self._end_batch(n_volumes=(done - 1) % size + 1)
                self.memory.clear()
                if fit.state == "train" and done < len(passives):
                    fit.n_done = done
                    if fit.between_steps is not None:
                        fit.between_steps()

    def _scan(self, scan: Scan, *, alone: bool) -> None:
        fit = self.fit_params
        for offset in range(len(scan)):
            self._load_volume(scan, offset)
            self.hook("on_volume_begin")
        fit.volume_inferrer = self.partial_volume_inferrer(volume=self.volume)
        pieces = self._pieces(scan, fit.volume_inferrer)
        split = scan.state is not None and torch.is_grad_enabled() and len(pieces) == 1
        split = split and (not alone or self.volume.device.type == "cuda")
        fits = not split or self.memory.fits(self._bytes(scan, NUMBERS_PER_MUON))
        self._keep = fits and len(pieces) == 1
        self._measure(scan, pieces)
        predictions: Predictions | None = None
        for offset in range(len(scan)):
            if len(scan) > 1:
                self._load_volume(scan, offset)
            self.hook("on_x0_pred_begin")
            if predictions is None:
                predictions = self._predictions(scan, split=split)
                if len(pieces) > 1:
                    self.volume.assign_budget()  # with a graph, for costs
            self._judge_volume(predictions, offset)
        if not torch.is_grad_enabled():
            self.memory.clear()

    def _load_volume(self, scan: Scan, offset: int) -> None:
        """A volume of the scan becomes the present one."""
        layout, target = scan.volumes[offset]
        self.fit_params.volume_id = scan.first + offset
        if scan.state is None:
            self.volume.load_rad_length(layout, target)
        else:
            self.volume.load_rad_length(layout, target, checked=True)

    def _predictions(self, scan: Scan, *, split: bool) -> Predictions:
        """What the inferrer says, with a graph where gradients are wanted."""
        if split:
            return self._attached(scan)
        try:
            return read(self.fit_params.volume_inferrer, len(scan))
        except torch.OutOfMemoryError:
            return self._again(lambda: read(self.fit_params.volume_inferrer, len(scan)))

    def _attached(self, scan: Scan) -> Predictions:
        """The same; its graph is kept, or formed anew for the gradients."""
        fit = self.fit_params
        try:
            with torch.set_grad_enabled(self._keep):
                found = read(fit.volume_inferrer, len(scan))
        except torch.OutOfMemoryError:
            fit.sb, fit.volume_inferrer = None, self.partial_volume_inferrer(volume=self.volume)
            with torch.no_grad():
                found = self._again(lambda: self._collected(fit.volume_inferrer, scan))
        me = proxy(self)  # its outputs get here: a circle through autograd is never collected
        graph = Graph(lambda: me._form(scan), spare=lambda: me._free())  # noqa: PLW0108 - not bound
        if self._keep:
            graph.kept = found.tensors()
            self.memory.hold(graph)
        attached = found.attached(graph, self._learnable())
        self.volume.assign_budget()  # with a graph, for costs
        return attached

    def _measure(self, scan: Scan, pieces: list[Scan]) -> None:
        """Muons cross the volumes, and what they leave is collected for the prediction."""
        fit = self.fit_params
        if len(pieces) == 1:
            for batch, n_muons in enumerate(self._muon_batches(scan)):
                self._scatter(scan, batch, n_muons)
                fit.volume_inferrer.add_scatters(fit.sb)
                self.hook("on_mu_batch_end")
            return
        self.memory.reserve(self._bytes(pieces[0], NUMBERS_PER_MUON))  # a graph at a time
        for piece in pieces:
            with torch.no_grad():
                self._scatter(piece)
            fit.volume_inferrer.add_scatters(self._piece(piece, fit.sb))
            self.hook("on_mu_batch_end")

    def _scatter(self, scan: Scan, batch: int = 0, n_muons: int = 0) -> None:
        """Scatters of a batch, with its hooks; without a graph if there is no memory for one."""
        fit = self.fit_params
        fit.mu = self._muons(scan, batch, n_muons)
        self.hook("on_mu_batch_begin")
        try:
            with torch.set_grad_enabled(self._keep and torch.is_grad_enabled()):
                fit.sb = self._cross(fit.mu, scan)
        except torch.OutOfMemoryError:
            if scan.state is None:
                raise
            fit.mu = self._muons(scan, batch, n_muons)
            with torch.no_grad():
                fit.sb = self._again(lambda: self._cross(fit.mu, scan))
        self.hook("on_scatter_end")

    def _cross(self, mu: Any, scan: Scan) -> Any:
        self._irradiate(mu, scan)
        return self.partial_scatter_inferrer(mu=mu, volume=self.volume)

    def _again(self, work: Callable[[], Work]) -> Work:
        """Work that found no memory once more, with half as much for what is held.

        Raises:
            UserError: there is none, or nothing was held.
        """
        if not self._keep and not self.memory:
            raise self._full()
        self._free()
        try:
            return work()
        except torch.OutOfMemoryError as error:
            raise self._full() from error

    def _free(self) -> None:
        """Drop what this update holds; it is formed anew."""
        self._keep = False
        self.memory.free(self.volume.device)

    def _full(self) -> UserError:
        return UserError(
            f"{self.volume.device} has no memory left for one scan of {CHUNK} muons or one volume; "
            "end what else uses it, or compute on another device (--device cpu)"
        )

    def _pieces(self, scan: Scan, inferrer: Any) -> list[Scan]:
        """The scan, or its muons a few at a time if they are many and the inferrer allows."""
        return scan.pieces() if getattr(inferrer, "takes_pieces", False) else [scan]

    def _piece(self, scan: Scan, batch: Any) -> ScatterPiece:
        """A piece of a volume, whose scatters are kept if there is memory for them."""
        me = proxy(self)  # as in `_attached`
        piece = ScatterPiece(
            lambda: me._cross(me._muons(scan), scan),
            self._learnable(),
            lambda: me._free(),  # noqa: PLW0108 - not bound
        )
        if self.memory.fits(self._bytes(scan, NUMBERS_REDUCED)):
            piece.kept = ReducedScatters.of(batch)
            self.memory.hold(piece)
        return piece

    def _bytes(self, scan: Scan, numbers_per_muon: int) -> int:
        """Memory that some numbers of each muon take."""
        assert scan.state is not None
        n_muons = scan.state.shape[0] * scan.state.shape[1]
        return int(n_muons * numbers_per_muon * self.volume.lw.element_size())

    def _form(self, scan: Scan) -> tuple[Tensor, ...]:
        """The predictions of a banked scan once more, with a graph and without hooks."""
        return self._collected(self.partial_volume_inferrer(volume=self.volume), scan).tensors()

    def _collected(self, inferrer: Any, scan: Scan) -> Predictions:
        """What an inferrer says of a banked scan."""
        inferrer.add_scatters(self._cross(self._muons(scan), scan))
        return read(inferrer, len(scan))

    def _learnable(self) -> list[Tensor]:
        """Parameters that a gradient may go to: of the volume, and of what else is optimised."""
        budget = [] if self.volume.budget is None else [self.volume.budget]
        tensors = (*self.volume.parameters(), *self._optimised(), *budget)
        unique = {id(p): p for p in tensors if p.requires_grad}
        return list(unique.values())

    def _optimised(self) -> list[Tensor]:
        groups = [group for opt in self.opts.values() for group in opt.param_groups]
        return [parameter for group in groups for parameter in group["params"]]

    def _judge_volume(self, predictions: Predictions, offset: int) -> None:
        fit = self.fit_params
        fit.pred = predictions.values[offset]
        fit.pred_var = predictions.variances[offset] if predictions.variances else None
        if fit.pred is None:
            fit.n_skipped += 1
        self.hook("on_x0_pred_end")
        if fit.state != "test" and self.loss_func is not None and fit.pred is not None:
            loss = self.loss_func(pred=fit.pred, volume=self.volume)
            fit.loss_val = loss if fit.loss_val is None else fit.loss_val + loss
        self.hook("on_volume_end")

    def _end_batch(self, n_volumes: int) -> None:
        """Mean loss of the batch and, in training, one update; a short last batch counts (D-64)."""
        fit = self.fit_params
        fit.mean_loss = None if fit.loss_val is None else fit.loss_val / n_volumes
        self.hook("on_volume_batch_end")
        if fit.state == "train":
            self._update(fit.mean_loss)

    def _update(self, mean_loss: Tensor | None) -> None:
        fit = self.fit_params
        for parameter in self._optimised():
            parameter.grad = None
        self.hook("on_backwards_begin")
        if mean_loss is not None:
            try:
                mean_loss.sum().backward()
            except torch.OutOfMemoryError as error:
                raise self._full() from error
        self.volume.hold_cost(on=False)  # its graph is used up
        self.hook("on_backwards_end")
        stepping = mean_loss is not None and not fit.skip_opt_step
        if stepping:
            for opt in self.opts.values():
                opt.step()
        self.hook("on_step_end")
        if stepping:
            for layer in self.volume.get_detectors():
                layer.conform_detector()

    def _muon_batches(self, scan: Scan) -> list[int]:
        """Sizes of the batches of muons; the last one may be smaller (D-64)."""
        if scan.state is not None:
            return [scan.state.shape[1]]
        fit = self.fit_params
        total, size = fit.n_mu_per_volume or 0, fit.mu_bs or 1
        return [min(size, total - start) for start in range(0, total, size)]

    def _muons(self, scan: Scan, batch: int = 0, n_muons: int = 0) -> MuonBatch:
        """A batch of muons above a scan: new ones, or all of a bank's."""
        fit = self.fit_params
        volumes = range(scan.first, scan.first + len(scan))
        epoch = fit.epoch if fit.state == "train" else 0
        names = (fit.state or "", epoch, batch)
        if scan.state is None:
            rng = self._stream("muons", *names, scan.first)
            mu = MuonBatch(self.mu_generator(n_muons, rng=rng), init_z=self.volume.h)
            mu.rng = self._stream("scatter", *names, scan.first)
        else:
            rows = scan.rows(self.volume.lw)
            _, z_top = self.volume.z_range
            mu = MuonBatch.from_lines(rows[:, 0:2], rows[:, 2:4], rows[:, 8], z_top)
            mu.states = rows
        mu.n_volumes, mu.first = len(scan), scan.first_muon
        n_each = len(mu) // len(scan)
        mu.noise = HitNoise(self.seed, names, list(volumes), n_each, scan.first_muon)
        return mu

    def _stream(self, *names: str | int) -> torch.Generator:
        return stream(self.seed, *names, device=self.volume.device)

    def _irradiate(self, mu: MuonBatch, scan: Scan) -> None:
        """Let the muons cross the whole volume, or look up where the bank says they leave it."""
        if scan.state is None:
            self.volume(mu)
            return
        self.volume.assign_budget()
        rows = scan.rows(self.volume.lw) if mu.states is None else mu.states
        z_low, z_high = self.volume.z_range
        lines = {
            "above": Lines(rows[:, 0:2], rows[:, 2:4], z_high),
            "below": Lines(rows[:, 4:6], rows[:, 6:8], z_low),
        }
        for layer in self.volume.get_detectors():
            line = lines[layer.pos]
            mu.record(layer.pos, line, layer.measure(line, *layer.draw(mu)))
