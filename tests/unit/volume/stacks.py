"""Small volumes for the tests of layers and volumes."""

import torch
from torch import Tensor, nn

from tomopt_tasks.volume.layer import AbsLayer, PassiveLayer
from tomopt_tasks.volume.volume import Volume

F64 = torch.float64


class ToyDetector(AbsLayer):
    """A layer with costs and a budget, without panels."""

    def __init__(self, n_costs, *, lw, z, size):
        super().__init__(lw, z, size)
        self._n_costs = n_costs
        self.shares: Tensor | None = None
        self.heights = nn.Parameter(torch.arange(n_costs, dtype=F64))

    def get_cost(self):
        return self.heights.sum().reshape(1)

    def assign_budget(self, budget):
        self.shares = budget

    def forward(self, mu):
        mu.propagate_dz(mu.z - (self.z - self.size))


def uniform(x0):
    """A layout of one material."""

    def rad_length(*, z, lw, size):
        return torch.full([round(float(width) / size) for width in lw], x0).to(z)

    return rad_length


def passives(n_layers, *, low=0.2, size=0.1, lw=(1.0, 1.0), x0=None, **settings):
    width = torch.tensor(lw, dtype=F64)
    func = None if x0 is None else uniform(x0)
    tops = [low + (k + 1) * size for k in reversed(range(n_layers))]
    return [PassiveLayer(width, z, size, func, **settings) for z in tops]


def volume(n_layers=6, *, budget=None, **settings):
    layers = passives(n_layers, **settings)
    top, bottom = float(layers[0].z), float(layers[-1].z) - layers[-1].size
    lw = layers[0].lw
    above = ToyDetector(2, lw=lw, z=top + 0.2, size=0.2)
    below = ToyDetector(3, lw=lw, z=bottom, size=0.2)
    return Volume([above, *layers, below], budget)
