"""Which muons count: the probability that a muon leaves enough hits on each side."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.kernels import kernel

AcceptancePolicy = Literal["two_each_side", "all_panels"]
"""``two_each_side``: at least two hits above and two below; the fit uses the hits that are there.
``all_panels``: a muon counts only if every panel sees it."""


def two_or_more(efficiency: Float[Tensor, "mu panel"]) -> Float[Tensor, " mu"]:
    """Probability of at least two hits among independent panels (spec 5.4).

    Built up panel by panel from sums of positive terms, so that small probabilities keep their
    relative precision and their gradient.
    """
    return _two_or_more(efficiency.t())


def _two_or_more(efficiency: Float[Tensor, "panel ..."]) -> Float[Tensor, "..."]:
    first, *others = efficiency
    none, one, more = 1.0 - first, first, torch.zeros_like(first)
    for number, seen in enumerate(others):
        more = one * seen if number == 0 else more + one * seen
        if number < len(others) - 1:
            missed = 1.0 - seen
            one, none = one * missed + none * seen, none * missed
    return more


def acceptance(
    above: Float[Tensor, "mu above"],
    below: Float[Tensor, "mu below"],
    policy: AcceptancePolicy,
) -> Float[Tensor, " mu"]:
    """Probability that a muon is accepted; zero where hard edges rule it out.

    Args:
        above: probability of a hit per panel above the passive volume.
        below: the same below it.
        policy: what counts as accepted.
    """
    seen = _ACCEPTED[policy](above.t(), below.t())
    return seen[0]


@kernel
def _two_each_side(
    above: Float[Tensor, "above mu"], below: Float[Tensor, "below mu"]
) -> tuple[Float[Tensor, " mu"]]:
    if len(above) != len(below):
        return (_two_or_more(above) * _two_or_more(below),)
    first, second = _two_or_more(torch.stack([above, below], 1))
    return (first * second,)


@kernel
def _all_panels(
    above: Float[Tensor, "above mu"], below: Float[Tensor, "below mu"]
) -> tuple[Float[Tensor, " mu"]]:
    return (above.prod(0) * below.prod(0),)


_ACCEPTED: dict[AcceptancePolicy, kernel[tuple[Tensor]]] = {
    "two_each_side": _two_each_side,
    "all_panels": _all_panels,
}
