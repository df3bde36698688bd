"""Two-pass gradients: the graph of some muons is formed when it is needed, and dropped at once.

The loss sees muons through a few numbers alone, such as the predictions of a scan. So the first
pass forms these without a graph; when the gradient of the loss with respect to them is known, the
second pass forms them once more with a graph and contracts it. Memory is that of one of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Outputs = tuple[Tensor, ...]


class Graph:
    """Outputs with their graph, or what forms them once more, with equal bits.

    Args:
        form: forms the outputs again; called in a backward pass.
        kept: the outputs with their graph, until it is dropped.
        spare: gives memory back when the device has none left.
    """

    def __init__(
        self,
        form: Callable[[], Outputs],
        kept: Outputs | None = None,
        spare: Callable[[], None] | None = None,
    ) -> None:
        self.form = form
        self.kept = kept
        self.spare = spare

    def drop(self) -> None:
        """Give up the graph; it is formed anew when it is needed."""
        self.kept = None

    def gradients(
        self, parameters: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """Derivatives with respect to the parameters; a second time if memory ran out."""
        try:
            return self._gradients(parameters, grads)
        except torch.OutOfMemoryError:
            if self.spare is None:
                raise
            self.drop()
        self.spare()
        return self._gradients(parameters, grads)

    def _gradients(
        self, parameters: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            outputs = self.form() if self.kept is None else self.kept
        self.drop()
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
        if not pairs:
            return tuple(None for _ in parameters)
        return torch.autograd.grad(
            [output for output, _ in pairs],
            parameters,
            [grad for _, grad in pairs],
            allow_unused=True,
        )


def attach(outputs: Outputs, graph: Graph, parameters: Sequence[Tensor]) -> Outputs:
    """The same numbers as functions of the parameters; gradients go to the parameters at once.

    Args:
        outputs: the numbers.
        graph: gives them with their graph. Kept or formed anew, the bits are the same.
        parameters: what the outputs depend on; leaves of the graph.
    """
    if not outputs or not parameters:
        return outputs
    result: Outputs = _Attached.apply(outputs, graph, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Attached(torch.autograd.Function):
    """Forward: the numbers. Backward: the gradients of the parameters, through the graph."""

    @staticmethod
    def forward(ctx: Any, outputs: Outputs, graph: Graph, *parameters: Tensor) -> Outputs:
        ctx.graph = graph
        ctx.parameters = parameters
        result = tuple(output.detach().clone() for output in outputs)
        ctx.mark_non_differentiable(*(r for r in result if not r.is_floating_point()))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.graph.gradients(ctx.parameters, grads)
