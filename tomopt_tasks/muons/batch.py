"""A batch of muons in flight, with the hits that they have left (spec 2.1)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.rng import stream

KINEMATICS = ("x", "y", "z", "mom", "theta", "phi")
"""Columns of the raw tensor: m, m, m, GeV, rad, rad."""

Noise = Callable[[str, int, torch.dtype, torch.device], Tensor]


class MuonBatch:
    """State of N muons: position, momentum, zenith angle from straight down, azimuth.

    Directions of flight are (sin theta cos phi, sin theta sin phi, -cos theta), theta < pi/2; the
    momentum is constant. A batch may hold several volumes one after the other (``n_volumes``).

    Args:
        xy_p_theta_phi: x, y [m], p [GeV], theta, phi [rad]; copied.
        init_z: starting height [m], one number or one a muon.
        device: where the batch lives.
    """

    x_dim, y_dim, z_dim, p_dim, th_dim, ph_dim = range(6)

    def __init__(
        self,
        xy_p_theta_phi: Float[Tensor, "mu 5"],
        init_z: Tensor | float,
        device: torch.device | str | None = None,
    ) -> None:
        given = xy_p_theta_phi.to(device) if device is not None else xy_p_theta_phi
        z = torch.as_tensor(init_z, dtype=given.dtype, device=given.device).reshape(-1)
        columns = (given[:, :2], z.expand(len(given))[:, None], given[:, 2:])
        self._muons = torch.cat(columns, 1).detach()
        self.n_volumes = 1
        self.rng: torch.Generator | None = None
        self.noise: Noise | None = None
        self.records: dict[str, Any] = {}
        self.ids = torch.arange(len(given), device=given.device)
        self._hits: dict[str, dict[str, list[Tensor]]] = {}
        self._history: list[tuple[np.ndarray, np.ndarray]] = []
        self._upwards: list[np.ndarray] = []
        self._keep_mask: Tensor | None = None

    @classmethod
    def from_lines(
        cls,
        xy: Float[Tensor, "mu 2"],
        slope: Float[Tensor, "mu 2"],
        momentum: Float[Tensor, " mu"],
        z: float,
    ) -> "MuonBatch":
        """Muons on straight lines at height ``z`` [m]; slopes are per unit of depth."""
        theta = torch.atan(torch.linalg.vector_norm(slope, dim=1))
        phi = torch.remainder(torch.atan2(slope[:, 1], slope[:, 0]), 2 * torch.pi)
        return cls(torch.stack([xy[:, 0], xy[:, 1], momentum, theta, phi], 1), init_z=z)

    def __len__(self) -> int:
        """Number of muons."""
        return len(self._muons)

    @property
    def device(self) -> torch.device:
        """Where the batch lives."""
        return self._muons.device

    @property
    def muons(self) -> Float[Tensor, "mu 6"]:
        """The raw columns (x, y, z, p, theta, phi)."""
        return self._muons

    @muons.setter
    def muons(self, value: Float[Tensor, "mu 6"]) -> None:
        self._muons = value

    x = property(lambda self: self._muons[:, 0], doc="x [m].")
    y = property(lambda self: self._muons[:, 1], doc="y [m].")
    z = property(lambda self: self._muons[:, 2], doc="z [m].")
    xy = property(lambda self: self._muons[:, 0:2], doc="x and y [m].")
    xyz = property(lambda self: self._muons[:, 0:3], doc="Position [m].")
    theta = property(lambda self: self._muons[:, 4], doc="Zenith angle from straight down [rad].")
    phi = property(lambda self: self._muons[:, 5], doc="Azimuth of flight, in [0, 2 pi) [rad].")

    @property
    def mom(self) -> Float[Tensor, " mu"]:
        """True momentum [GeV]; constant."""
        return self._muons[:, 3]

    @mom.setter
    def mom(self, _value: Tensor) -> None:
        raise NotImplementedError("the momentum of a muon is constant for its life")

    @property
    def reco_mom(self) -> Float[Tensor, " mu"]:
        """Measured momentum [GeV]: the true one, until a detector measures it."""
        return self.mom

    @reco_mom.setter
    def reco_mom(self, _value: Tensor) -> None:
        raise NotImplementedError("the momentum of a muon is constant for its life")

    @property
    def tan_xy(self) -> Float[Tensor, "mu 2"]:
        """Slopes dx, dy per unit of depth."""
        slope = torch.tan(self.theta)
        return torch.stack([slope * torch.cos(self.phi), slope * torch.sin(self.phi)], 1)

    @property
    def theta_x(self) -> Float[Tensor, " mu"]:
        """Angle to straight down in the xz plane [rad]."""
        return torch.atan(self.tan_xy[:, 0])

    @property
    def theta_y(self) -> Float[Tensor, " mu"]:
        """Angle to straight down in the yz plane [rad]."""
        return torch.atan(self.tan_xy[:, 1])

    @property
    def theta_xy(self) -> Float[Tensor, "mu 2"]:
        """Both projected angles [rad]."""
        return torch.atan(self.tan_xy)

    @property
    def plane(self) -> float:
        """The common height of all muons [m].

        Raises:
            ValueError: they are at different heights.
        """
        z = self.z
        if len(z) and float((z - z[0]).abs().max()) > 1e-9:
            raise ValueError("the muons are at different heights; propagate them to one plane")
        return float(z[0]) if len(z) else 0.0

    def draw_noise(self, n_panels: int, side: str = "") -> Float[Tensor, "mu panel 2"]:
        """Standard normal numbers for the hits on some panels of one side."""
        if self.noise is not None:
            return self.noise(side, n_panels, self._muons.dtype, self.device)
        if self.rng is None:
            self.rng = stream(0, "muon batch", device=self.device)
        shape = (len(self), n_panels, 2)
        return torch.randn(
            shape, generator=self.rng, dtype=self._muons.dtype, device=self.device
        )

    def record(self, pos: str, lines: Any, hits: Any) -> None:  # noqa: ANN401
        """Keep the hits of one side together with the true lines that they lie about."""
        if pos in self.records:
            first, before = self.records[pos]
            lines, hits = first, before.join(hits, first.z - lines.z)
        self.records[pos] = (lines, hits)

    @property
    def xyz_hist(self) -> list[np.ndarray]:
        """Positions at each snapshot, of the muons that are still there."""
        alive = self.ids.cpu().numpy()
        return [xyz[np.searchsorted(ids, alive)] for ids, xyz in self._history]

    @property
    def upwards_muons(self) -> np.ndarray:
        """Rows of the muons that were removed."""
        return np.concatenate(self._upwards) if self._upwards else np.zeros((0, 6))

    def propagate_dz(
        self, dz: Tensor | float, mask: Bool[Tensor, " mu"] | None = None
    ) -> None:
        """Fly straight until ``dz`` [m] lower; negative flies back up."""
        pick = slice(None) if mask is None else mask
        step = torch.as_tensor(dz, dtype=self._muons.dtype, device=self.device).reshape(-1, 1)
        moved = self._muons.clone()
        moved[pick, 0:2] += step * self.tan_xy[pick]
        moved[pick, 2] -= step[:, 0]
        self._muons = moved

    def propagate_d(self, d: Tensor | float, mask: Bool[Tensor, " mu"] | None = None) -> None:
        """Fly straight for a path of ``d`` [m]."""
        pick = slice(None) if mask is None else mask
        path = torch.as_tensor(d, dtype=self._muons.dtype, device=self.device)
        self.propagate_dz(path * torch.cos(self.theta[pick]), mask)
