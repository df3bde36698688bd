"""How muons are weighed in :mod:`.x0_map`: with the mean density of the muons themselves."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference.power import angle_noise, path_in_box, power_scale, squared_angle
from tomopt_tasks.kernels import kernel

LEAST_MEAN = 1e-3
"""Least mean density of a volume [1/m]."""

LEAST_POWER = 1e-6
"""Least mean power of a volume."""

WEIGHINGS = 2
"""How often muons are weighed with the mean density that the weights before gave."""


class BareMuons(NamedTuple):
    """What each muon has before it is weighed."""

    accepted: Float[Tensor, "vol mu"]
    """Probability that the muon counts; zero for those that miss the box."""
    path: Float[Tensor, "vol mu"]
    """Length in the box [m]; one for those that miss it."""
    first: Float[Tensor, "vol mu"]
    last: Float[Tensor, "vol mu"]
    scale: Float[Tensor, "vol mu"]
    """See :func:`.power.power_scale`."""
    angle2: Float[Tensor, "vol mu"]
    """Squared angle [rad2]."""
    noise: Float[Tensor, "vol mu"]
    """What the resolution adds to the power."""
    power: Float[Tensor, "vol mu"]

    @classmethod
    def of(
        cls,
        entry: Float[Tensor, "axis vol mu"],
        slopes: tuple[Tensor, Tensor, Tensor, Tensor],
        accepted: Float[Tensor, "vol mu"],
        momentum: Float[Tensor, "vol mu"],
        subtract: Float[Tensor, ""],
        box: Float[Tensor, " xyz"],
    ) -> "BareMuons":
        """Arguments are those of :func:`.x0_factors.along_paths`, slopes with their variances."""
        slope_in, slope_out, *variances = slopes
        first, last = path_in_box(entry, slope_in, box)
        path = (last - first) * torch.sqrt(1.0 + slope_in.square().sum(0))
        crosses = path > 0
        path = torch.where(crosses, path, 1.0)
        accepted = torch.where(crosses, accepted, 0.0)
        scale = power_scale(momentum)
        angle2 = squared_angle(slope_in, slope_out)
        angle_noise2 = angle_noise(slope_in, slope_out, variances[0] + variances[1])
        noise = subtract * 0.5 * scale * angle_noise2
        power = 0.5 * scale * angle2 - noise
        return cls(accepted, path, first, last, scale, angle2, noise, power)

    def weight(self, noise: Tensor, density: Float[Tensor, " vol"]) -> Float[Tensor, "vol mu"]:
        """Weights at a mean density [1/m], if the noise counts as given.

        The deflection is Gaussian in two planes, so that the variance of a power is the square of
        its mean, noise included; for the weights in units of that of perfect hits.
        """
        return self.accepted / (1.0 + noise / (density[:, None] * self.path)) ** 2


def weighed(
    bare: BareMuons, noise: Float[Tensor, "vol mu"]
) -> tuple[Float[Tensor, "vol mu"], Float[Tensor, " vol"]]:
    """Weights and mean densities [1/m] of all muons of the volumes."""
    per_path, weight = bare.power / bare.path, bare.accepted
    density = ratio(*sums_by(per_path, weight * bare.path)).clamp_min(LEAST_MEAN)
    for _ in range(WEIGHINGS):
        weight = bare.weight(noise, density)
        density = ratio(*sums_by(per_path, weight * bare.path)).clamp_min(LEAST_MEAN)
    return weight, density


class MeanSums(NamedTuple):
    """Sums over some of the muons of a volume, for the means of all."""

    power_by_path: Float[Tensor, " vol"]
    """Of power per path, weighted with the path."""
    path: Float[Tensor, " vol"]
    power: Float[Tensor, " vol"]
    weight: Float[Tensor, " vol"]

    def density(self) -> Float[Tensor, " vol"]:
        """Mean power per path [1/m]."""
        return ratio(self.power_by_path, self.path).clamp_min(LEAST_MEAN)

    def mean_power(self) -> Float[Tensor, " vol"]:
        """Mean power of a muon."""
        return ratio(self.power, self.weight).clamp_min(LEAST_POWER)


@kernel
def mean_sums(
    entry: Float[Tensor, "axis vol mu"],
    slope_in: Float[Tensor, "axis vol mu"],
    slope_out: Float[Tensor, "axis vol mu"],
    var_slope_in: Float[Tensor, "axis vol mu"],
    var_slope_out: Float[Tensor, "axis vol mu"],
    accepted: Float[Tensor, "vol mu"],
    momentum: Float[Tensor, "vol mu"],
    switches: Float[Tensor, " switch"],
    box: Float[Tensor, " xyz"],
    weighed_at: Float[Tensor, " vol"],
) -> MeanSums:
    """What some muons add to the means of their volume.

    Args:
        entry: this and the others as in :func:`.x0_factors.along_paths`.
        slope_in: slopes before.
        slope_out: slopes after.
        var_slope_in: variances of these.
        var_slope_out: variances of those.
        accepted: probability that the muon counts.
        momentum: [GeV].
        switches: subtract the resolution from powers, weigh by it; 0 or 1.
        box: extent [m].
        weighed_at: mean density that the weights are for [1/m]; very large: resolution is nothing.
    """
    slopes = (slope_in, slope_out, var_slope_in, var_slope_out)
    bare = BareMuons.of(entry, slopes, accepted, momentum, switches[0], box)
    weight = bare.weight(switches[1] * bare.noise, weighed_at)
    per_path = sums_by(bare.power / bare.path, weight * bare.path)
    return MeanSums(*per_path, *sums_by(bare.power, weight))


def sums_by(
    values: Float[Tensor, "vol mu"], by: Float[Tensor, "vol mu"]
) -> tuple[Float[Tensor, " vol"], Float[Tensor, " vol"]]:
    """Sums of each volume: of values weighted with ``by``, and of the weights."""
    return (values * by).sum(1), by.sum(1)


def ratio(total: Float[Tensor, " vol"], weight: Float[Tensor, " vol"]) -> Float[Tensor, " vol"]:
    """Mean of each volume; zero without weight."""
    return total / weight.clamp_min(1e-30)
