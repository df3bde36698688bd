"""Weighted quantiles of the muons of a volume, all in memory or piece by piece."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.inference.exposure import Exposure, Muons
from tomopt_tasks.kernels import constants

WHOLE = 2.0**32
"""A mass of one in whole numbers, whose sums do not depend on their order on any device."""

DIGIT = 16
"""Bits of a value that one pass over the pieces finds."""

HALF = 1 << (DIGIT - 1)
"""The leading digit counts from minus this: it has the sign."""


def quantile_per_row(
    values: Float[Tensor, "vol mu"], mass: Float[Tensor, "vol mu"], q: float
) -> Float[Tensor, "vol 1"]:
    """Quantile of the values of each row, where each entry counts with its mass.

    With masses 0 and 1 it is the value of rank 1 + round(q (n - 1)) among the n entries that count.
    The gradient goes to the entry that is picked. Rows without mass give infinity.

    Args:
        values: what is ordered.
        mass: how much each entry counts, >= 0; carries no gradient.
        q: fraction of the mass below the quantile.
    """
    ordered, index = torch.where(mass > 0, values, torch.full_like(values, torch.inf)).sort(1)
    below = _counts_of(mass.gather(1, index)).cumsum(1).double() / WHOLE
    rank = (below < _needed(below[:, -1:], q)).sum(1, keepdim=True)
    return ordered.gather(1, rank.clamp_max(values.shape[1] - 1))


def quantiles_in_pieces(
    exposure: Exposure[Muons],
    pick: Callable[[Muons], tuple[Tensor, Tensor]],
    fractions: Sequence[float],
) -> Float[Tensor, "q 1 1"]:
    """The same of muons that are not in memory at once; numbers without a graph.

    The masses of all values, counted by their leading digits, tell those of the quantile; values
    that share them are counted by their next digit, and so on. Masses are whole numbers, so that
    the result is exact and no order of pieces matters. A float64 takes four passes, and a look at
    the first piece.

    Args:
        exposure: the muons of one volume.
        pick: values and masses of some of them, equal bits each time.
        fractions: mass below each quantile.
    """
    parts = exposure.map(pick).pieces
    with torch.no_grad():
        like, _ = parts[0]()
        q = constants(tuple(fractions), like[:0].double())[:, None]
        found = below = torch.zeros_like(q, dtype=torch.int64)
        top = 8 * like.element_size() - DIGIT
        for shift in range(top, -1, -DIGIT):
            first = shift == top
            counted = below + _counted(parts, found, shift, first=first).cumsum(1)
            mass = counted.double() / WHOLE
            if first:
                whole = mass[:, -1:]
                needed = _needed(whole, q)
            digit = (mass < needed).sum(1, keepdim=True)
            found = (found << DIGIT) + digit - (HALF if first else 0)
            below = torch.where(digit > 0, counted.gather(1, (digit - 1).clamp_min(0)), below)
        return torch.where(whole > 0, _value_of(found, like.dtype), torch.inf)[..., None]


def _counted(
    parts: Sequence[Callable[[], tuple[Tensor, Tensor]]],
    found: Int[Tensor, "q 1"],
    shift: int,
    *,
    first: bool,
) -> Int[Tensor, "q digit"]:
    """Mass of the values by one digit, of those that begin with the digits found before."""
    counted = found.new_zeros((len(found), 2 * HALF))
    for part in parts:
        values, mass = (of.flatten() for of in part())
        key, whole = _key_of(values), _counts_of(mass)
        digit = (key >> shift) + HALF if first else (key >> shift) % (2 * HALF)
        for row, start in zip(counted, found, strict=True):
            alike = whole if first else whole * ((key >> (shift + DIGIT)) == start)
            row.index_add_(0, digit, alike)
    return counted


def _counts_of(mass: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Masses in units of 1 / ``WHOLE``; at least one of these where something counts at all."""
    return torch.where(mass > 0, (mass * WHOLE).round().clamp_min(1.0), 0.0).long()


def _needed(
    whole: Float[Tensor, "*n 1"], q: float | Float[Tensor, "*n 1"]
) -> Float[Tensor, "*n 1"]:
    """Mass up to the quantile, itself included, of the whole mass."""
    return torch.minimum(q * (whole - 1.0).clamp_min(0.0) + 0.5, whole)


def _key_of(values: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Whole numbers in the order of the values."""
    bits = values.contiguous().view(_BITS[values.dtype])
    return torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits).long()


def _value_of(key: Int[Tensor, "*n"], dtype: torch.dtype) -> Float[Tensor, "*n"]:
    """The values that have these keys."""
    bits = key.to(_BITS[dtype])
    return torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits).view(dtype)


_BITS = {torch.float64: torch.int64, torch.float32: torch.int32}
