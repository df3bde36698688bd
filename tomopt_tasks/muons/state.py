"""The columns of a batch of muons, as read-only properties (spec 2.1)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.muons import angles


class MuonState:
    """Position, momentum and direction of N muons; each column can be set by its underscored name.

    Columns are views; a change makes a new raw tensor, so that older views keep their values.
    Directions of flight are (sin theta cos phi, sin theta sin phi, -cos theta), theta < pi/2.
    """

    x_dim: ClassVar[int] = 0
    y_dim: ClassVar[int] = 1
    z_dim: ClassVar[int] = 2
    p_dim: ClassVar[int] = 3
    th_dim: ClassVar[int] = 4
    ph_dim: ClassVar[int] = 5

    _muons: Float[Tensor, "mu 6"]
    _x: Tensor
    _y: Tensor
    _z: Tensor
    _xy: Tensor
    _xyz: Tensor
    _mom: Tensor
    _theta: Tensor
    _phi: Tensor

    def __len__(self) -> int:
        """Number of muons."""
        return len(self._muons)

    def __repr__(self) -> str:
        """Number and dtype."""
        return f"Batch of {len(self)} muons ({self._muons.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the batch lives."""
        return self._muons.device

    @property
    def muons(self) -> Float[Tensor, "mu 6"]:
        """The raw columns (x, y, z, p, theta, phi); can be set."""
        return self._muons

    @muons.setter
    def muons(self, value: Float[Tensor, "mu 6"]) -> None:
        self._muons = value

    @property
    def x(self) -> Float[Tensor, " mu"]:
        """Position along x [m]."""
        return self._muons[:, 0]

    @property
    def y(self) -> Float[Tensor, " mu"]:
        """Position along y [m]."""
        return self._muons[:, 1]

    @property
    def z(self) -> Float[Tensor, " mu"]:
        """Height [m]."""
        return self._muons[:, 2]

    @property
    def xy(self) -> Float[Tensor, "mu 2"]:
        """Position in x and y [m]."""
        return self._muons[:, 0:2]

    @property
    def xyz(self) -> Float[Tensor, "mu 3"]:
        """Position [m]."""
        return self._muons[:, 0:3]

    @property
    def mom(self) -> Float[Tensor, " mu"]:
        """True momentum [GeV]; constant."""
        return self._muons[:, 3]

    @mom.setter
    def mom(self, _value: Tensor) -> None:
        raise NotImplementedError("the momentum of a muon is constant for its life")

    @property
    def reco_mom(self) -> Float[Tensor, " mu"]:
        """Measured momentum [GeV]: the true one, until a detector measures it (D-63)."""
        return self.mom

    @reco_mom.setter
    def reco_mom(self, _value: Tensor) -> None:
        raise NotImplementedError("the momentum of a muon is constant for its life")

    @property
    def theta(self) -> Float[Tensor, " mu"]:
        """Zenith angle from straight down [rad]."""
        return self._muons[:, 4]

    @property
    def phi(self) -> Float[Tensor, " mu"]:
        """Azimuth of the flight, in [0, 2 pi) [rad]."""
        return self._muons[:, 5]

    @property
    def tan_xy(self) -> Float[Tensor, "mu 2"]:
        """Slopes: dx and dy per unit of depth."""
        slope = torch.tan(self.theta)
        return torch.stack([slope * torch.cos(self.phi), slope * torch.sin(self.phi)], 1)

    @property
    def theta_x(self) -> Float[Tensor, " mu"]:
        """Angle to straight down in the xz plane [rad]."""
        return angles.theta_x_from_theta_phi(self.theta, self.phi)

    @property
    def theta_y(self) -> Float[Tensor, " mu"]:
        """Angle to straight down in the yz plane [rad]."""
        return angles.theta_y_from_theta_phi(self.theta, self.phi)

    @property
    def theta_xy(self) -> Float[Tensor, "mu 2"]:
        """Both projected angles [rad]."""
        return torch.stack([self.theta_x, self.theta_y], 1)

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

    def dtheta(self, theta_ref: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
        """Absolute difference of the zenith angle from another [rad]."""
        return (self.theta - theta_ref).abs()

    def dtheta_x(self, theta_ref_x: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
        """Absolute difference of theta_x from another angle [rad]."""
        return (self.theta_x - theta_ref_x).abs()

    def dtheta_y(self, theta_ref_y: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
        """Absolute difference of theta_y from another angle [rad]."""
        return (self.theta_y - theta_ref_y).abs()


def _columns(first: int, last: int, doc: str) -> Any:
    """A property that reads and sets columns of the raw tensor."""
    where = first if last == first + 1 else slice(first, last)

    def get(self: MuonState) -> Tensor:
        return self._muons[:, where]

    def put(self: MuonState, value: Tensor) -> None:
        muons = self._muons.clone()
        muons[:, where] = value
        self._muons = muons

    return property(get, put, doc=doc)


for _name, _first, _last in (
    ("x", 0, 1),
    ("y", 1, 2),
    ("z", 2, 3),
    ("xy", 0, 2),
    ("xyz", 0, 3),
    ("mom", 3, 4),
    ("theta", 4, 5),
    ("phi", 5, 6),
):
    setattr(MuonState, f"_{_name}", _columns(_first, _last, f"Settable {_name}."))
