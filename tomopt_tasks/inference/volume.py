"""What all volume inferrers share (spec 5.3)."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference.exposure import Exposure, Muons, ScatterPiece
from tomopt_tasks.inference.reduced import Scatters


@runtime_checkable
class VolumeInferrer(Protocol):
    """What the loop needs: any callable with the keyword ``volume`` that gives one of these."""

    def add_scatters(self, scatters: Any) -> None:
        """Take one more batch of scatters of the volume."""
        ...

    def get_prediction(self) -> Tensor | None:
        """The prediction for one volume; None if nothing was accepted."""
        ...


class AbsVolumeInferrer:
    """Base of volume inferrers: collects scatter batches of the same volumes.

    Args:
        volume: the volume that was irradiated; its geometry only.
    """

    takes_pieces: bool = False
    """Whether many muons may come as :class:`.exposure.ScatterPiece`, to be looked at again and
    again instead of all at once."""

    def __init__(self, volume: Any) -> None:
        self.volume = volume
        self.scatter_batches: list[Scatters | ScatterPiece] = []
        self.size: float = float(volume.passive_size)
        self.lw: Tensor = volume.lw
        self.device = volume.device
        n_z, n_x, n_y = volume.shape
        self.shp_xyz = [n_x, n_y, n_z]
        self.shp_zxy = [n_z, n_x, n_y]

    def add_scatters(self, scatters: Scatters | ScatterPiece) -> None:
        """Take one more batch of scatters."""
        self._reset_vars()
        self.scatter_batches.append(scatters)

    def _reset_vars(self) -> None:
        """Forget what was computed from fewer scatters."""

    def compute_efficiency(self, scatters: Scatters) -> Float[Tensor, " mu"]:
        """Probability of acceptance of every muon of a batch."""
        return scatters.accepted

    @property
    def n_volumes(self) -> int:
        """Number of volumes in the scan."""
        return self.scatter_batches[0].n_volumes if self.scatter_batches else 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Who makes predictions of its own takes all muons at once, unless it says otherwise."""
        super().__init_subclass__(**kwargs)
        makes = {"get_predictions", "get_prediction"} & vars(cls).keys()
        if makes and "takes_pieces" not in vars(cls):
            cls.takes_pieces = False

    def exposure(self, muons: Callable[[Any, Scatters], Muons]) -> Exposure[Muons] | None:
        """What some function makes of an inferrer and of the scatters of each piece, if there are.

        The inferrer that it gets holds nothing: graphs hold it, and must not get from there to what
        they lead to, since a circle through autograd is never collected.
        """
        pieces = [batch for batch in self.scatter_batches if isinstance(batch, ScatterPiece)]
        if not pieces:
            return None
        bare = copy(self)
        bare.scatter_batches = []
        bare._reset_vars()
        return Exposure.of(pieces, lambda scatters: muons(bare, scatters))

    def in_memory(self) -> list[Scatters]:
        """All batches at once, pieces formed."""
        batches = self.scatter_batches
        return [of.scatters() if isinstance(of, ScatterPiece) else of for of in batches]

    def merged(self, pick: Callable[[Scatters], Tensor]) -> Tensor:
        """A quantity of every muon of all batches, volume by volume."""
        return merge([pick(batch) for batch in self.in_memory()], self.n_volumes)

    def get_predictions(self) -> list[Tensor | None]:
        """One prediction a volume of the scan; None where no muon was accepted."""
        raise NotImplementedError

    def get_prediction(self) -> Tensor | None:
        """The prediction of a scan of one volume.

        Raises:
            ValueError: the scan holds several volumes.
        """
        if not self.scatter_batches:
            return None
        if self.n_volumes != 1:
            raise ValueError(
                f"the scan holds {self.n_volumes} volumes; use get_predictions for more than one"
            )
        return self.get_predictions()[0]


def merge(parts: Sequence[Tensor], n_volumes: int) -> Tensor:
    """Join batches of the same volumes so that each volume's muons follow one another."""
    if len(parts) == 1:
        return parts[0]
    rows = [part.view(n_volumes, -1, *part.shape[1:]) for part in parts]
    return torch.cat(rows, 1).flatten(0, 1)
