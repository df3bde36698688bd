"""Muons through the passive volume: from the state above it to the state below."""

from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.losses import has_stopped
from tomopt_tasks.scattering.stopping import kinetic_energy
from tomopt_tasks.volume.crossing import Layer, first_cells, pad_density
from tomopt_tasks.volume.flight import Flight, no_depth
from tomopt_tasks.volume.scatterers import Scattering, build_scatterer
from tomopt_tasks.volume.slowing import OUT_OF_REACH, Slowing, mean_momentum

Pair = tuple[Tensor, Tensor]


def scatter_through(
    x0: Float[Tensor, "vol z x y"],
    voxel: float,
    lines: tuple[Tensor, Tensor, Tensor, Tensor],
    momentum: Float[Tensor, "vol mu"],
    normal: Float[Tensor, "vol z 4 mu"],
    settings: Scattering,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y at the bottom of a stack of voxel layers, each [vol, mu].

    Args:
        x0: radiation lengths [m]; z index 0 is the lowest layer.
        voxel: edge of a voxel [m].
        lines: x, y [m], tan_x and tan_y at the top, each [vol, mu].
        momentum: [GeV].
        normal: standard normal numbers; index 0 of axis ``z`` belongs to the top layer.
        settings: scatter model. With energy loss, muons that stop are put far away, at the same
            height, where no panel sees them.
    """
    shape, n_layers = momentum.shape, x0.shape[1]
    energy = kinetic_energy(momentum.flatten())
    slowing = Slowing.build(x0, voxel) if settings.energy_loss else None
    scatterer = build_scatterer(settings, momentum.flatten(), voxel)
    cells = [pad_density(density) for density in scatterer.densities(x0, voxel)]
    first = first_cells(x0, shape[1])
    x, y, tan_x, tan_y = (part.flatten() for part in lines)
    flight = Flight((x / voxel, y / voxel), (tan_x, tan_y), no_depth(x))
    for k in range(n_layers):
        number = n_layers - 1 - k
        density, *others = (part[number] for part in cells)
        layer = Layer(density, (x0.shape[2], x0.shape[3]), first, tuple(others))
        if slowing is not None:
            before, energy = energy, slowing.behind(number, layer, flight, energy)
            scatterer = build_scatterer(settings, mean_momentum(before, energy), voxel)
        noise = x.new_empty(4, *shape).copy_(normal[:, k].transpose(0, 1))
        flight = scatterer.cross(layer, flight, noise.view(4, -1))
    x, y = (part * voxel for part in flight.position)
    if slowing is not None:
        stopped = has_stopped(energy)
        x, y = x.masked_fill(stopped, OUT_OF_REACH), y.masked_fill(stopped, OUT_OF_REACH)
    tan_x, tan_y = flight.slope
    return x.view(shape), y.view(shape), tan_x.view(shape), tan_y.view(shape)


def fly_straight(
    lines: tuple[Tensor, Tensor, Tensor, Tensor], depth: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y a depth [m] further down without any scattering."""
    x, y, tan_x, tan_y = lines
    return x + depth * tan_x, y + depth * tan_y, tan_x, tan_y
