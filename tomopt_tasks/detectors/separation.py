"""Keep panels apart in height with the smallest total move."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

TOUCH = 1e-9
"""Distance below which two panels, or a panel and a face, touch [m]."""


def separate(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Nearest heights in the least-squares sense that keep ``gap`` and lie in [low, high].

    The order of the panels is kept. In the variables z_(k) - k gap the constraint is monotony, so
    that pooling adjacent violators gives the exact projection.

    Args:
        heights: present heights [m], in any order.
        gap: least distance between neighbours [m]; >= 0.
        low: lower face of the zone [m].
        high: upper face [m].

    Raises:
        ValueError: the panels do not fit into the zone with this gap.
    """
    n = len(heights)
    if (n - 1) * gap > high - low + 1e-12:
        raise ValueError(
            f"{n} panels with a gap of {gap} m do not fit into {low} to {high} m; reduce the gap"
        )
    order = sorted(range(n), key=lambda k: heights[k])
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        pools.append((heights[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (upper, n_upper), (lower, n_lower) = pools.pop(), pools.pop()
            total = n_upper + n_lower
            pools.append(((upper * n_upper + lower * n_lower) / total, total))
    levels = [level for level, count in pools for _ in range(count)]
    placed = [0.0] * n
    for rank, index in enumerate(order):
        room = high - (n - 1) * gap
        placed[index] = min(max(levels[rank], low), max(room, low)) + rank * gap
    return placed


class Pushes(NamedTuple):
    """What the loss would fall by if a limit gave way by a metre: its Lagrange multiplier."""

    gaps: list[float]
    """Between neighbours, from the lowest up; 0 where they do not touch."""
    low: float
    """At the lower face."""
    high: float
    """At the upper face."""


def pushes(
    heights: Sequence[float], slopes: Sequence[float], gap: float, low: float, high: float
) -> Pushes:
    """How hard panels push against each other and against the faces of their zone.

    Of panels that touch, each hands on what the ones below it push with (the conditions of
    Karush, Kuhn and Tucker). What a chain of panels that touches no face does not balance itself is
    not converged, and is shared equally. A negative value: the limit holds nothing back.

    Args:
        heights: of the panels [m], in any order.
        slopes: derivative of the loss by each of them [loss / m].
        gap: least distance of neighbours [m].
        low: lower face [m].
        high: upper face [m].
    """
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    z, slope = [heights[k] for k in order], [slopes[k] for k in order]
    touching = [b - a <= gap + TOUCH for a, b in pairwise(z)]
    found, at_low, at_high, first = [0.0] * len(touching), 0.0, 0.0, 0
    for last in range(len(z)):
        if last < len(touching) and touching[last]:
            continue
        block = slope[first : last + 1]
        below, above = z[first] <= low + TOUCH, z[last] >= high - TOUCH
        rest = 0.0 if below or above else sum(block) / len(block)
        push = max(sum(block), 0.0) if below and above else sum(block) if below else 0.0
        at_low = push if below else at_low
        for k in range(first, last):
            push -= slope[k] - rest
            found[k] = push
        at_high = push - slope[last] if above else at_high
        first = last + 1
    return Pushes(found, at_low, at_high)
