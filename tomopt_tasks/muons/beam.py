"""A pencil beam: muons on one line, for tests and for calibrating an inference."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream


class PencilBeam:
    """Muons from one point in one direction, with an optional Gaussian spot; no spectrum.

    Takes the place of a flux: ``PanelVolumeWrapper(..., mu_generator=PencilBeam((0.5, 0.5)))``.

    Args:
        xy: where the beam starts [m].
        momentum: of every muon [GeV]; > 0.
        theta: zenith angle [rad]; 0 to below pi / 2.
        phi: azimuth of the flight [rad].
        spot: standard deviation of the start in x and y [m]; >= 0.
        rng: the stream of calls that bring none; default: one that depends on nothing.

    Raises:
        UserError: a number out of range.
    """

    def __init__(
        self,
        xy: tuple[float, float],
        momentum: float = 5.0,
        theta: float = 0.0,
        phi: float = 0.0,
        spot: float = 0.0,
        rng: Generator | None = None,
    ) -> None:
        if not momentum > 0 or not spot >= 0:
            raise UserError(
                f"pencil beam: momentum = {momentum} GeV must be > 0 and spot = {spot} m >= 0"
            )
        if not 0 <= theta < torch.pi / 2:
            raise UserError(f"pencil beam: theta = {theta} rad; use 0 to below pi / 2")
        self.xy, self.momentum, self.theta, self.phi = xy, momentum, theta, phi
        self.spot = spot
        self.rng = rng
        self.dtype = torch.get_default_dtype()

    def __call__(self, n_muons: int, rng: Generator | None = None) -> Float[Tensor, "mu 5"]:
        """Columns x, y [m], p [GeV], theta, phi [rad] of new muons."""
        if rng is None:
            self.rng = rng = self.rng or stream(0, "pencil beam")
        centre = torch.tensor(self.xy, dtype=torch.float64)
        offset = torch.randn(n_muons, 2, generator=rng, dtype=torch.float64, device=rng.device)
        start = centre.to(offset.device) + self.spot * offset
        rest = start.new_tensor([self.momentum, self.theta, self.phi]).expand(n_muons, 3)
        return torch.cat([start, rest], 1).to(self.dtype)
