"""Highland's width of multiple scattering, applied to the depth accumulated along a path.

Source: PDG review, "Passage of particles through matter", multiple scattering (Lynch and Dahl,
NIM B58 (1991) 6): ``theta0 = A / (beta p) * sqrt(n) * (1 + B ln(n / beta^2))`` for unit charge,
with ``n`` the thickness in radiation lengths.

The formula holds for the whole thickness at once; used per step its width depends on the step
(D-21). Here a step adds ``theta0^2(n after) - theta0^2(n before)``, so that the width after a slab
is the same for any number of steps.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS, SCATTER_COEF_A, SCATTER_COEF_B


def beta_squared(momentum: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Squared speed of a muon, c = 1; ``momentum`` [GeV]."""
    return momentum**2 / (momentum**2 + MUON_MASS**2)


def highland_scale(momentum: Float[Tensor, "*n"], *, beta: bool = True) -> Float[Tensor, "*n"]:
    """A / (beta p) [rad], the width behind one radiation length but for the logarithm.

    Args:
        momentum: [GeV]; > 0.
        beta: False takes beta = 1, as TomOpt does (compat).
    """
    scale = SCATTER_COEF_A / momentum
    return scale * beta_squared(momentum).rsqrt() if beta else scale


def log_offset(momentum: Float[Tensor, "*n"], *, beta: bool = True) -> Float[Tensor, "*n"]:
    """1 - B ln(beta^2), the bracket of the formula at one radiation length."""
    if not beta:
        return torch.ones_like(momentum)
    return 1.0 - SCATTER_COEF_B * beta_squared(momentum).log()


def highland_angle(
    momentum: Float[Tensor, "*n"], thickness: Float[Tensor, "*n"], *, beta: bool = True
) -> Float[Tensor, "*n"]:
    """RMS of the projected scattering angle behind a slab [rad].

    Args:
        momentum: [GeV]; > 0.
        thickness: path over radiation length; >= 0. Zero gives zero.
        beta: False takes beta = 1, as TomOpt does (compat).
    """
    power = path_power(thickness, log_offset(momentum, beta=beta))
    return highland_scale(momentum, beta=beta) * power.sqrt()


def path_power(thickness: Float[Tensor, "*n"], offset: Float[Tensor, "*#n"]) -> Float[Tensor, "*n"]:
    """``n (offset + B ln n)^2`` with the bracket kept >= 0.

    This is the squared angle in units of ``(A / (beta p))^2``. It rises with ``n`` everywhere, so
    that increments are never negative; zero at zero.

    Args:
        thickness: ``n``, radiation lengths; >= 0.
        offset: from ``log_offset``.
    """
    some = thickness.clamp(min=torch.finfo(thickness.dtype).tiny)  # a finite slope at zero
    bracket = torch.add(offset, torch.log(some), alpha=SCATTER_COEF_B).clamp_(min=0.0)
    return bracket.square_().mul_(thickness)


def step_density(density: Float[Tensor, "*n"], step: float) -> Float[Tensor, "*n"]:
    """Density that scatters without logarithm as ``density`` does with one taken in each step.

    Compat: TomOpt takes the logarithm of the thickness of a step, with beta = 1. A step that ends
    at the lower face of a layer is shorter there; here all are whole.

    Args:
        density: radiation lengths per unit of path.
        step: in the same unit.
    """
    return path_power(density * step, torch.ones_like(density)) / step
