"""Aiming: every muon of a batch flies through the passive volume (spec 2.3)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.aim import crosses_box
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.settings import MAX_TRIES
from tomopt_tasks.rng import stream


class MuonResampler(Callback):
    """Draws those muons again that would not cross the passive volume in straight flight.

    Muons of a bank are aimed when the bank is made, and left as they are.

    Args:
        max_tries: muons generated for each one wanted before the source counts as badly aimed.
    """

    def __init__(self, max_tries: int = MAX_TRIES) -> None:
        self.max_tries = max_tries
        self._mu_batch = -1

    def on_volume_begin(self) -> None:
        """Count the batches of muons of a volume."""
        self._mu_batch = -1

    def on_mu_batch_begin(self) -> None:
        """Replace the muons that miss."""
        self._mu_batch += 1
        wrapper: Any = self.attached
        fit, mu = self.fit_params, self.fit_params.mu
        if mu.rng is None:
            return
        epoch = fit.epoch if fit.state == "train" else 0
        names = (fit.state or "", epoch, fit.volume_id or 0, self._mu_batch)
        rng = stream(wrapper.seed, "resample", *names, device=mu.device)
        aimed = self.resample(mu.muons, wrapper.volume, wrapper.mu_generator, rng, self.max_tries)
        mu.muons = torch.cat([aimed[:, :2], mu.muons[:, 2:3], aimed[:, 2:]], 1)

    @staticmethod
    def check_mu_batch(mu: MuonBatch, volume: Any) -> Bool[Tensor, " mu"]:
        """Which muons meet the passive volume in straight flight; the whole flight is tested.

        Args:
            mu: muons at one height, at or above the top of the passive volume.
            volume: a ``Volume``.
        """
        z_low, z_high = (float(z) for z in volume.get_passive_z_range())
        depths = (mu.plane - z_high, mu.plane - z_low)
        slope = mu.tan_xy
        size = (float(volume.lw[0]), float(volume.lw[1]))
        return crosses_box(mu.x, mu.y, (slope[:, 0], slope[:, 1]), depths, size)

    @staticmethod
    def resample(
        mus: Float[Tensor, "mu cols"],
        volume: Any,
        gen: Callable[..., Tensor],
        rng: torch.Generator | None = None,
        max_tries: int = MAX_TRIES,
    ) -> Float[Tensor, "mu 5"]:
        """A copy in which rows that miss are replaced by rows of ``gen`` that do not.

        Args:
            mus: x, y, p, theta, phi at the top of ``volume``; a raw table with z in the third
                column may be given, too.
            volume: a ``Volume``.
            gen: called as ``gen(n, rng=rng)`` for n further muons.
            rng: random numbers for ``gen``; None: a stream of its own.
            max_tries: see the class.

        Raises:
            UserError: after many draws there are still too few muons that cross.
        """
        rows = mus.clone() if mus.shape[1] == 5 else torch.cat([mus[:, :2], mus[:, 3:]], 1)
        rng = stream(0, "resample", device=rows.device) if rng is None else rng
        good = MuonResampler.check_mu_batch(MuonBatch(rows, volume.h), volume)
        for _ in range(max_tries):
            missing = torch.nonzero(~good)[:, 0]
            if len(missing) == 0:
                return rows
            fresh = gen(len(rows), rng=rng).to(rows)
            crossing = fresh[MuonResampler.check_mu_batch(MuonBatch(fresh, volume.h), volume)]
            filled = missing[: len(crossing)]
            rows[filled] = crossing[: len(filled)]
            good[filled] = True
        raise UserError(
            f"only {int(good.sum())} of {len(rows)} muons cross the passive volume after "
            f"{(max_tries + 1) * len(rows)} were drawn; generate muons nearer to the volume, or "
            "with a smaller range of theta"
        )
