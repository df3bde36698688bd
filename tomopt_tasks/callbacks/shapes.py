"""Curves of schedules, without torch: settings are read where it is not there."""

import math


def cosine_between(start: float, end: float, fraction: float) -> float:
    """Half a cosine from ``start`` (fraction 0) to ``end`` (fraction 1), exact at both ends."""
    if fraction <= 0:
        return start
    if fraction >= 1:
        return end
    return end - (end - start) * 0.5 * (math.cos(math.pi * fraction) + 1)


def line_between(start: float, end: float, fraction: float) -> float:
    """A straight line from ``start`` (fraction 0) to ``end`` (fraction 1), exact at both ends."""
    if fraction <= 0:
        return start
    if fraction >= 1:
        return end
    return start + (end - start) * fraction
