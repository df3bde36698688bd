"""Makes ``data/inputs/moliere.npz``: ``python -m tomopt_tasks.scattering.make_table FILE``."""

import sys
from pathlib import Path

import numpy as np
import torch

from tomopt_tasks.materials import MATERIALS
from tomopt_tasks.scattering.moliere import atomic_number, quantiles, scatter_of, x0_mass_of

THICKNESS = torch.logspace(-3.0, 2.0, 21, dtype=torch.float64)
"""[radiation lengths]"""
RADIUS = torch.arange(1, 53, dtype=torch.float64) / 8.0
"""Of a standard normal pair; beyond the last one in a thousand million muons is scattered."""


def make_table(file: Path) -> None:
    """Write the table of all materials, in the order of their effective atomic numbers.

    Args:
        file: npz; see ``scattering.table`` for what is in it.
    """
    numbers = {name: atomic_number(x0_mass_of(material))[0] for name, material in MATERIALS.items()}
    names = sorted(MATERIALS, key=lambda name: (numbers[name], name))
    angle = [
        quantiles(scatter_of(x0_mass_of(MATERIALS[name])), THICKNESS, RADIUS) for name in names
    ]
    np.savez_compressed(
        file,
        material=np.array(names),
        x0=np.array([MATERIALS[name].x0 for name in names]),
        thickness=THICKNESS.numpy(),
        radius=RADIUS.numpy(),
        angle=torch.stack(angle).float().numpy(),
    )


if __name__ == "__main__":
    make_table(Path(sys.argv[1]))
