"""What each muon brings to the sums of :mod:`.x0_map`: weights, shares of cells, paths."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference.axes import SIGMA_FLOOR, normal_shares, uniform_shares
from tomopt_tasks.inference.power import SPREAD
from tomopt_tasks.inference.x0_weights import LEAST_POWER, BareMuons, ratio, sums_by, weighed
from tomopt_tasks.kernels import kernel


class _Terms(NamedTuple):
    """What each muon brings, and the means of its volume."""

    weight: Float[Tensor, "vol mu"]
    power: Float[Tensor, "vol mu"]
    path: Float[Tensor, "vol mu"]
    first: Float[Tensor, "vol mu"]
    """Depth at which it enters the box [m]."""
    last: Float[Tensor, "vol mu"]
    """Depth at which it leaves the box [m]."""
    spread: Float[Tensor, "vol mu"]
    """Standard deviation of the true depth of the point of closest approach at r = 1 [m]."""
    density: Float[Tensor, " vol"]
    """Mean power per path [1/m]."""
    mean_power: Float[Tensor, " vol"]


class AlongPaths(NamedTuple):
    """Factors of the sums over muons, with matter along their paths."""

    channels: Float[Tensor, "vol channel mu"]
    """Weighted power, weight."""
    z: Float[Tensor, "vol z mu"]
    """Shares of the point of closest approach."""
    x: Float[Tensor, "vol x mu"]
    y: Float[Tensor, "vol y mu"]
    layer: Float[Tensor, "vol z mu"]
    """Weighted path, shared in depth like the power of uniform matter."""
    x_at: Float[Tensor, "vol face mu"]
    """Where lines cross the faces of layers, lowest first, or enter and leave the box [m]."""
    y_at: Float[Tensor, "vol face mu"]
    density: Float[Tensor, " vol"]
    mean_power: Float[Tensor, " vol"]


class WithinVoxels(NamedTuple):
    """The same with the matter of one voxel as a third channel."""

    channels: Float[Tensor, "vol channel mu"]
    z: Float[Tensor, "vol z mu"]
    x: Float[Tensor, "vol x mu"]
    y: Float[Tensor, "vol y mu"]
    density: Float[Tensor, " vol"]
    mean_power: Float[Tensor, " vol"]


@kernel
def along_paths(
    entry: Float[Tensor, "axis vol mu"],
    slope_in: Float[Tensor, "axis vol mu"],
    slope_out: Float[Tensor, "axis vol mu"],
    var_slope_in: Float[Tensor, "axis vol mu"],
    var_slope_out: Float[Tensor, "axis vol mu"],
    xyz: Float[Tensor, "xyz vol mu"],
    sigma: Float[Tensor, "xyz vol mu"],
    accepted: Float[Tensor, "vol mu"],
    momentum: Float[Tensor, "vol mu"],
    switches: Float[Tensor, " switch"],
    box: Float[Tensor, " xyz"],
    x_edges: Float[Tensor, " x_edge"],
    y_edges: Float[Tensor, " y_edge"],
    z_edges: Float[Tensor, " z_edge"],
    faces: Float[Tensor, " face"],
    means: Float[Tensor, "vol mean"],
) -> AlongPaths:
    """Factors for all muons.

    Args:
        entry: where tracks cross the top of the box, in x and in y [m].
        slope_in: slopes of the tracks before.
        slope_out: slopes of the tracks after.
        var_slope_in: variances of these.
        var_slope_out: variances of those.
        xyz: points of closest approach [m].
        sigma: their standard deviations [m].
        accepted: probability that the muon counts.
        momentum: [GeV].
        switches: subtract the resolution from powers, weigh by it; 0 or 1.
        box: extent [m].
        x_edges: borders between cells along x [m].
        y_edges: along y [m].
        z_edges: along z [m].
        faces: depths of the faces of the layers, lowest first [m].
        means: of all muons of a volume, if these are some: density for the weights, density
            (:meth:`MeanSums.density`), power; no columns: these are all.
    """
    slopes = (slope_in, slope_out, var_slope_in, var_slope_out)
    bare = BareMuons.of(entry, slopes, accepted, momentum, switches[0], box)
    terms = _terms(bare, sigma[2], switches[1], means)
    middle, borders = 0.5 * (terms.first + terms.last), faces[1:-1].flip(0)
    in_layer = uniform_shares(middle, 0.5 * terms.spread, borders).movedim(-1, 1).flip(1)
    return AlongPaths(
        torch.stack([terms.weight * terms.power, terms.weight], 1),
        *poca_shares(xyz, sigma, (x_edges, y_edges, z_edges)),
        (terms.weight * terms.path)[:, None] * in_layer,
        *_crossings(entry, slope_in, terms, faces),
        terms.density,
        terms.mean_power,
    )


@kernel
def within_voxels(
    entry: Float[Tensor, "axis vol mu"],
    slope_in: Float[Tensor, "axis vol mu"],
    slope_out: Float[Tensor, "axis vol mu"],
    var_slope_in: Float[Tensor, "axis vol mu"],
    var_slope_out: Float[Tensor, "axis vol mu"],
    xyz: Float[Tensor, "xyz vol mu"],
    sigma: Float[Tensor, "xyz vol mu"],
    accepted: Float[Tensor, "vol mu"],
    momentum: Float[Tensor, "vol mu"],
    switches: Float[Tensor, " switch"],
    box: Float[Tensor, " xyz"],
    x_edges: Float[Tensor, " x_edge"],
    y_edges: Float[Tensor, " y_edge"],
    z_edges: Float[Tensor, " z_edge"],
    faces: Float[Tensor, " face"],
    means: Float[Tensor, "vol mean"],
) -> WithinVoxels:
    """The same without paths; arguments are those of :func:`along_paths`."""
    slopes = (slope_in, slope_out, var_slope_in, var_slope_out)
    bare = BareMuons.of(entry, slopes, accepted, momentum, switches[0], box)
    terms = _terms(bare, sigma[2], switches[1], means)
    path = faces[-2] * torch.sqrt(1.0 + slope_in.square().sum(0))
    return WithinVoxels(
        torch.stack([terms.weight * terms.power, terms.weight, terms.weight * path], 1),
        *poca_shares(xyz, sigma, (x_edges, y_edges, z_edges)),
        terms.density,
        terms.mean_power,
    )


def _terms(
    bare: BareMuons,
    sigma_z: Float[Tensor, "vol mu"],
    weigh: Float[Tensor, ""],
    means: Float[Tensor, "vol mean"],
) -> _Terms:
    """Terms of muons; means as in :func:`along_paths`."""
    noise = weigh * bare.noise
    if means.shape[1] == 0:
        weight, density = weighed(bare, noise)
        mean_power = ratio(*sums_by(bare.power, weight)).clamp_min(LEAST_POWER)
    else:
        weighed_at, density, mean_power = means.unbind(1)
        weight = bare.weight(noise, weighed_at)
    width2 = density[:, None] * bare.path / bare.scale
    blur2 = sigma_z**2 * bare.angle2 / width2
    first, last = bare.first, bare.last
    spread = torch.sqrt((SPREAD * (last - first)) ** 2 + 2.0 * blur2 + SIGMA_FLOOR**2)
    return _Terms(weight, bare.power, bare.path, first, last, spread, density, mean_power)


def poca_shares(
    xyz: Float[Tensor, "xyz vol mu"],
    sigma: Float[Tensor, "xyz vol mu"],
    edges: tuple[Tensor, Tensor, Tensor],
) -> tuple[Float[Tensor, "vol z mu"], Float[Tensor, "vol x mu"], Float[Tensor, "vol y mu"]]:
    """Probabilities of the cells along z, x and y for points of closest approach.

    Args:
        xyz: where they are [m].
        sigma: standard deviations [m].
        edges: borders between cells along x, y and z [m].
    """
    x, y, z = (
        normal_shares(at, of_at, borders).movedim(-1, 1)
        for at, of_at, borders in zip(xyz, sigma, edges, strict=True)
    )
    return z, x, y


def _crossings(
    entry: Float[Tensor, "axis vol mu"],
    slope: Float[Tensor, "axis vol mu"],
    terms: _Terms,
    faces: Float[Tensor, " face"],
) -> tuple[Float[Tensor, "vol face mu"], Float[Tensor, "vol face mu"]]:
    """Where lines cross the faces of the layers at some depths, within the box, in x and in y."""
    first, last = terms.first[:, None], terms.last[:, None]
    depth = torch.where(faces[:, None] < last, faces[:, None], last)
    depth = torch.where(depth > first, depth, first)
    x, y = (
        torch.addcmul(at[:, None], depth, tan[:, None])
        for at, tan in zip(entry, slope, strict=True)
    )
    return x, y
