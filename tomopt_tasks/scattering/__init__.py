"""Multiple scattering: widths, joint deflection and displacement, slanted directions.

Limits of the model (spec D-63): with Highland's width Gaussian, without the tails of single
scattering, which ``TableScatterSettings`` has; no energy loss unless ``energy_loss`` asks for its
mean (``momentum_behind`` tells how much that is); the momentum before the volume is known; matter
outside the voxels, the panels included, does not scatter.
"""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "HighlandSettings",
    "NoScatterSettings",
    "ScatterSettings",
    "StoppingPower",
    "TableScatterSettings",
    "find_stopping_power",
    "highland_angle",
    "momentum_behind",
    "scatter_slopes",
]

_HERE = "tomopt_tasks.scattering"

__getattr__ = lazy_exports(
    _HERE,
    {
        "HighlandSettings": f"{_HERE}.settings",
        "NoScatterSettings": f"{_HERE}.settings",
        "ScatterSettings": f"{_HERE}.settings",
        "StoppingPower": f"{_HERE}.stopping",
        "TableScatterSettings": f"{_HERE}.settings",
        "find_stopping_power": f"{_HERE}.stopping",
        "highland_angle": f"{_HERE}.highland",
        "momentum_behind": f"{_HERE}.stopping",
        "scatter_slopes": f"{_HERE}.kick",
    },
)
