"""Layers of a volume (spec 3.1, 3.2)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

RadLengthFunc = Callable[..., Tensor]
"""Called with keywords z, lw and size; gives the radiation length of each voxel of a layer [m]."""


class AbsLayer(nn.Module):
    """A horizontal slab of the volume.

    Args:
        lw: length and width [m].
        z: top [m].
        size: thickness [m]; for passive layers also the voxel.
        device: where the layer lives.
    """

    lw: Tensor
    z: Tensor
    rad_length: Tensor | None

    def __init__(
        self,
        lw: Tensor | Sequence[float],
        z: float | Tensor,
        size: float,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        width = torch.as_tensor(lw, device=device).detach().clone()
        if not width.is_floating_point():
            width = width.to(torch.get_default_dtype())
        self.register_buffer("lw", width, persistent=False)
        height = torch.as_tensor(z, dtype=width.dtype, device=device).reshape(1).clone()
        self.register_buffer("z", height, persistent=False)
        self.register_buffer("rad_length", None, persistent=False)
        self.size = float(size)

    @property
    def device(self) -> torch.device:
        """Where the layer lives."""
        return self.lw.device

    def get_lw_z_size(self) -> tuple[Tensor, Tensor, float]:
        """Length and width, top, thickness [m]."""
        return self.lw, self.z, self.size


class PassiveLayer(AbsLayer):
    """A layer of voxels that scatters muons.

    Args:
        lw: length and width [m].
        z: top [m].
        size: thickness and voxel [m].
        rad_length_func: radiation lengths [m]; None: loaded later.
        device: where the layer lives.
    """

    def __init__(
        self,
        lw: Tensor | Sequence[float],
        z: float | Tensor,
        size: float,
        rad_length_func: RadLengthFunc | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(lw, z, size, device)
        if rad_length_func is not None:
            self.load_rad_length(rad_length_func)

    def load_rad_length(self, rad_length_func: RadLengthFunc) -> None:
        """Take the radiation lengths of the voxels from a function of z, lw and size."""
        values = rad_length_func(z=self.z, lw=self.lw, size=self.size)
        self.rad_length = torch.as_tensor(values).to(self.lw)
