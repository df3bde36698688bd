"""A stack of layers with detectors above and below, and its budget (spec 3.5)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomopt_tasks.volume.layer import AbsLayer, PassiveLayer, RadLengthFunc


class Volume(nn.Module):
    """Layers from top to bottom; knows the passive range, the target and the budget.

    Args:
        layers: from top to bottom.
        budget: cost that all panels share; None: panels have the size they are given.

    Raises:
        ValueError: layers on several devices, or passive layers of different width or thickness.
    """

    budget_weights: nn.Parameter
    budget: Tensor | None

    def __init__(
        self, layers: nn.ModuleList | Sequence[AbsLayer], budget: float | None = None
    ) -> None:
        super().__init__()
        self.layers = layers if isinstance(layers, nn.ModuleList) else nn.ModuleList(layers)
        self.target: Tensor | None = None
        self._grid: Tensor | None = None
        devices = {str(layer.device) for layer in self.layers}
        if len(devices) > 1:
            raise ValueError(
                f"the layers lie on several devices: {sorted(devices)}; move them to one"
            )
        shapes = {(tuple(layer.lw.tolist()), layer.size) for layer in self.get_passives()}
        if len(shapes) > 1:
            raise ValueError(f"passive layers differ in width or thickness: {sorted(shapes)}")
        self.register_buffer("budget", None, persistent=False)
        if budget is not None:
            dtype = self.layers[0].lw.dtype
            n_costs = sum(layer._n_costs for layer in self.get_detectors())
            self.budget = torch.tensor(float(budget), dtype=dtype, device=self.device)
            self.budget_weights = nn.Parameter(
                torch.zeros(n_costs, dtype=dtype, device=self.device)
            )

    @property
    def device(self) -> torch.device:
        """Where the volume lives."""
        return self.layers[0].device

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        """A layer, counted from the top."""
        return self.layers[index]

    def get_passives(self) -> list[PassiveLayer]:
        """Passive layers, from top to bottom."""
        return [layer for layer in self.layers if isinstance(layer, PassiveLayer)]

    def get_detectors(self) -> list[Any]:
        """Detector layers, from top to bottom."""
        return [layer for layer in self.layers if hasattr(layer, "get_cost")]

    @property
    def lw(self) -> Tensor:
        """Length and width of the passive volume [m]."""
        return self.get_passives()[-1].lw

    @property
    def passive_size(self) -> float:
        """Voxel of the passive volume [m]."""
        return self.get_passives()[-1].size

    @property
    def h(self) -> Tensor:
        """Top of the whole volume [m], shape (1,)."""
        return self.layers[0].z

    def get_passive_z_range(self) -> tuple[Tensor, Tensor]:
        """Bottom and top of the passive volume [m], each of shape (1,)."""
        passives = self.get_passives()
        return passives[-1].z - passives[-1].size, passives[0].z

    def load_rad_length(
        self, rad_length: RadLengthFunc | Tensor, target: Tensor | None = None
    ) -> None:
        """Load a layout, as a function of a layer or as a grid (z, x, y), and its target."""
        self.target = target
        if isinstance(rad_length, Tensor):
            for layer, values in zip(reversed(self.get_passives()), rad_length, strict=True):
                layer.rad_length = values.to(layer.lw)
            return
        for layer in self.get_passives():
            layer.load_rad_length(rad_length)

    def get_rad_cube(self) -> Float[Tensor, "z x y"]:
        """Radiation lengths of all voxels [m], lowest layer first.

        Raises:
            ValueError: there are no passive layers, or nothing was loaded.
        """
        loaded = [layer.rad_length for layer in reversed(self.get_passives())]
        values = [value for value in loaded if value is not None]
        if not values or len(values) != len(loaded):
            raise ValueError("no layout is loaded into all passive layers; call load_rad_length")
        return torch.stack(values)

    def assign_budget(self) -> None:
        """Give each panel its share; shares belong to panels, not to their order (D-45)."""
        if self.budget is None:
            return
        shares = torch.softmax(self.budget_weights, 0) * self.budget
        first = 0
        for layer in self.get_detectors():
            layer.assign_budget(shares[first : first + layer._n_costs])
            first += layer._n_costs

    def get_cost(self) -> Tensor:
        """Cost of all detectors; the budget where there is one. Shape (1,)."""
        if self.budget is not None:
            return self.budget.reshape(1)
        costs = [layer.get_cost() for layer in self.get_detectors()]
        return torch.stack(costs).sum(0) if costs else torch.zeros_like(self.lw[:1])

    def forward(self, mu: Any) -> None:  # noqa: ANN401
        """Let muons cross all layers, from top to bottom."""
        self.assign_budget()
        for layer in self.layers:
            layer(mu)
