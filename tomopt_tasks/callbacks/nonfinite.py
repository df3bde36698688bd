"""Norms of the gradients, and where a value that is not finite came from."""

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback, Wrapper

_LOG = logging.getLogger(__name__)
_TRACK = ("offset", "slope", "var_offset", "cov", "var_slope")


class Place(TypedDict):
    """Where in a scan a number belongs; None where a quantity has no such index."""

    panel: str | None
    volume: int | None
    muon: int | None
    """Counted in its volume and batch of muons."""
    mu_batch: int | None


class Source(Place):
    """The first value that was not finite in one update."""

    epoch: int
    update: int
    state: str
    kind: str
    """``value``: already in the forward pass; ``gradient``: on the way back."""
    quantity: str
    """E.g. ``sigma of a hit``, ``poca.xyz``, ``loss``, ``above[1].z``."""
    value: str
    """``nan``, ``inf`` or ``-inf``."""
    count: int
    """How many numbers of the quantity are not finite."""


_NOWHERE = Place(panel=None, volume=None, muon=None, mu_batch=None)


class GradientRecord(Callback):
    """Records the norm of every gradient, and the source of any value that is not finite.

    The quantities of a scan are looked at in the order in which they are computed: hits of each
    panel, tracks, acceptance, points of closest approach, prediction, loss. If all are finite, the
    gradients are looked at in the reverse order, while they are computed. Only the first find of
    an update is kept, all later ones follow from it. Stands after callbacks that replace the loss
    and before those that mend gradients.

    Args:
        max_sources: finds to keep; further ones are only counted.
        per_epoch: keep the norms of the present epoch only, so that the state stays small.
    """

    remembers: ClassVar[tuple[str, ...]] = ("norms", "sources", "n_nonfinite", "update")

    def __init__(self, max_sources: int = 20, *, per_epoch: bool = False) -> None:
        self.max_sources = max_sources
        self.per_epoch = per_epoch
        self._reset()

    def _reset(self) -> None:
        self.norms: dict[str, list[float]] = {}
        self.sources: list[Source] = []
        self.n_nonfinite = 0
        self.update = 0
        self._found = False
        self._mu_batch = -1

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self._reset()

    def on_epoch_begin(self) -> None:
        """Forget the norms of the epoch before, if only those of one are kept."""
        if self.per_epoch and self.fit_params.state == "train":
            self.norms = {}

    def on_volume_batch_begin(self) -> None:
        """Nothing has been found in this update."""
        self._found = False

    def on_volume_begin(self) -> None:
        """Count the batches of muons of a volume."""
        self._mu_batch = -1

    def on_mu_batch_begin(self) -> None:
        """Count the batches of muons of a volume."""
        self._mu_batch += 1

    def on_scatter_end(self) -> None:
        """Look at hits, tracks and points of closest approach; follow their gradients."""
        batch = self.fit_params.sb
        where = _Where(self._mu_batch, self._first_volume(batch), batch.n_volumes, len(batch.valid))
        for quantity, side, tensor in scan_quantities(batch):
            locate = partial(where, side)
            self._look(tensor, "value", quantity, locate)
            if tensor.requires_grad:
                tensor.register_hook(self._follow(quantity, locate))

    def _first_volume(self, batch: Any) -> int:
        last: int = self.fit_params.volume_id or 0
        return last - int(batch.n_volumes) + 1

    def on_x0_pred_end(self) -> None:
        """Look at the prediction; follow its gradient."""
        pred, volume = self.fit_params.pred, self.fit_params.volume_id
        if pred is None:
            return

        def where(_: list[int]) -> Place:
            return {**_NOWHERE, "volume": volume}

        self._look(pred, "value", "prediction", where)
        if pred.requires_grad:
            pred.register_hook(self._follow("prediction", where))

    def on_volume_batch_end(self) -> None:
        """Look at the loss."""
        if self.fit_params.mean_loss is not None:
            self._look(self.fit_params.mean_loss, "value", "loss", lambda _: _NOWHERE)

    def on_backwards_end(self) -> None:
        """Record the norms; look at the gradients of the parameters."""
        for name, gradient in named_gradients(self.attached):
            self._look(gradient, "gradient", name, lambda _: _NOWHERE)
            norm = float(torch.linalg.vector_norm(gradient.detach()))
            self.norms.setdefault(name, []).append(norm)
        self.update += 1

    def _follow(
        self, quantity: str, where: Callable[[list[int]], Place]
    ) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            self._look(gradient, "gradient", quantity, where)

        return hook

    def _look(
        self,
        tensor: Tensor,
        kind: str,
        quantity: str,
        where: Callable[[list[int]], Place],
    ) -> None:
        bad = ~torch.isfinite(tensor.detach())
        if self._found or not bool(bad.any()):
            return
        self._found = True
        self.n_nonfinite += 1
        if len(self.sources) >= self.max_sources:
            return
        at = torch.nonzero(torch.atleast_1d(bad))[0].tolist()
        source = Source(
            epoch=self.fit_params.epoch,
            update=self.update,
            state=self.fit_params.state or "",
            kind=kind,
            quantity=quantity,
            value=_word(float(torch.atleast_1d(tensor.detach())[tuple(at)])),
            count=int(bad.sum()),
            **where(at),
        )
        self.sources.append(source)
        _LOG.warning("%s", describe(source))

    def explain(self) -> list[str]:
        """One sentence for each find."""
        return [describe(source) for source in self.sources]


def named_gradients(wrapper: Wrapper) -> Iterator[tuple[str, Tensor]]:
    """Gradients of the volume by name, those of panels as ``above[0].xy``, without missing ones."""
    labels = {
        id(parameter): f"{layer.pos}[{index}].{name}"
        for layer in wrapper.get_detectors()
        for index, panel in enumerate(layer.panels)
        for name, parameter in panel.named_parameters()
    }
    for name, parameter in wrapper.volume.named_parameters():
        if parameter.grad is not None:
            yield labels.get(id(parameter), name), parameter.grad


class _Where:
    """From the index of a number in a scan to the muon, its volume and the panel."""

    def __init__(self, mu_batch: int, first_volume: int, n_volumes: int, n_rows: int) -> None:
        self.mu_batch = mu_batch
        self.first_volume = first_volume
        self.n_muons = max(1, n_rows // n_volumes)

    def __call__(self, side: str | None, at: list[int]) -> Place:
        """The place of row ``at[0]``, and of panel ``at[1]`` if the quantity belongs to a side."""
        volume, muon = divmod(at[0], self.n_muons)
        panel = None if side is None else f"{side}[{at[1]}]"
        return Place(
            panel=panel, volume=self.first_volume + volume, muon=muon, mu_batch=self.mu_batch
        )


def scan_quantities(batch: Any) -> Iterator[tuple[str, str | None, Tensor]]:
    """Name, side (for hits) and values of what a scan computes, in the order of computation.

    Args:
        batch: a ``ScatterBatch``.
    """
    for side in ("above", "below"):
        hits = getattr(batch, side).hits
        for name in ("sigma", "efficiency", "residual"):
            yield f"{name} of a hit", side, getattr(hits, name)
    for name in _TRACK:
        yield f"tracks_in.{name}", None, getattr(batch.tracks_in, name)
        yield f"tracks_out.{name}", None, getattr(batch.tracks_out, name)
    yield "accepted", None, batch.accepted
    yield "poca.xyz", None, batch.poca.xyz
    yield "poca.sigma", None, batch.poca.sigma


def describe(source: Source) -> str:
    """A find as a sentence."""
    subject = source["quantity"]
    if source["kind"] == "gradient":
        subject = f"the gradient of {subject}"
    if source["panel"] is not None:
        subject += f" on panel {source['panel']}"
    if source["muon"] is not None:
        subject += f" of muon {source['muon']} (batch {source['mu_batch']})"
    if source["volume"] is not None:
        subject += f" in volume {source['volume']}"
    return (
        f"epoch {source['epoch']}, {source['state']}, update {source['update']}: {subject} is "
        f"{source['value']}, the first of {source['count']} such numbers"
    )


def _word(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"
