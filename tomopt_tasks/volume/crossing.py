"""Exact walk of straight flights through the voxels of one layer.

Everything here is in units of the voxel: the layer is one voxel thick, positions are in voxels,
``density`` is radiation lengths per voxel of path. Cells are tracked as integers, so that a muon on
a border cannot fall between two voxels (D-59), and outside the grid there is one wide empty cell on
each side.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.scattering.highland import PowerRule, power_increments
from tomopt_tasks.scattering.moments import Moments, add_segment

Pair = tuple[Tensor, Tensor]


class Layer(NamedTuple):
    """One layer of voxels of several volumes, with a border of empty cells around each."""

    density: Float[Tensor, " cell"]
    """Flat over (volume, x, y), each volume ``(n_x + 2) * (n_y + 2)`` cells."""
    edges: tuple[Float[Tensor, " x"], Float[Tensor, " y"]]
    """From ``cell_edges`` for the two axes."""
    first_cell: Int[Tensor, " mu"]
    """Index of the first cell of the volume of each muon."""


class Walk(NamedTuple):
    """Where flights stand on their straight line through a layer."""

    position: Pair
    slope: Pair
    cell: Pair
    """Cell index + 1 along each axis: 0 below the grid, n + 1 above it."""
    first_cell: Int[Tensor, " mu"]
    secant: Float[Tensor, " mu"]
    """Path for one voxel of depth."""
    done: Float[Tensor, " mu"]
    """Depth so far, 0 to 1."""
    state: Pair
    """Accumulated depth [radiation lengths] and scattering power."""
    moments: Moments


def cell_edges(n_cells: int, like: Tensor) -> Float[Tensor, " edge"]:
    """Borders of the cells along an axis: -inf, 0, 1, ..., n, inf."""
    inner = torch.arange(n_cells + 1, dtype=like.dtype, device=like.device)
    return torch.nn.functional.pad(
        torch.nn.functional.pad(inner, (0, 1), value=torch.inf), (1, 0), value=-torch.inf
    )


def pad_density(density: Float[Tensor, "vol z x y"]) -> Float[Tensor, "z cell"]:
    """A border of empty cells around each layer, flat over (volume, x, y)."""
    padded = torch.nn.functional.pad(density, (1, 1, 1, 1))
    return padded.transpose(0, 1).flatten(1).contiguous()


def cross_layer(
    layer: Layer, position: Pair, slope: Pair, state: Pair, rule: PowerRule
) -> tuple[Moments, Pair]:
    """Moments of the scattering power along the straight line through a layer.

    Args:
        layer: the voxels.
        position: x and y at the top of the layer [voxels].
        slope: tan_x and tan_y.
        state: radiation lengths and scattering power accumulated above this layer.
        rule: how matter scatters these muons.

    Returns:
        The moments about the lower face (path in voxels), and the new state.
    """
    walk = _start(layer, position, slope, state)
    walk, last = _advance(layer, walk, rule)
    moments, state = walk.moments, walk.state
    active = (~last).nonzero().squeeze(1)
    index, rule_left, walk = active, rule.select(active), _select(walk, active)
    while len(index):
        walk, last = _advance(layer, walk, rule_left)
        for whole, part in zip((*moments, *state), (*walk.moments, *walk.state), strict=True):
            whole.index_copy_(0, index, part)
        active = (~last).nonzero().squeeze(1)
        index, rule_left = index[active], rule_left.select(active)
        walk = _select(walk, active)
    return moments, state


def _start(layer: Layer, position: Pair, slope: Pair, state: Pair) -> Walk:
    tiny = torch.finfo(slope[0].dtype).tiny
    tan_x, tan_y = (tan.where(tan != 0, tiny) for tan in slope)
    cell_x, cell_y = (
        at.floor().clamp(-1.0, float(len(edges) - 3)).long().add_(1)
        for at, edges in zip(position, layer.edges, strict=True)
    )
    zero = torch.zeros_like(tan_x)
    secant = (1.0 + tan_x.square() + tan_y.square()).sqrt()
    nothing = Moments(zero, zero, zero)
    return Walk(
        position, (tan_x, tan_y), (cell_x, cell_y), layer.first_cell, secant, zero, state, nothing
    )


def _advance(layer: Layer, walk: Walk, rule: PowerRule) -> tuple[Walk, Tensor]:
    """One cell further; also which flights have reached the lower face."""
    leaves = [
        (edges[cell + (tan > 0)] - at) / tan
        for edges, cell, tan, at in zip(
            layer.edges, walk.cell, walk.slope, walk.position, strict=True
        )
    ]
    first = leaves[0].minimum(leaves[1])
    until = first.clamp(max=1.0).maximum(walk.done)
    width = len(layer.edges[1]) - 1
    index = walk.first_cell + walk.cell[0] * width + walk.cell[1]
    length = (until - walk.done) * walk.secant
    half, whole, state = power_increments(rule, layer.density[index], length, walk.state)
    remaining = (1.0 - until) * walk.secant
    moments = add_segment(walk.moments, (half, whole), length, remaining)
    cell_x, cell_y = (
        cell + torch.where(leave <= first, torch.where(tan > 0, 1, -1), 0)
        for cell, leave, tan in zip(walk.cell, leaves, walk.slope, strict=True)
    )
    walk = walk._replace(cell=(cell_x, cell_y), done=until, state=state, moments=moments)
    return walk, until >= 1.0


def _select(walk: Walk, index: Tensor) -> Walk:
    """The flights at ``index``."""
    return Walk(
        position=_pick(walk.position, index),
        slope=_pick(walk.slope, index),
        cell=_pick(walk.cell, index),
        first_cell=walk.first_cell[index],
        secant=walk.secant[index],
        done=walk.done[index],
        state=_pick(walk.state, index),
        moments=Moments(*(part[index] for part in walk.moments)),
    )


def _pick(pair: Pair, index: Tensor) -> Pair:
    return pair[0][index], pair[1][index]
