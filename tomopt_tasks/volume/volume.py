"""A stack of layers with detectors above and below, and its budget (spec 3.5)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.volume.grid import rounding, voxel_corners, voxel_indices
from tomopt_tasks.volume.layer import (
    AbsLayer,
    PassiveLayer,
    RadLengthFunc,
    check_rad_length,
    fitting_rad_length,
)

Limits = tuple[float, float]


class Volume(nn.Module):
    """Layers from top to bottom; knows the passive range, the target and the budget.

    Layers that have ``get_cost`` and ``assign_budget`` are detectors.

    Args:
        layers: from top to bottom.
        budget: cost that all panels share; None: panels have the size they are given.

    Raises:
        ValueError: no layers, layers on several devices, or passive layers of different width or
            thickness.
    """

    layers: nn.ModuleList
    budget: Float[Tensor, ""] | None
    budget_weights: nn.Parameter
    """One for each panel, in the order of construction; the shares are their softmax (D-45)."""
    _cost: Tensor | None
    """See :meth:`hold_cost`."""

    def __init__(
        self, layers: nn.ModuleList | Sequence[AbsLayer], budget: float | int | None = None
    ) -> None:
        super().__init__()
        self.layers = layers if isinstance(layers, nn.ModuleList) else nn.ModuleList(layers)
        self.target: Any = None
        self.hold_cost(on=False)
        self._check()
        self.register_buffer("budget", None, persistent=False)
        self._n_layer_costs = [int(layer._n_costs) for layer in self.get_detectors()]
        if budget is not None:
            like = self[0].lw
            self.budget = like.new_tensor(float(budget))
            self.budget_weights = nn.Parameter(like.new_zeros(sum(self._n_layer_costs)))

    def _check(self) -> None:
        if len(self.layers) == 0:
            raise ValueError("a volume needs at least one layer")
        devices = {str(layer.device) for layer in self.layers}
        if len(devices) > 1:
            msg = f"the layers lie on several devices: {sorted(devices)}; move them to one"
            raise ValueError(msg)
        shapes = {(tuple(layer.lw.tolist()), layer.size) for layer in self.get_passives()}
        if len(shapes) > 1:
            msg = f"passive layers differ in width or thickness: {sorted(shapes)}; make them equal"
            raise ValueError(msg)

    @property
    def device(self) -> torch.device:
        """Where the volume lives."""
        device: torch.device = self[0].lw.device
        return device

    def __getitem__(self, index: int) -> Any:
        """A layer, counted from the top."""
        return self.layers[index]

    def get_passives(self) -> list[PassiveLayer]:
        """Passive layers, from top to bottom."""
        return [layer for layer in self.layers if isinstance(layer, PassiveLayer)]

    def get_detectors(self) -> list[Any]:
        """Detector layers, from top to bottom."""
        others = [layer for layer in self.layers if not isinstance(layer, PassiveLayer)]
        return [layer for layer in others if hasattr(layer, "get_cost")]

    @property
    def lw(self) -> Float[Tensor, "2"]:
        """Length and width of the passive volume [m]."""
        return self._lowest_passive.lw

    @property
    def passive_size(self) -> float:
        """Edge of a voxel of the passive volume [m]."""
        return self._lowest_passive.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, x, y."""
        return (len(self.get_passives()), *self._lowest_passive.shape)

    @property
    def h(self) -> Float[Tensor, "1"]:
        """Top of the whole volume [m]."""
        top: Tensor = self[0].z
        return top

    def get_passive_z_range(self) -> tuple[Float[Tensor, "1"], Float[Tensor, "1"]]:
        """Bottom and top of the passive volume [m]."""
        lowest = self._lowest_passive
        return lowest.z - lowest.size, self.get_passives()[0].z

    @property
    def z_range(self) -> tuple[float, float]:
        """Bottom and top of the passive volume [m]; the host knows them at any time."""
        return self._lowest_passive.bounds.bottom, self.get_passives()[0].bounds.top

    @property
    def xyz_edges(self) -> Float[Tensor, "voxel 3"]:
        """Low corners of all voxels [m], x slowest, z fastest."""
        n_z, n_x, n_y = self.shape
        return voxel_corners(self._low_corner, self.passive_size, (n_x, n_y, n_z))

    @property
    def xyz_centres(self) -> Float[Tensor, "voxel 3"]:
        """Centres of all voxels [m], in the order of ``xyz_edges``."""
        return self.xyz_edges + 0.5 * self.passive_size

    def lookup_passive_xyz_coords(self, xyz: Float[Tensor, "... 3"]) -> Int[Tensor, "n 3"]:
        """Voxel of each position, in xyz order, z counted from the bottom.

        Positions on the far faces belong to the last voxel (D-25); the argument is left alone.

        Raises:
            ValueError: positions outside the passive volume.
        """
        points = torch.atleast_2d(xyz).to(self.lw)
        low, (z_low, z_high) = self._low_corner, self.get_passive_z_range()
        high = torch.cat([self.lw, z_high])
        slack = rounding(points.dtype) * self.passive_size
        outside = int(((points < low - slack) | (points > high + slack)).any(1).sum())
        if outside:
            msg = (
                f"{outside} of {len(points)} positions lie outside the passive volume "
                f"(0 to {float(self.lw[0])}, 0 to {float(self.lw[1])}, "
                f"{float(z_low)} to {float(z_high)} m)"
            )
            raise ValueError(msg)
        n_z, n_x, n_y = self.shape
        return voxel_indices(points, low, self.passive_size, (n_x, n_y, n_z))

    def load_rad_length(
        self,
        rad_length: RadLengthFunc | Tensor,
        target: Any = None,
        *,
        checked: bool = False,
    ) -> None:
        """Loads a layout, as a function of a layer or as a grid (z, x, y), and its target.

        Args:
            rad_length: the layout.
            target: what is to be predicted of it.
            checked: whether it is known that all values of a grid are radiation lengths.
        """
        self.target = target
        if isinstance(rad_length, Tensor):
            values = fitting_rad_length(rad_length, self.shape, self.lw)
            if not checked:
                check_rad_length(values)
            for layer, of_layer in zip(reversed(self.get_passives()), values, strict=True):
                layer.rad_length = of_layer
            return
        for layer in self.get_passives():
            layer.load_rad_length(rad_length)

    def get_rad_cube(self) -> Float[Tensor, "z x y"]:
        """Radiation lengths of all voxels [m], lowest layer first.

        Raises:
            ValueError: there are no passive layers, or not all have a layout.
        """
        loaded = [layer.rad_length for layer in reversed(self.get_passives())]
        values = [value for value in loaded if value is not None]
        if not loaded:
            raise ValueError("the volume has no passive layers; give it at least one PassiveLayer")
        if len(values) != len(loaded):
            raise ValueError(
                f"{len(values)} of {len(loaded)} passive layers have a layout; load one into all: "
                "volume.load_rad_length(layout)"
            )
        return torch.stack(values)

    def assign_budget(self) -> None:
        """Gives each panel its share; shares belong to panels, not to their order (D-45)."""
        if self.budget is None:
            return
        shares = torch.softmax(self.budget_weights, 0) * self.budget
        parts = shares.split(self._n_layer_costs)
        for layer, part in zip(self.get_detectors(), parts, strict=True):
            layer.assign_budget(part)

    def get_cost(self) -> Float[Tensor, "1"]:
        """Cost of all detectors; the budget where there is one."""
        if self.budget is not None:
            return self.budget.reshape(1)
        held = self._cost
        if held is not None and (held.requires_grad or not torch.is_grad_enabled()):
            return held
        costs = [layer.get_cost().reshape(1) for layer in self.get_detectors()]
        total = torch.stack(costs).sum(0) if costs else torch.zeros_like(self[0].lw[:1])
        if self._holds_cost:
            self._cost = total
        return total

    def hold_cost(self, *, on: bool) -> None:
        """Whether the cost is formed only once from here on, for all volumes of one update.

        One graph then serves all of their losses, and one backward pass goes through it.
        """
        self._holds_cost, self._cost = on, None

    @contextmanager
    def holding_costs(self) -> Iterator[None]:
        """No cost is held any more when this ends, however it ends."""
        try:
            yield
        finally:
            self.hold_cost(on=False)

    def forward(self, mu: MuonBatch) -> None:
        """Lets muons cross all layers, from top to bottom; remembers where they were after each."""
        self.assign_budget()
        for layer in self.layers:
            layer(mu)
            mu.snapshot_xyz()

    def draw(
        self,
        *,
        xlim: Limits | None = None,
        ylim: Limits | None = None,
        zlim: Limits | None = None,
    ) -> Any:
        """A figure of layers and panels in three dimensions; the ranges are in m."""
        # by name, when asked for: the physics works without anything that draws
        plotting = import_module("tomopt_tasks.plotting.volume")
        return plotting.draw_volume(self, xlim=xlim, ylim=ylim, zlim=zlim)

    @property
    def _lowest_passive(self) -> PassiveLayer:
        passives = self.get_passives()
        if not passives:
            raise ValueError("the volume has no passive layers")
        return passives[-1]

    @property
    def _low_corner(self) -> Float[Tensor, "3"]:
        """Low corner of the passive volume: x, y, z [m]."""
        return torch.cat([torch.zeros_like(self.lw), self.get_passive_z_range()[0]])
