"""Savers of the state of a fit (spec 9.9)."""

from typing import Any

from tomopt_tasks.callbacks.base import Callback


class EpochSave(Callback):
    """Saves volume and optimisers as ``volume_state_<epoch>.pt`` after every training epoch.

    Files of an earlier fit with the same ``cb_savepath`` are overwritten.
    """

    def on_epoch_end(self) -> None:
        """Save the state."""
        fit = self.fit_params
        if fit.state == "train" and fit.cb_savepath is not None:
            wrapper: Any = self.attached
            wrapper.save(fit.cb_savepath / f"volume_state_{fit.epoch}.pt")
