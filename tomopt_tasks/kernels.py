"""Functions of tensors that can run compiled: the same arithmetic, fused into loops over muons.

``@kernel`` changes nothing about a function of tensors whose axes its annotations name. Inside
``compiling()`` it is translated to C++ ahead of time by AOTInductor, once for each machine, type
and static shape; axes called ``mu`` and ``vol`` may have any length, so that a study compiles
nothing twice. What was compiled lies in a folder of the user and is loaded within milliseconds,
without torch's compiler. It differs from the uncompiled by rounding, so that keys say which it was.

Derivatives are formed from the inputs again: those of a ``kernel`` by autograd, traced and compiled
as well, those of a ``Blockwise`` function by a second kernel.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tomopt_tasks.machine_code import Axes, Outputs, Program

BLOCK = 4096
"""Muons that a :class:`Blockwise` function computes at a time where it is not compiled."""


_on = False


@contextlib.contextmanager
def compiling(*, on: bool = True) -> Iterator[None]:
    """Kernels run compiled inside, on the CPU."""
    global _on  # noqa: PLW0603 - the arithmetic of a process has one switch
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


Result = TypeVar("Result", bound=Outputs)


class kernel(Generic[Result]):  # noqa: N801 - a decorator
    """See the top of this module.

    Args:
        function: of tensors, to a tuple of tensors; its annotations name all axes.
    """

    def __init__(self, function: Callable[..., Result]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self._programs: dict[tuple[bool, ...], Program] = {}

    def __call__(self, *inputs: Tensor) -> Result:
        """What the function gives, compiled or not."""
        if not self._compiled(inputs):
            return self.function(*inputs)
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
            return self.named(_Traced.apply(self, *inputs))  # type: ignore[no-untyped-call]
        return self.run(*inputs)

    def run(self, *inputs: Tensor) -> Result:
        """The same without a graph."""
        if not self._compiled(inputs):
            return self.function(*inputs)
        return self.named(self._program(())(inputs))

    def named(self, outputs: Outputs) -> Result:
        """Outputs under the names that the function gives them."""
        named: Any = self._result(*outputs) if hasattr(self._result, "_fields") else outputs
        result: Result = named
        return result

    @cached_property
    def _result(self) -> Any:
        return get_type_hints(self.function)["return"]

    def _compiled(self, inputs: Outputs) -> bool:
        if not _on or not inputs[0].is_cpu:
            return False
        return inputs[self._with_muons].numel() > 0

    @cached_property
    def _with_muons(self) -> int:
        """Which argument tells whether there are any muons at all."""
        return next((k for k, names in enumerate(self.axes) if "mu" in names), 0)

    def slopes(self, inputs: Outputs, needed: tuple[bool, ...], grads: Outputs) -> Outputs:
        """Derivatives with respect to those of the inputs that need one."""
        return self._program(needed)((*inputs, *grads))

    def _program(self, needed: tuple[bool, ...]) -> "Program":
        if needed not in self._programs:
            if needed:
                axes = (*self.axes, *(a for a, real in self.out_axes if real))
                function = _slopes_of(self.function, [real for _, real in self.out_axes], needed)
            else:
                axes, function = self.axes, self.function
            tag = "".join("01"[need] for need in needed)
            self._programs[needed] = Program(self.function, tag, function, axes)
        return self._programs[needed]

    @cached_property
    def axes(self) -> tuple[Axes, ...]:
        """Names of the axes of every argument."""
        hints = get_type_hints(self.function)
        return tuple(_names(hint) for name, hint in hints.items() if name != "return")

    @cached_property
    def out_axes(self) -> list[tuple[Axes, bool]]:
        """Names of the axes of every result, and whether it is a real number."""
        named = hasattr(self._result, "_fields")
        parts = get_type_hints(self._result).values() if named else get_args(self._result)
        return [(_names(part), "Float" in part.__name__) for part in parts]


class Blockwise(Generic[Result]):
    """A function of muons and what is common to them, with derivatives of its own.

    Muons are independent: not compiled, they are computed block by block, so that all that a block
    needs stays in the caches, and is formed again in the backward pass. Derivatives with respect to
    what muons have in common are added up block by block.

    Args:
        forward: the function; muons are the last axis of whatever has them.
        backward: takes its arguments and the derivatives with respect to its real results, gives
            those with respect to its arguments.
    """

    def __init__(self, forward: kernel[Result], backward: kernel[Any]) -> None:
        self.forward = forward
        self.backward = backward

    def __call__(self, *inputs: Tensor) -> Result:
        """The results, with their derivatives."""
        return self.forward.named(_Blocks.apply(self, *inputs))  # type: ignore[no-untyped-call]


class _Blocks(torch.autograd.Function):
    """Forward and backward of a :class:`Blockwise` function."""

    @staticmethod
    def forward(ctx: Any, of: Blockwise[Any], *inputs: Tensor) -> Outputs:
        ctx.save_for_backward(*inputs)
        ctx.of = of
        outputs = tuple(_by_block(of.forward, inputs))
        ctx.mark_non_differentiable(*(t for t in outputs if not t.is_floating_point()))
        ctx.real = [t.is_floating_point() for t in outputs]
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        real = [grad for grad, is_real in zip(grads, ctx.real, strict=True) if is_real]
        return None, *_by_block(ctx.of.backward, (*ctx.saved_tensors, *real))


def _by_block(of: kernel[Any], inputs: Outputs) -> Outputs:
    lengths = [t.shape[-1] for t, axes in zip(inputs, of.axes, strict=True) if axes[-1:] == ("mu",)]
    if lengths[0] <= BLOCK:
        return tuple(of.run(*inputs))
    whole: list[Tensor] = []
    for first in range(0, lengths[0], BLOCK):
        part = slice(first, first + BLOCK)
        block = (
            t[..., part] if axes[-1:] == ("mu",) else t
            for t, axes in zip(inputs, of.axes, strict=True)
        )
        pieces = of.run(*block)
        for k, (piece, (axes, _)) in enumerate(zip(pieces, of.out_axes, strict=True)):
            muons = axes[-1:] == ("mu",)
            if first == 0:
                whole.append(piece.new_empty((*piece.shape[:-1], lengths[0])) if muons else piece)
            if muons:
                whole[k][..., part] = piece
            elif first:
                whole[k] = whole[k] + piece
    return tuple(whole)


class _Traced(torch.autograd.Function):
    """Forward and backward of a compiled :class:`kernel`."""

    @staticmethod
    def forward(ctx: Any, of: kernel[Any], *inputs: Tensor) -> Outputs:
        ctx.save_for_backward(*inputs)
        ctx.of = of
        outputs = tuple(of.run(*inputs))
        ctx.mark_non_differentiable(*(t for t in outputs if not t.is_floating_point()))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        real = [g for g, (_, is_real) in zip(grads, ctx.of.out_axes, strict=True) if is_real]
        found = iter(ctx.of.slopes(ctx.saved_tensors, needed, tuple(real)))
        return None, *(next(found) if need else None for need in needed)


def _slopes_of(
    function: Callable[..., Outputs], real: Sequence[bool], needed: Sequence[bool]
) -> Callable[..., Outputs]:
    """What gives the derivatives of a function from its inputs and those of its real results."""

    def slopes(*tensors: Tensor) -> Outputs:
        inputs, grads = tensors[: len(needed)], tensors[len(needed) :]
        leaves = [
            t.detach().requires_grad_() if need else t
            for t, need in zip(inputs, needed, strict=True)
        ]
        with torch.enable_grad():
            results = function(*leaves)
        chosen = [result for result, is_real in zip(results, real, strict=True) if is_real]
        wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
        found = torch.autograd.grad(
            chosen, wanted, list(grads), allow_unused=True, materialize_grads=True
        )
        return tuple(found)

    return slopes


def _names(hint: Any) -> Axes:
    return tuple(hint.dim_str.split())
