"""Scatter models at work: the step that banks and ``PassiveLayer`` share."""

from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.settings import HighlandSettings, TableScatterSettings
from tomopt_tasks.volume.scatter import Scatterer
from tomopt_tasks.volume.table_scatter import TableScatterer

Scattering = HighlandSettings | TableScatterSettings
"""Models that scatter at all."""


def build_scatterer(
    settings: Scattering, momentum: Float[Tensor, " mu"], voxel: float
) -> Scatterer | TableScatterer:
    """A scatter model for given muons.

    Args:
        settings: the model.
        momentum: [GeV]; > 0.
        voxel: edge of a voxel [m].
    """
    if isinstance(settings, TableScatterSettings):
        return TableScatterer.build(settings, momentum, voxel)
    return Scatterer.build(settings, momentum, voxel)
