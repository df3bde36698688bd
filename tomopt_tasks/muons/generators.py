"""Sources of muons for notebooks (spec 2.2): a thin front of ``muons.source``.

All sample energy and zenith angle continuously, with the widths that a flux implies (D-03), from a
stream that the caller may give (D-48).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from tomopt_tasks.core import MUON_MASS, UserError
from tomopt_tasks.muons import flux
from tomopt_tasks.muons.plane import REACH, Plane, default_margin
from tomopt_tasks.muons.settings import (
    FluxSettings,
    Guan2015Settings,
    OwnFluxSettings,
    Shukla2016Settings,
)
from tomopt_tasks.muons.source import draw_from, n_uniforms
from tomopt_tasks.muons.spectrum import Spectrum, tabulate, tabulate_intensity
from tomopt_tasks.rng import stream

DEGREE = torch.pi / 180.0
_VERTICAL = 1e-6
"""Zenith angle [rad] that stands for zero where a flux is divided by its sine."""


class AbsMuonGenerator:
    """Draws muons that start on a horizontal rectangle; subclasses say ``flux``.

    Args:
        x_range: where muons start along x [m].
        y_range: where muons start along y [m].
        fixed_mom: momentum of every muon [GeV]; None samples the spectrum.
        energy_range: lowest and highest energy of the spectrum [GeV].
        theta_range: smallest and largest zenith angle [rad].
        rng: the stream of calls that bring none; default: one that depends on nothing.
    """

    settings_class: ClassVar[Callable[..., Any]] = OwnFluxSettings
    _muon_mass2: ClassVar[float] = MUON_MASS**2

    def __init_subclass__(cls) -> None:
        """A flux of a subclass' own is what it draws from, whatever its base."""
        if "flux" in cls.__dict__ and "settings_class" not in cls.__dict__:
            cls.settings_class = OwnFluxSettings

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        fixed_mom: float | None = 5.0,
        energy_range: tuple[float, float] = (0.5, 500.0),
        theta_range: tuple[float, float] = (0.0, 70.0 * DEGREE),
        rng: Generator | None = None,
    ) -> None:
        self.source: FluxSettings | OwnFluxSettings = self.settings_class(
            momentum=fixed_mom, energy_range=energy_range, theta_range=theta_range
        )
        low, high = zip(x_range, y_range, strict=True)
        self.plane = Plane(0.0, low, high)
        self.x_range, self.y_range, self.fixed_mom = x_range, y_range, fixed_mom
        self.energy_range, self.theta_range = energy_range, theta_range
        self.rng = rng
        self.dtype = torch.get_default_dtype()

    @classmethod
    def from_volume(
        cls,
        volume: Any,
        min_angle: float = REACH,
        fixed_mom: float | None = 5.0,
        energy_range: tuple[float, float] = (0.5, 500.0),
        theta_range: tuple[float, float] = (0.0, 70.0 * DEGREE),
        rng: Generator | None = None,
    ) -> "AbsMuonGenerator":
        """A source above a ``Volume``, so wide that muons at ``min_angle`` reach all of it."""
        drop = float(volume.h) - float(volume.get_passive_z_range()[0])
        margin = default_margin(drop, float(volume.passive_size), min_angle)
        x_range, y_range = ((-margin, float(width) + margin) for width in volume.lw)
        generator = cls(x_range, y_range, fixed_mom, energy_range, theta_range, rng)
        generator.dtype = volume.lw.dtype
        return generator

    def __call__(self, n_muons: int, rng: Generator | None = None) -> Float[Tensor, "mu 5"]:
        """See ``generate_set``."""
        return self.generate_set(n_muons, rng)

    def __repr__(self) -> str:
        """Model, rectangle, momentum or energies."""
        low, high = self.energy_range
        what = (
            f"energies {low} to {high} GeV" if self.fixed_mom is None else f"{self.fixed_mom} GeV"
        )
        return f"{type(self).__name__}(x {self.x_range} m, y {self.y_range} m, {what})"

    @property
    def rate(self) -> float:
        """Muons through the rectangle in the ranges of energy and angle [Hz]."""
        return self._spectrum.rate * self.plane.area

    def flux(self, energy: Tensor | float, theta: Tensor | float) -> Float[Tensor, "..."]:
        """Intensity times cos(theta) sin(theta), in the unit of the publication.

        A flux of your own must broadcast; ``rate`` takes it in 1 / (m2 s sr GeV).

        Args:
            energy: [GeV].
            theta: zenith angle [rad].
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method flux(energy, theta) of its own"
        )

    @cached_property
    def _spectrum(self) -> Spectrum:
        if isinstance(self.source, OwnFluxSettings):
            return tabulate_intensity(self.source, self._intensity, separable=False)
        return tabulate(self.source)

    def _intensity(self, energy: Tensor, theta: Tensor) -> Tensor:
        """The flux without its factor of the angle, which is zero for vertical muons."""
        theta = theta.clamp_min(_VERTICAL)
        flux = torch.as_tensor(self.flux(energy, theta), dtype=torch.float64)
        if not bool((torch.isfinite(flux) & (flux >= 0)).all()) or not bool(flux.any()):
            raise UserError(
                f"{type(self).__name__}.flux gives values that are negative, not finite or all "
                "zero; a flux is >= 0 at all energies and angles of its ranges"
            )
        shape = torch.broadcast_shapes(energy.shape, theta.shape)
        return flux.expand(shape) / (theta.cos() * theta.sin())

    def generate_set(self, n_muons: int, rng: Generator | None = None) -> Float[Tensor, "mu 5"]:
        """Columns x, y [m], p [GeV], theta, phi [rad] of new muons.

        Args:
            n_muons: how many.
            rng: stream to draw from; default: that of the generator.
        """
        if rng is None:
            self.rng = rng = self.rng or stream(0, "muon generator")
        shape = (n_uniforms(self.source), n_muons)
        u = torch.rand(shape, generator=rng, dtype=torch.float64, device=rng.device)
        x, y, tan_x, tan_y, p = draw_from(self._spectrum, self.fixed_mom, self.plane, u)
        theta = torch.atan(torch.hypot(tan_x, tan_y))
        columns = torch.stack([x, y, p, theta, u[1] * (2.0 * torch.pi)], 1)
        return columns.to(self.dtype)


class MuonGenerator2015(AbsMuonGenerator):
    """Guan et al., arXiv:1509.06176; flux in 1 / (cm2 s sr GeV)."""

    settings_class = Guan2015Settings

    def flux(self, energy: Tensor | float, theta: Tensor | float) -> Float[Tensor, "..."]:
        """See the base class."""
        energy, theta = _doubles(energy, theta)
        return 1.0e-4 * flux.guan2015(energy, theta) * theta.cos() * theta.sin()


class MuonGenerator2016(AbsMuonGenerator):
    """Shukla and Sankrith, arXiv:1606.06907; flux in 1 / (m2 s sr GeV)."""

    settings_class = Shukla2016Settings

    def flux(self, energy: Tensor | float, theta: Tensor | float) -> Float[Tensor, "..."]:
        """See the base class."""
        energy, theta = _doubles(energy, theta)
        return flux.shukla2016(energy, theta) * theta.cos() * theta.sin()


def _doubles(*values: Tensor | float) -> tuple[Tensor, ...]:
    return tuple(torch.as_tensor(value, dtype=torch.float64) for value in values)
