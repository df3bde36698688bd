"""Multiple scattering: widths, joint deflection and displacement, slanted directions."""

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
