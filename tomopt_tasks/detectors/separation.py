"""Keep panels apart in height with the smallest total move."""

from collections.abc import Sequence


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
