"""Multiple scattering: widths, joint deflection and displacement, slanted directions.

Limits of the model (spec D-63): Gaussian, without the tails of single scattering; no energy loss;
the true momentum is known; matter outside the voxels, the panels included, does not scatter.
"""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "HighlandSettings",
    "NoScatterSettings",
    "ScatterSettings",
    "highland_angle",
    "scatter_slopes",
]

_HERE = "tomopt_tasks.scattering"

__getattr__ = lazy_exports(
    _HERE,
    {
        "HighlandSettings": f"{_HERE}.settings",
        "NoScatterSettings": f"{_HERE}.settings",
        "ScatterSettings": f"{_HERE}.settings",
        "highland_angle": f"{_HERE}.highland",
        "scatter_slopes": f"{_HERE}.kick",
    },
)
