"""Differential intensity of cosmic muons at sea level, two published parametrisations.

Both return the intensity through a surface normal to the flight direction, in SI units
[1 / (m2 s sr GeV)]. The rate through a horizontal plane is its integral with the weight
``cos(zenith) * sin(zenith) * 2 pi``; see ``tomopt_tasks.muons.spectrum``.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_GUAN_P1, _GUAN_P2, _GUAN_P3 = 0.102573, -0.068287, 0.958633
_GUAN_P4, _GUAN_P5 = 0.0407253, 0.817285
_PER_CM2_TO_PER_M2 = 1.0e4

_SHUKLA_I0, _SHUKLA_N = 88.0, 3.0
_SHUKLA_E0, _SHUKLA_EC, _SHUKLA_EPS = 3.87, 0.5, 854.0
_SHUKLA_R_OVER_D = 174.0


def guan2015(energy: Float[Tensor, "*#n"], zenith: Float[Tensor, "*#n"]) -> Tensor:
    """Gaisser's formula modified at low energy and large angle (Guan et al., arXiv:1509.06176).

    Args:
        energy: [GeV]; > 0.
        zenith: [rad]; in [0, pi/2).
    """
    cos = torch.cos(zenith)
    numerator = cos**2 + _GUAN_P1**2 + _GUAN_P2 * cos**_GUAN_P3 + _GUAN_P4 * cos**_GUAN_P5
    cos_star = torch.sqrt(numerator / (1.0 + _GUAN_P1**2 + _GUAN_P2 + _GUAN_P4))
    spectrum = (energy * (1.0 + 3.64 / (energy * cos_star**1.29))) ** -2.7
    pion = 1.0 / (1.0 + 1.1 * energy * cos_star / 115.0)
    kaon = 0.054 / (1.0 + 1.1 * energy * cos_star / 850.0)
    return _PER_CM2_TO_PER_M2 * 0.14 * spectrum * (pion + kaon)


def shukla2016(energy: Float[Tensor, "*#n"], zenith: Float[Tensor, "*#n"]) -> Tensor:
    """Power law with a shifted energy times an angular distance (Shukla, arXiv:1606.06907).

    Args:
        energy: [GeV]; > 0.
        zenith: [rad]; in [0, pi/2).
    """
    power = _SHUKLA_N - 1.0
    norm: float = _SHUKLA_I0 * power * (_SHUKLA_E0 + _SHUKLA_EC) ** power
    cos = torch.cos(zenith)
    reach = _SHUKLA_R_OVER_D * cos
    distance = torch.sqrt(reach**2 + 2.0 * _SHUKLA_R_OVER_D + 1.0) - reach
    spectrum = (_SHUKLA_E0 + energy) ** -_SHUKLA_N / (1.0 + energy / _SHUKLA_EPS)
    return norm * spectrum / distance**power
