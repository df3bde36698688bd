"""Points of closest approach of two tracks and their uncertainty, see :mod:`.closest`."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.closest import LinePair, midpoints
from tomopt_tasks.inference.tracks import Tracks
from tomopt_tasks.kernels import constants, kernel


@dataclass(frozen=True, slots=True)
class Poca:
    """Midpoint of the common perpendicular."""

    xyz: Float[Tensor, "mu 3"]
    """Position [m]."""
    sigma: Float[Tensor, "mu 3"]
    """Standard deviation per coordinate from the track covariances [m]."""
    valid: Bool[Tensor, " mu"]
    """False for parallel or missing tracks, whose numbers are finite but meaningless."""


def find_poca(track_in: Tracks, track_out: Tracks) -> Poca:
    """Points of closest approach of incoming and outgoing tracks.

    Args:
        track_in: tracks above the object.
        track_out: tracks below it.
    """
    parts = ("offset", "slope", "var_offset", "cov", "var_slope")
    pairs = [torch.stack([getattr(t, p).t() for t in (track_in, track_out)]) for p in parts]
    found = midpoints(LinePair(*pairs), track_in.z - track_out.z)
    xyz, sigma = _placed(found.at, found.variance, constants((track_in.z,), found.at)[0])
    return Poca(
        xyz=xyz.t(),
        sigma=sigma.t(),
        valid=track_in.valid & track_out.valid & found.crossing,
    )


@kernel
def _placed(
    at: Float[Tensor, "xyd mu"], variance: Float[Tensor, "xyd mu"], top: Float[Tensor, ""]
) -> tuple[Float[Tensor, "xyz mu"], Float[Tensor, "xyz mu"]]:
    """Positions in space, from depths below ``top``, and standard deviations."""
    return torch.cat([at[:2], top - at[2:]]), torch.sqrt(variance.clamp_min(1e-30))


def cross_squared(s1: Float[Tensor, "mu 2"], s2: Float[Tensor, "mu 2"]) -> Float[Tensor, " mu"]:
    """|v_1 x v_2|^2 of the directions (s_1, 1) and (s_2, 1)."""
    first, second = s1.unbind(1), (s2 - s1).unbind(1)
    cross = first[0] * second[1] - first[1] * second[0]
    return second[0].square() + second[1].square() + cross.square()
