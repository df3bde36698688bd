"""What an inferrer says of the volumes of a scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tomopt_tasks.inference.replay import Graph, Outputs, attach


@dataclass(frozen=True, slots=True)
class Predictions:
    """What an inferrer says of each volume of a scan."""

    values: list[Tensor | None]
    """None where no muon was accepted."""
    variances: list[Tensor | None]
    """Variance of each, or nothing at all."""

    def tensors(self) -> Outputs:
        """All that is there, in a fixed order."""
        return tuple(t for t in (*self.values, *self.variances) if t is not None)

    def attached(self, graph: "Graph", parameters: Sequence[Tensor]) -> "Predictions":
        """The same, with gradients by :func:`attach`."""
        tensors = iter(attach(self.tensors(), graph, parameters))
        values, variances = (
            [None if t is None else next(tensors) for t in part]
            for part in (self.values, self.variances)
        )
        return Predictions(values, variances)


def read(inferrer: Any, n_volumes: int) -> Predictions:
    """The predictions of an inferrer that has seen all muons of a scan."""
    values = [inferrer.get_prediction()] if n_volumes == 1 else inferrer.get_predictions()
    return Predictions(values, list(getattr(inferrer, "variances", None) or []))
