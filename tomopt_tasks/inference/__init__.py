"""From hits to tracks, to scatters, to predictions about a volume."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsIntClassifierFromX0",
    "AbsVolumeInferrer",
    "AbsX0Inferrer",
    "DeepVolumeInferrer",
    "DenseBlockClassifierFromX0s",
    "EdgeDetLadleFurnaceFillLevelInferrer",
    "GenScatterBatch",
    "InferenceSettings",
    "PanelX0Inferrer",
    "PocaZFillLevelSettings",
    "PocaZLadleFurnaceFillLevelInferrer",
    "ScatterBatch",
    "TomOptX0",
    "UnbiasedX0",
    "VolumeInferrer",
    "VolumeNet",
    "VoxelX0Settings",
]

_HERE = "tomopt_tasks.inference"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsIntClassifierFromX0": f"{_HERE}.classifiers",
        "AbsVolumeInferrer": f"{_HERE}.volume",
        "AbsX0Inferrer": f"{_HERE}.voxels",
        "DeepVolumeInferrer": f"{_HERE}.learned",
        "DenseBlockClassifierFromX0s": f"{_HERE}.classifiers",
        "EdgeDetLadleFurnaceFillLevelInferrer": f"{_HERE}.edges",
        "GenScatterBatch": f"{_HERE}.generator_level",
        "InferenceSettings": f"{_HERE}.settings",
        "PanelX0Inferrer": f"{_HERE}.voxels",
        "PocaZFillLevelSettings": f"{_HERE}.settings",
        "PocaZLadleFurnaceFillLevelInferrer": f"{_HERE}.ladle",
        "ScatterBatch": f"{_HERE}.scatters",
        "TomOptX0": f"{_HERE}.x0_compat",
        "UnbiasedX0": f"{_HERE}.x0_map",
        "VolumeInferrer": f"{_HERE}.volume",
        "VolumeNet": f"{_HERE}.learned",
        "VoxelX0Settings": f"{_HERE}.settings",
    },
)
