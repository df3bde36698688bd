"""Muons through the passive volume: from the state above it to the state below."""

from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.volume.crossing import Layer, first_cells, pad_density
from tomopt_tasks.volume.scatter import Flight, Scatterer, no_depth

Pair = tuple[Tensor, Tensor]


def scatter_through(
    x0: Float[Tensor, "vol z x y"],
    voxel: float,
    lines: tuple[Tensor, Tensor, Tensor, Tensor],
    momentum: Float[Tensor, "vol mu"],
    normal: Float[Tensor, "vol z 4 mu"],
    settings: HighlandSettings,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y at the bottom of a stack of voxel layers, each [vol, mu].

    Args:
        x0: radiation lengths [m]; z index 0 is the lowest layer.
        voxel: edge of a voxel [m].
        lines: x, y [m], tan_x and tan_y at the top, each [vol, mu].
        momentum: [GeV].
        normal: standard normal numbers; index 0 of axis ``z`` belongs to the top layer.
        settings: scatter model.
    """
    shape, n_layers = momentum.shape, x0.shape[1]
    scatterer = Scatterer.build(settings, momentum.flatten(), voxel)
    density = scatterer.density(x0, voxel)
    cells, first = pad_density(density), first_cells(density, shape[1])
    x, y, tan_x, tan_y = (part.flatten() for part in lines)
    flight = Flight((x / voxel, y / voxel), (tan_x, tan_y), no_depth(x))
    for k in range(n_layers):
        layer = Layer(cells[n_layers - 1 - k], (x0.shape[2], x0.shape[3]), first)
        noise = x.new_empty(4, *shape).copy_(normal[:, k].transpose(0, 1))
        flight = scatterer.cross(layer, flight, noise.view(4, -1))
    (x, y), (tan_x, tan_y) = flight.position, flight.slope
    return (
        x.mul_(voxel).view(shape), y.mul_(voxel).view(shape), tan_x.view(shape), tan_y.view(shape)
    )  # fmt: skip


def fly_straight(
    lines: tuple[Tensor, Tensor, Tensor, Tensor], depth: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y a depth [m] further down without any scattering."""
    x, y, tan_x, tan_y = lines
    return x + depth * tan_x, y + depth * tan_y, tan_x, tan_y
