"""Voxel grids, objects, and the layers of the notebook interface."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsLayer",
    "PassiveLayer",
    "RadLengthFunc",
    "SceneSettings",
    "Volume",
    "World",
    "make_scene",
]

_HERE = "tomopt_tasks.volume"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsLayer": f"{_HERE}.layer",
        "PassiveLayer": f"{_HERE}.layer",
        "RadLengthFunc": f"{_HERE}.layer",
        "Volume": f"{_HERE}.volume",
        "SceneSettings": f"{_HERE}.settings",
        "World": f"{_HERE}.settings",
        "make_scene": f"{_HERE}.scenes",
    },
)
