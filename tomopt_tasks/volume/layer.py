"""Layers of a volume (spec 3.1, 3.2)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tomopt_tasks.core import UserError
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.scattering.losses import has_stopped
from tomopt_tasks.scattering.moments import Depth
from tomopt_tasks.scattering.settings import (
    HighlandSettings,
    NoScatterSettings,
    TableScatterSettings,
)
from tomopt_tasks.scattering.stopping import kinetic_energy
from tomopt_tasks.volume.crossing import Layer, first_cells, pad_density
from tomopt_tasks.volume.flight import Flight, no_depth
from tomopt_tasks.volume.grid import voxel_indices, whole_voxels
from tomopt_tasks.volume.on_host import OnHost
from tomopt_tasks.volume.scatterers import build_scatterer
from tomopt_tasks.volume.slowing import Slowing, mean_momentum

RadLengthFunc = Callable[..., Tensor]
"""Called with keywords z, lw and size; gives the radiation length of each voxel of a layer [m]."""

ScatterModel = HighlandSettings | TableScatterSettings | NoScatterSettings


class Bounds(NamedTuple):
    """A layer's box, with a corner at x = y = 0 [m]."""

    length: float
    """Along x."""
    width: float
    """Along y."""
    top: float
    bottom: float


class AbsLayer(nn.Module):
    """A horizontal slab of the volume.

    Its geometry is in buffers that move with ``.to()`` (D-33) and stay out of state dicts.

    Args:
        lw: length and width [m]; its precision is that of the layer.
        z: top [m].
        size: thickness [m]; for passive layers also the edge of a voxel.
        device: where the layer lives; default: that of ``lw``.
    """

    lw: Float[Tensor, "2"]
    z: Float[Tensor, "1"]
    rad_length: Float[Tensor, "x y"] | None

    def __init__(
        self,
        lw: Tensor | Sequence[float],
        z: float | Tensor,
        size: float,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        width = torch.as_tensor(lw, device=device).detach().clone()
        if not width.is_floating_point():
            width = width.to(torch.get_default_dtype())
        self.register_buffer("lw", width, persistent=False)
        top = torch.as_tensor(z, dtype=width.dtype, device=width.device).detach().reshape(1)
        self.register_buffer("z", top.clone(), persistent=False)
        self.register_buffer("rad_length", None, persistent=False)
        self.size = float(size)
        self._on_host = OnHost()

    @property
    def bounds(self) -> "Bounds":
        """The box that the layer fills; the host knows it at any time."""
        made_of = self.lw, self.z
        return Bounds(*self._on_host.read(made_of, lambda: (*made_of, self.z - self.size)))

    @property
    def device(self) -> torch.device:
        """Where the layer lives."""
        return self.lw.device

    def get_lw_z_size(self) -> tuple[Float[Tensor, "2"], Float[Tensor, "1"], float]:
        """Length and width, top, thickness [m]."""
        return self.lw, self.z, self.size

    def forward(self, mu: MuonBatch) -> None:
        """Lets muons cross the layer, from any height to its bottom."""
        raise NotImplementedError


class PassiveLayer(AbsLayer):
    """A layer of cubic voxels that scatters muons.

    A layer scatters once, with the exact matter on each flight and a width that does not depend on
    steps (D-21); matter above it in the same flight counts for the logarithm. No muon turns
    upwards: see ``scattering.kick``. With ``energy_loss`` muons that stop are removed.

    Args:
        lw: length and width [m]; whole numbers of voxels.
        z: top [m].
        size: thickness and edge of a voxel [m].
        rad_length_func: radiation lengths; None: loaded later, until then the layer is empty.
        step_sz: step of the compat options of the scatter model [m].
        scatter_model: "pdg", or settings such as
            ``HighlandSettings(log_term="step", beta=False, displacement_sign=-1)`` (compat).
        device: where the layer lives; default: that of ``lw``.

    Raises:
        UserError: ``lw`` is not a whole number of voxels (D-27), or the model is unknown (D-55).
    """

    def __init__(
        self,
        lw: Tensor | Sequence[float],
        z: float | Tensor,
        size: float,
        rad_length_func: RadLengthFunc | None = None,
        step_sz: float = 0.01,
        scatter_model: str | ScatterModel = "pdg",
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(lw, z, size, device)
        n_x, n_y = (whole_voxels(float(width), self.size, "lw") for width in self.lw)
        self.shape = (n_x, n_y)
        self.scatter_model = _model(scatter_model, step_sz)
        if rad_length_func is not None:
            self.load_rad_length(rad_length_func)

    def load_rad_length(self, rad_length_func: RadLengthFunc) -> None:
        """Takes the radiation lengths of the voxels from a function of z, lw and size."""
        self.set_rad_length(rad_length_func(z=self.z, lw=self.lw, size=self.size))

    def set_rad_length(self, rad_length: Float[Tensor, "x y"]) -> None:
        """Takes the radiation lengths of the voxels [m]; > 0, infinite for vacuum.

        Raises:
            UserError: wrong shape, or values that are no radiation lengths.
        """
        self.rad_length = fitting_rad_length(rad_length, self.shape, self.lw)
        check_rad_length(self.rad_length)

    def abs2idx(self, xy: Float[Tensor, "mu 2"]) -> Int[Tensor, "mu 2"]:
        """Voxel of each position [m]; positions outside get the nearest voxel (D-59)."""
        return voxel_indices(xy, self.lw.new_zeros(2), self.size, self.shape)

    def mu_abs2idx(
        self, mu: MuonBatch, mask: Bool[Tensor, " mu"] | None = None
    ) -> Int[Tensor, "selected 2"]:
        """Voxel of each muon, or of those that ``mask`` selects."""
        return self.abs2idx(mu.xy if mask is None else mu.xy[mask])

    def forward(self, mu: MuonBatch) -> None:
        """Flies muons to the top of the layer, scatters them, and leaves them at its bottom."""
        mu.propagate_dz(mu.z - self.z)
        if self.rad_length is None or isinstance(self.scatter_model, NoScatterSettings):
            mu.propagate_dz(self.size)
            mu._z = (self.z - self.size).expand(len(mu))
            return
        scatterer = build_scatterer(self.scatter_model, mu.mom, self.size)
        densities = scatterer.densities(self.rad_length.to(mu.mom), self.size)
        density, *others = (pad_density(part[None, None])[0] for part in densities)
        volume = torch.zeros(len(mu), dtype=torch.int32, device=mu.device)
        layer = Layer(density, self.shape, first_cells(volume, self.shape), tuple(others))
        depth = no_depth(mu.mom) if mu.crossed is None else Depth(*mu.crossed.T)
        flight = Flight(mu.xy.t() / self.size, mu.tan_xy.t(), depth)
        if self.scatter_model.energy_loss:
            momentum = self._slow_down(mu, layer, flight)
            scatterer = build_scatterer(self.scatter_model, momentum, self.size)
        flight = scatterer.cross(layer, flight, mu.draw_normal(4, len(mu)))
        x, y = flight.position
        mu.crossed = torch.stack(flight.depth, 1)
        mu._xyz = torch.stack([x * self.size, y * self.size, (self.z - self.size).expand_as(x)], 1)
        mu.set_slopes(*flight.slope)
        if mu.kinetic is not None:
            mu.filter_muons(~has_stopped(mu.kinetic))

    def _slow_down(self, mu: MuonBatch, layer: Layer, flight: Flight) -> Float[Tensor, " mu"]:
        """Takes the energy that muons lose; the momentum in the layer [GeV]."""
        assert self.rad_length is not None
        before = kinetic_energy(mu.mom) if mu.kinetic is None else mu.kinetic
        slowing = Slowing.build(self.rad_length.to(mu.mom)[None, None], self.size)
        mu.kinetic = slowing.behind(0, layer, flight, before)
        return mean_momentum(before, mu.kinetic)


def fitting_rad_length(rad_length: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Radiation lengths [m] where, and as precise as, another tensor is.

    Raises:
        UserError: wrong shape.
    """
    values = torch.as_tensor(rad_length).to(like)
    if tuple(values.shape) != shape:
        got = tuple(values.shape)
        raise UserError(f"radiation lengths: got a grid of {got} voxels, need {shape}")
    return values


def check_rad_length(values: Tensor) -> None:
    """Refuses what is no radiation length [m].

    Raises:
        UserError: a value is not above zero.
    """
    if not bool((values > 0).all()):
        raise UserError("radiation lengths must be above 0 m; use inf for vacuum")


def _model(scatter_model: str | ScatterModel, step: float) -> ScatterModel:
    if isinstance(scatter_model, ScatterModel):
        return scatter_model
    if scatter_model == "pdg":
        return HighlandSettings(step=step)
    msg = (
        f"scatter_model: {scatter_model!r} is not known; use 'pdg', HighlandSettings(...), "
        "TableScatterSettings() or NoScatterSettings()"
    )
    raise UserError(msg)
