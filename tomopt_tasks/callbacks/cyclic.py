"""Marker for callbacks that run in cycles (spec 9.2)."""

from tomopt_tasks.callbacks.base import Callback


class CyclicCallback(Callback):
    """Marks a callback as cyclic; the loop only sorts by it."""
