"""Sums over the muons of one volume, however many: a few of them are in memory at a time.

What an inferrer says of a volume is a function of a few sums over its muons. What is summed may
depend on sums of before, as a weight does on the mean of all muons. So sums are formed in steps,
each in one pass over the muons, which are formed piece by piece and dropped at once.

Gradients take one pass a step, too. Let L be the loss, s_k the sums of step k = sum over pieces of
f_k(piece, s_0 .. s_k-1), and g_k = dL/ds_k with all that later steps make of s_k. From the last
step to the first, a pass without the graph of the muons gives what step k adds to the g_j of the
steps before it; then all g_k are known, and a last pass adds up the gradients of sum_k <g_k, f_k>
of piece after piece with respect to the parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tomopt_tasks.inference.reduced import ReducedScatters, Scatters
from tomopt_tasks.inference.replay import Graph, Outputs

Muons = TypeVar("Muons")
Other = TypeVar("Other")
Step = Callable[[Muons, Sequence[Outputs]], Outputs]
"""From some muons, and what each step before gave for all of them, to sums over them."""


class ScatterPiece:
    """Some muons of a volume, formed each time they are looked at, with equal bits.

    Args:
        form: forms their scatters, with a graph where gradients are wanted.
        parameters: what the graph leads to.
        spare: gives memory back when the device has none left.
    """

    n_volumes = 1

    def __init__(
        self,
        form: Callable[[], Scatters],
        parameters: Sequence[Tensor],
        spare: Callable[[], None],
    ) -> None:
        self.form = form
        self.parameters = parameters
        self.spare = spare
        self.kept: ReducedScatters | None = None
        """The scatters without a graph, until they are dropped: only time depends on it."""

    def drop(self) -> None:
        """Give up what is kept; it is formed anew when it is needed."""
        self.kept = None

    def scatters(self) -> Scatters:
        """The scatters of these muons."""
        if self.kept is not None and not torch.is_grad_enabled():
            return self.kept
        return self.form()


@dataclass(frozen=True)
class Exposure(Generic[Muons]):
    """The muons of one volume, piece by piece."""

    pieces: Sequence[Callable[[], Muons]]
    """Each forms some of the muons, with a graph where gradients are wanted."""
    parameters: Sequence[Tensor]
    """What the graphs lead to."""
    spare: Callable[[], None]
    """Gives memory back when the device has none left."""

    @classmethod
    def of(
        cls, pieces: Sequence[ScatterPiece], muons: Callable[[Scatters], Muons]
    ) -> "Exposure[Muons]":
        """What some function makes of the scatters of every piece."""
        forms = [lambda piece=piece: muons(piece.scatters()) for piece in pieces]
        return cls(forms, pieces[0].parameters, pieces[0].spare)

    def map(self, function: Callable[[Muons], Other]) -> "Exposure[Other]":
        """What some function makes of the muons of every piece."""
        pieces: Any = [lambda piece=piece: function(piece()) for piece in self.pieces]
        return replace(self, pieces=pieces)  # type: ignore[return-value]


def totals(muons: Muons | Exposure[Muons], *steps: Step[Muons]) -> list[Outputs]:
    """Sums over muons, step by step.

    Args:
        muons: all muons, or an exposure that forms them piece by piece.
        steps: each gives sums of real numbers over the muons it gets. Gradients go to parameters of
            the exposure, which a step may hold itself, but not through tensors that were made of
            them before.
    """
    if not isinstance(muons, Exposure):
        found: list[Outputs] = []
        for step in steps:
            found.append(step(muons, found))
        return found
    sizes: list[int] = []
    flat = _Totals.apply(muons, steps, sizes, *muons.parameters)  # type: ignore[no-untyped-call]
    return _grouped(flat, sizes)


class _Totals(torch.autograd.Function):
    """See the top of this module."""

    @staticmethod
    def forward(
        ctx: Any,
        exposure: Exposure[Any],
        steps: Sequence[Step[Any]],
        sizes: list[int],
        *parameters: Tensor,
    ) -> Outputs:
        found: list[Outputs] = []
        for step in steps:
            found.append(_summed(step(piece(), found) for piece in exposure.pieces))
        sizes.extend(map(len, found))
        ctx.exposure, ctx.steps, ctx.found, ctx.parameters = exposure, steps, found, parameters
        return tuple(total.clone() for of_step in found for total in of_step)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        exposure, steps, found = ctx.exposure, ctx.steps, ctx.found
        slopes: list[Any] = [list(of) for of in _grouped(grads, [len(of) for of in found])]
        for k in range(len(steps) - 1, 0, -1):
            _add_to_earlier(exposure, steps[k], found[:k], slopes)
        given = [slope for of_step in slopes for slope in of_step]
        gradients: list[Tensor | None] = [None for _ in ctx.parameters]
        for piece in exposure.pieces:

            def form(piece: Callable[[], Any] = piece) -> Outputs:
                muons = piece()
                sums = (step(muons, found[:k]) for k, step in enumerate(steps))
                return tuple(each for of_step in sums for each in of_step)

            _add(gradients, Graph(form, spare=exposure.spare).gradients(ctx.parameters, given))
        return None, None, None, *gradients


def _add_to_earlier(
    exposure: Exposure[Any],
    step: Step[Any],
    earlier: Sequence[Outputs],
    slopes: Sequence[Any],
) -> None:
    """Add to the slopes of earlier sums what a step makes of these."""
    leaves = [tuple(total.detach().requires_grad_() for total in of) for of in earlier]
    flat = [leaf for of in leaves for leaf in of]
    more: list[Tensor | None] = [None for _ in flat]
    for piece in exposure.pieces:

        def form(piece: Callable[[], Any] = piece) -> Outputs:
            with torch.no_grad():
                muons = piece()
            return step(muons, leaves)

        _add(more, Graph(form, spare=exposure.spare).gradients(flat, slopes[len(earlier)]))
    for slope, new in zip(slopes, _grouped(more, [len(of) for of in earlier]), strict=False):
        _add(slope, new)


def _summed(parts: Any) -> Outputs:
    """Sums of tensors that come one tuple after another, in this order."""
    total: list[Tensor | None] = []
    for part in parts:
        total = total or [None for _ in part]
        _add(total, part)
    return tuple(each for each in total if each is not None)


def _add(total: list[Tensor | None], part: Sequence[Tensor | None]) -> None:
    for k, new in enumerate(part):
        before = total[k]
        if new is not None:
            total[k] = new if before is None else before + new


def _grouped(flat: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """Consecutive items in groups of some sizes."""
    rest = iter(flat)
    return [tuple(next(rest) for _ in range(size)) for size in sizes]
