"""Voxel grids, objects, and the layers of the notebook interface."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsBlockPassiveGenerator",
    "AbsLayer",
    "AbsPassiveGenerator",
    "BlockPresentPassiveGenerator",
    "LadleFurnacePassiveGenerator",
    "Layout",
    "PassiveLayer",
    "PassiveYielder",
    "RadLengthFunc",
    "RandomBlockPassiveGenerator",
    "RandomCargoPassiveGenerator",
    "SceneSettings",
    "SmallWallsPassiveGenerator",
    "ULorryPassiveGenerator",
    "Volume",
    "VoxelPassiveGenerator",
    "World",
    "draw_scenes",
    "make_scene",
]

_HERE = "tomopt_tasks.volume"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsBlockPassiveGenerator": f"{_HERE}.blocks",
        "AbsLayer": f"{_HERE}.layer",
        "AbsPassiveGenerator": f"{_HERE}.passives",
        "BlockPresentPassiveGenerator": f"{_HERE}.blocks",
        "LadleFurnacePassiveGenerator": f"{_HERE}.benchmarks",
        "Layout": f"{_HERE}.passives",
        "PassiveYielder": f"{_HERE}.passives",
        "RandomBlockPassiveGenerator": f"{_HERE}.blocks",
        "RandomCargoPassiveGenerator": f"{_HERE}.cargo",
        "SmallWallsPassiveGenerator": f"{_HERE}.benchmarks",
        "ULorryPassiveGenerator": f"{_HERE}.benchmarks",
        "VoxelPassiveGenerator": f"{_HERE}.blocks",
        "PassiveLayer": f"{_HERE}.layer",
        "RadLengthFunc": f"{_HERE}.layer",
        "Volume": f"{_HERE}.volume",
        "SceneSettings": f"{_HERE}.scene_settings",
        "World": f"{_HERE}.settings",
        "draw_scenes": f"{_HERE}.families",
        "make_scene": f"{_HERE}.scenes",
    },
)
