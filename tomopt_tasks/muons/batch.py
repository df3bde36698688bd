"""A batch of muons in flight, with the hits that they have left (spec 2.1)."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tomopt_tasks.kernels import constants, kernel
from tomopt_tasks.muons import angles
from tomopt_tasks.muons.state import MuonState
from tomopt_tasks.rng import stream

Noise = Callable[[str, int, torch.dtype, torch.device], Tensor]
Mask = Tensor | None
Hits = dict[str, dict[str, Tensor]]


class MuonBatch(MuonState):
    """N muons in flight, and what they leave in detectors.

    The momentum is constant. A batch may hold several volumes one after the other (``n_volumes``).

    Args:
        xy_p_theta_phi: x, y [m], p [GeV], theta, phi [rad]; copied, its precision is kept.
        init_z: starting height [m], one number or one for each muon.
        device: where the batch lives; default: that of the input.
    """

    theta_x_from_theta_phi = staticmethod(angles.theta_x_from_theta_phi)
    theta_y_from_theta_phi = staticmethod(angles.theta_y_from_theta_phi)
    theta_from_theta_xy = staticmethod(angles.theta_from_theta_xy)
    phi_from_theta_xy = staticmethod(angles.phi_from_theta_xy)

    def __init__(
        self,
        xy_p_theta_phi: Float[Tensor, "mu 5"],
        init_z: Tensor | float,
        device: torch.device | str | None = None,
    ) -> None:
        given = xy_p_theta_phi.detach().to(device or xy_p_theta_phi.device)
        if not given.is_floating_point():
            given = given.to(torch.get_default_dtype())
        z = init_z if isinstance(init_z, Tensor) else constants((float(init_z),), given)
        z = z.detach().to(given).reshape(-1)
        columns = (given[:, :2], z.expand(len(given))[:, None], given[:, 2:])
        self._muons = torch.cat(columns, 1)
        self.n_volumes = 1
        self.first = 0
        """Number of the first muon in the exposure of its volume."""
        self.rng: torch.Generator | None = None
        """Stream for scattering and hits; default: one that depends on nothing."""
        self.noise: Noise | None = None
        """Numbers for the hits of each side from elsewhere, if set."""
        self.states: Tensor | None = None
        """Rows of a bank (N, 9) that these muons are, if they are."""
        self.records: dict[str, tuple[Any, Any]] = {}
        """True lines and hits of each side, as detector layers write them."""
        self.ids = torch.arange(len(given), device=given.device)
        """Which of the first muons are left."""
        self.crossed: Tensor | None = None
        """Matter that each muon has crossed, (N, 2), as passive layers keep it."""
        self.kinetic: Tensor | None = None
        """Kinetic energy that is left [GeV], (N,), if layers take some; ``mom`` is that before."""
        self._hits: dict[str, dict[str, list[Tensor]]] = {}
        self._history: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._upwards: list[NDArray[Any]] = []
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
        (columns,) = _columns(xy.t(), slope.t(), momentum)
        return cls(columns.t(), init_z=z)

    @property
    def upwards_muons(self) -> NDArray[Any]:
        """Rows of the muons that were removed, (n, 6)."""
        return np.concatenate(self._upwards) if self._upwards else np.zeros((0, 6))

    @property
    def xyz_hist(self) -> list[NDArray[Any]]:
        """Positions at each snapshot, (N, 3), of the muons that are still there (D-50)."""
        alive = self.ids.cpu().numpy()
        return [xyz[np.searchsorted(ids, alive)] for ids, xyz in self._history]

    def propagate_dz(self, dz: Tensor | float, mask: Mask = None) -> None:
        """Flies straight until ``dz`` [m] lower; negative flies back up.

        Args:
            dz: one number, or one for each selected muon.
            mask: bool (N,); which muons move; default: all.
        """
        pick = self._all if mask is None else mask
        step = self._column(dz)
        muons = self._muons.clone()
        muons[pick, 0:2] += step * self.tan_xy[pick]
        muons[pick, 2] -= step[:, 0]
        self._muons = muons

    def propagate_d(self, d: Tensor | float, mask: Mask = None) -> None:
        """Flies straight for a path of ``d`` [m]; see ``propagate_dz``."""
        theta = self.theta if mask is None else self.theta[mask]
        self.propagate_dz(self._column(d)[:, 0] * torch.cos(theta), mask)

    def scatter_dxyz(
        self,
        dx_vol: Tensor | None = None,
        dy_vol: Tensor | None = None,
        dz_vol: Tensor | None = None,
        mask: Mask = None,
    ) -> None:
        """Displaces muons [m]; one value for each selected muon."""
        pick = self._all if mask is None else mask
        muons = self._muons.clone()
        for column, shift in enumerate((dx_vol, dy_vol, dz_vol)):
            if shift is not None:
                muons[pick, column] += shift
        self._muons = muons

    def scatter_dtheta_dphi(
        self, dtheta_vol: Tensor | None = None, dphi_vol: Tensor | None = None, mask: Mask = None
    ) -> None:
        """Turns muons by increments of zenith and azimuth [rad], then removes upward ones."""
        pick = self._all if mask is None else mask
        theta, phi = self.theta[pick], self.phi[pick]
        theta = angles.wrap(theta if dtheta_vol is None else theta + dtheta_vol)
        phi = phi if dphi_vol is None else phi + dphi_vol
        over = theta > torch.pi
        theta = torch.where(over, 2.0 * torch.pi - theta, theta)
        self._turn(pick, theta, angles.wrap(torch.where(over, phi + torch.pi, phi)))
        self.remove_upwards_muons()

    def scatter_dtheta_xy(
        self,
        dtheta_x_vol: Tensor | None = None,
        dtheta_y_vol: Tensor | None = None,
        mask: Mask = None,
    ) -> None:
        """Turns muons by increments of the projected angles [rad], then removes upward ones."""
        pick = self._all if mask is None else mask
        theta_x, theta_y = self.theta_x[pick], self.theta_y[pick]
        theta_x = theta_x if dtheta_x_vol is None else theta_x + dtheta_x_vol
        theta_y = theta_y if dtheta_y_vol is None else theta_y + dtheta_y_vol
        theta = angles.theta_from_theta_xy(theta_x, theta_y)
        self._turn(pick, theta, angles.phi_from_theta_xy(theta_x, theta_y))
        self.remove_upwards_muons()

    def set_slopes(self, tan_x: Float[Tensor, " mu"], tan_y: Float[Tensor, " mu"]) -> None:
        """Turns all muons to the given slopes."""
        theta = torch.atan(torch.hypot(tan_x, tan_y))
        self._turn(self._all, theta, angles.azimuth(tan_x, tan_y))

    def remove_upwards_muons(self) -> None:
        """Removes muons that do not fly down, or whose direction is not a number."""
        self._keep_mask = (self.theta < angles.HALF_PI) & ~self.phi.isnan()
        self.filter_muons(self._keep_mask)

    def filter_muons(self, keep_mask: Bool[Tensor, " mu"]) -> None:
        """Keeps some muons, with their hits and their history; the others are remembered."""
        if bool(keep_mask.all()):
            return
        self._upwards.append(self._muons[~keep_mask].cpu().numpy())
        n_before = len(self)
        self._muons, self.ids = self._muons[keep_mask], self.ids[keep_mask]
        self.crossed = None if self.crossed is None else self.crossed[keep_mask]
        self.kinetic = None if self.kinetic is None else self.kinetic[keep_mask]
        for hits in self._hits.values():
            for values in hits.values():
                values[:] = [value[keep_mask] for value in values]
        self.records = {
            pos: (_filter(lines, keep_mask, n_before), _filter(hits, keep_mask, n_before))
            for pos, (lines, hits) in self.records.items()
        }

    def get_xy_mask(self, xy_low: Any = None, xy_high: Any = None) -> Bool[Tensor, " mu"]:
        """Which muons lie in the half-open rectangle [low, high) [m]; None: no bound."""
        inside = torch.ones(len(self), dtype=torch.bool, device=self.device)
        if xy_low is not None:
            inside &= (self.xy >= self._bound(xy_low)).all(1)
        if xy_high is not None:
            inside &= (self.xy < self._bound(xy_high)).all(1)
        return inside

    def snapshot_xyz(self) -> None:
        """Remembers all positions; see ``xyz_hist``."""
        position = self.xyz.detach().cpu().numpy().copy()
        self._history.append((self.ids.cpu().numpy().copy(), position))

    def append_hits(self, hits: Mapping[str, Tensor], pos: str) -> None:
        """Adds the hits of one panel, one row for each muon."""
        of_side = self._hits.setdefault(pos, {})
        for key, value in hits.items():
            of_side.setdefault(key, []).append(value)

    def get_hits(self, xy_low: Any = None, xy_high: Any = None) -> Hits:
        """Hits of each side, by name, (N, H, .); with bounds, of the muons that are inside now.

        Raises:
            ValueError: nothing has been recorded.
        """
        sides = {
            pos: {key: torch.stack(values, 1) for key, values in hits.items()}
            for pos, hits in self._hits.items()
        }
        for pos, (lines, hits) in self.records.items():
            panels = hits.as_dict(lines)
            sides[pos] = {key: torch.stack([p[key] for p in panels], 1) for key in panels[0]}
        if not sides:
            raise ValueError("these muons have left no hits yet; let them cross a detector first")
        if xy_low is None and xy_high is None:
            return sides
        inside = self.get_xy_mask(xy_low, xy_high)
        return {
            pos: {key: value[inside] for key, value in hits.items()} for pos, hits in sides.items()
        }

    def record(self, pos: str, lines: Any, hits: Any) -> None:
        """Keeps the hits of one side together with the true lines that they lie about."""
        if pos in self.records:
            first, before = self.records[pos]
            lines, hits = first, before.join(hits, first.z - lines.z)
        self.records[pos] = (lines, hits)

    def draw_noise(self, n_panels: int, side: str = "") -> Float[Tensor, "mu panel 2"]:
        """Standard normal numbers for the hits on some panels of one side."""
        if self.noise is not None:
            return self.noise(side, n_panels, self._muons.dtype, self.device)
        return self.draw_normal(len(self), n_panels, 2)

    def draw_normal(self, *shape: int) -> Tensor:
        """Standard normal numbers from the stream of the batch."""
        if self.rng is None:
            self.rng = stream(0, "muon batch", device=self.device)
        return torch.randn(shape, generator=self.rng, dtype=self._muons.dtype, device=self.device)

    def copy(self) -> "MuonBatch":
        """The same muons, without their hits and their history."""
        twin = MuonBatch(self._muons[:, [0, 1, 3, 4, 5]], self.z)
        twin.n_volumes, twin.rng, twin.noise = self.n_volumes, self.rng, self.noise
        return twin

    def _turn(self, pick: Tensor | slice, theta: Tensor, phi: Tensor) -> None:
        muons = self._muons.clone()
        muons[pick, self.th_dim], muons[pick, self.ph_dim] = theta, phi
        self._muons = muons

    @property
    def _all(self) -> slice:
        return slice(None)

    def _column(self, values: Tensor | float) -> Float[Tensor, "n 1"]:
        given = torch.as_tensor(values, dtype=self._muons.dtype, device=self.device)
        return given.reshape(-1, 1)

    def _bound(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=self._muons.dtype, device=self.device)


@kernel
def _columns(
    xy: Float[Tensor, "axis mu"], slope: Float[Tensor, "axis mu"], momentum: Float[Tensor, " mu"]
) -> tuple[Float[Tensor, "column mu"]]:
    """x, y, p, theta, phi."""
    theta, phi = torch.atan(torch.hypot(*slope)), angles.azimuth(*slope)
    return (torch.stack([*xy, momentum, theta, phi]),)


def _filter(record: Any, keep: Bool[Tensor, " mu"], n_muons: int) -> Any:
    """A frozen dataclass with only some of its muons; theirs are the arrays of two axes or more."""
    if not is_dataclass(record) or isinstance(record, type):
        return record
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    per_muon = {
        name: value[keep]
        for name, value in values.items()
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n_muons
    }
    return replace(record, **per_muon)
