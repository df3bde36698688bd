"""Guards of the gradients (spec 9.9)."""

import torch

from tomopt_tasks.callbacks.base import Callback


class NoMoreNaNs(Callback):
    """Zeroes every non-finite gradient of the detector; missing gradients stay missing (D-35).

    Gradients of this engine are finite by construction, so each one that is zeroed is counted in
    ``n_zeroed`` and points at a defect.
    """

    remembers = ("n_zeroed",)

    def __init__(self) -> None:
        self.n_zeroed = 0

    @torch.no_grad()
    def on_backwards_end(self) -> None:
        """Zero what is not finite."""
        for parameter in self.attached.volume.parameters():
            if parameter.grad is None:
                continue
            bad = ~torch.isfinite(parameter.grad)
            n_bad = int(bad.sum())
            if n_bad:
                self.n_zeroed += n_bad
                parameter.grad[bad] = 0.0
