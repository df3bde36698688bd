"""Two-pass gradients: the graph of some muons is formed when it is needed, and dropped at once.

The loss sees the muons of a scan through its predictions alone. So the first pass forms these
without a graph; when the gradient of the loss with respect to them is known, the second pass forms
them once more with a graph and contracts it. Memory is that of one scan, however many there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Outputs = tuple[Tensor, ...]


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

    def attached(
        self, form: Callable[[], Outputs] | None, parameters: Sequence[Tensor]
    ) -> "Predictions":
        """The same, with gradients by :func:`attach`."""
        tensors = iter(attach(self.tensors(), form, parameters))
        values, variances = (
            [None if t is None else next(tensors) for t in part]
            for part in (self.values, self.variances)
        )
        return Predictions(values, variances)


def read(inferrer: Any, n_volumes: int) -> Predictions:
    """The predictions of an inferrer that has seen all muons of a scan."""
    values = [inferrer.get_prediction()] if n_volumes == 1 else inferrer.get_predictions()
    return Predictions(values, list(getattr(inferrer, "variances", None) or []))


def attach(
    outputs: Outputs, form: Callable[[], Outputs] | None, parameters: Sequence[Tensor]
) -> Outputs:
    """The same numbers as functions of the parameters; gradients go to the parameters at once.

    Args:
        outputs: what has been formed, with its graph if there is no ``form``.
        form: forms the outputs again, with equal bits; called in the backward pass. None: the graph
            of ``outputs`` is kept. Both ways give the same bits.
        parameters: what the outputs depend on; leaves of the graph.
    """
    if not outputs or not parameters:
        return outputs
    result: Outputs = _Attached.apply(outputs, form, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Attached(torch.autograd.Function):
    """Forward: the numbers. Backward: the gradients of the parameters, through the graph."""

    @staticmethod
    def forward(
        ctx: Any, outputs: Outputs, form: Callable[[], Outputs] | None, *parameters: Tensor
    ) -> Outputs:
        ctx.form = form or (lambda: outputs)
        ctx.parameters = parameters
        result = tuple(output.detach().clone() for output in outputs)
        ctx.mark_non_differentiable(*(r for r in result if not r.is_floating_point()))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            outputs = ctx.form()
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
        ctx.form = None
        if not pairs:
            return None, None, *(None for _ in ctx.parameters)
        found = torch.autograd.grad(
            [output for output, _ in pairs],
            ctx.parameters,
            [grad for _, grad in pairs],
            allow_unused=True,
        )
        return None, None, *found
