"""Highland's width of multiple scattering, applied to the depth accumulated along a path.

Source: PDG review, "Passage of particles through matter", multiple scattering (Lynch and Dahl,
NIM B58 (1991) 6): ``theta0 = A / (beta p) * sqrt(n) * (1 + B ln(n / beta^2))`` for unit charge,
with ``n`` the thickness in radiation lengths.

The formula holds for the whole thickness at once; used per step its width depends on the step
(D-21). Here a step adds ``theta0^2(n after) - theta0^2(n before)``, so that the width after a slab
is the same for any number of steps.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS, SCATTER_COEF_A, SCATTER_COEF_B

LogTerm = Literal["path", "step", "none"]


def beta_squared(momentum: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Squared speed of a muon, c = 1; ``momentum`` [GeV]."""
    return momentum**2 / (momentum**2 + MUON_MASS**2)


def highland_angle(
    momentum: Float[Tensor, "*n"], thickness: Float[Tensor, "*n"], *, beta: bool = True
) -> Float[Tensor, "*n"]:
    """RMS of the projected scattering angle behind a slab [rad].

    Args:
        momentum: [GeV]; > 0.
        thickness: path over radiation length; >= 0. Zero gives zero.
        beta: False takes beta = 1, as TomOpt does (compat).
    """
    rule = power_rule(momentum, beta=beta)
    return rule.scale * path_power(thickness, rule.offset).sqrt()


def path_power(thickness: Float[Tensor, "*n"], offset: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """``n (offset + B ln n)^2`` with the bracket kept >= 0.

    This is the squared angle in units of ``(A / (beta p))^2``. It rises with ``n`` everywhere, so
    that increments are never negative; zero at zero.
    """
    factor = torch.log(thickness).mul_(SCATTER_COEF_B).add_(offset).clamp_(min=0.0)
    return factor.square_().mul_(thickness)


@dataclass(frozen=True, slots=True)
class PowerRule:
    """How matter turns into scattering power, for given muons."""

    log_term: LogTerm
    step: float
    """Path to which the logarithm belongs if ``log_term`` is "step", in units of the path."""
    scale: Float[Tensor, "*n"]
    """A / (beta p) [rad]."""
    offset: Float[Tensor, "*n"]
    """1 - B ln(beta^2): the bracket of the formula at n = 1."""

    def select(self, index: Tensor) -> "PowerRule":
        """The same for some of the muons."""
        return PowerRule(self.log_term, self.step, self.scale, self.offset[index])


def power_rule(
    momentum: Float[Tensor, "*n"],
    *,
    log_term: LogTerm = "path",
    beta: bool = True,
    step: float = 0.01,
) -> PowerRule:
    """The rule for muons of these momenta.

    Args:
        momentum: [GeV].
        log_term: "path": once for the accumulated depth; "step": for each step anew, as TomOpt
            does (compat); "none": leave it out.
        beta: False takes beta = 1, as TomOpt does (compat).
        step: see ``PowerRule``.
    """
    squared = beta_squared(momentum) if beta else torch.ones_like(momentum)
    scale = SCATTER_COEF_A / (momentum * squared.sqrt())
    return PowerRule(log_term, step, scale, 1.0 - SCATTER_COEF_B * squared.log())


def power_increments(
    rule: PowerRule,
    density: Float[Tensor, "*n"],
    length: Float[Tensor, "*n"],
    before: tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]],
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"], tuple[Tensor, Tensor]]:
    """Scattering power of the first half and of the whole of a uniform segment, and the new state.

    Args:
        rule: from ``power_rule``.
        density: radiation lengths per unit of path; zero in vacuum.
        length: path in the segment; >= 0.
        before: accumulated depth [radiation lengths] and accumulated power.
    """
    depth, power = before
    if rule.log_term == "path":
        half = depth + density * (length * 0.5)
        after = depth + density * length
        power_after = path_power(after, rule.offset)
        return path_power(half, rule.offset) - power, power_after - power, (after, power_after)
    thickness = density * length
    if rule.log_term == "step":
        factor = rule.offset + SCATTER_COEF_B * (density * rule.step).log()
        whole = thickness * factor.clamp(min=0.0).square()
    else:
        whole = thickness
    return whole * 0.5, whole, (depth + thickness, power + whole)
