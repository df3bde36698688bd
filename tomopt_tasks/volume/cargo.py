"""Random cargo: blocks of goods in a container or truck, with something to find or not.

After the three scenes that border-control studies use: a cube with one block, a larger cube with a
few, and a truck with a steel frame and many. The target is whether the cargo should be opened.
"""

from collections.abc import Sequence

import torch
from torch import Generator

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0, find_material
from tomopt_tasks.volume import cubes
from tomopt_tasks.volume.passives import AbsPassiveGenerator, Passive
from tomopt_tasks.volume.volume import Volume

GOODS = ("water", "SiO2", "aluminium", "iron", "graphite", "soft tissue")
"""Materials of the goods."""
THREATS = ("uranium", "lead")
"""What should be found."""
N_BLOCKS = {"simple": 1, "medium": 4, "complex": 15}
"""Blocks of each kind of scene."""


class RandomCargoPassiveGenerator(AbsPassiveGenerator):
    """Air with blocks of goods, later ones over earlier ones, and with a threat or without.

    A complex cargo stands in a frame of steel: the floor and the outer ring of voxels. The threat
    is the last block, so that no other covers it. Target: 1 if there is one, shape (1,).

    Args:
        volume: gives the grid.
        kind: ``simple`` (1 block), ``medium`` (4) or ``complex`` (15 blocks in a frame).
        threat_prob: probability of a threat.
        materials: names of the materials of the goods; None: ``GOODS``.
        max_side: longest side of a block as a part of the room; above 0, up to 1.
        rng: the stream to draw from.

    Raises:
        UserError: an unknown kind, numbers out of range, or no room inside a frame.
    """

    def __init__(
        self,
        volume: Volume,
        kind: str = "simple",
        threat_prob: float = 0.5,
        materials: Sequence[str] | None = None,
        max_side: float = 0.5,
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, GOODS if materials is None else materials, rng)
        if kind not in N_BLOCKS:
            raise UserError(f"cargo: kind {kind!r} is not known; use one of {', '.join(N_BLOCKS)}")
        if not 0 <= threat_prob <= 1:
            raise UserError(f"cargo: threat_prob = {threat_prob} is no probability; use 0 to 1")
        if not 0 < max_side <= 1:
            raise UserError(f"cargo: max_side = {max_side}; use a part of the room, up to 1")
        self.kind, self.threat_prob, self.max_side = kind, threat_prob, max_side
        n_z, n_x, n_y = self.shape
        rim = 1 if kind == "complex" else 0
        self._low = (rim, rim, rim)
        self._high = (n_x - rim, n_y - rim, n_z)
        if min(self._high[axis] - self._low[axis] for axis in range(3)) < 1:
            raise UserError(f"cargo: a frame leaves no room in {self.shape} voxels (z, x, y)")

    def _generate(self) -> Passive:
        cube = torch.full(self.shape, X0["air"], dtype=torch.float64)
        if self.kind == "complex":
            n_layers = self.shape[0] - 1
            cube = cubes.layered(self.shape, [X0["steel"]] + [X0["air"]] * n_layers, X0["steel"])
        for _ in range(N_BLOCKS[self.kind]):
            cube[self._box()] = self._pick_x0()
        present = bool(torch.rand((), generator=self.rng) < self.threat_prob)
        if present:
            threat = THREATS[cubes.randint(0, len(THREATS) - 1, self.rng)]
            cube[self._box()] = find_material(threat).x0
        return self._layout(cube), torch.tensor([int(present)], device=self.device)

    def _box(self) -> tuple[slice, slice, slice]:
        """A box of random sides somewhere in the room."""
        rooms = [b - a for a, b in zip(self._low, self._high, strict=True)]
        x, y, z = (cubes.randint(1, max(1, int(self.max_side * room)), self.rng) for room in rooms)
        return cubes.place((x, y, z), self._low, self._high, self.rng)
