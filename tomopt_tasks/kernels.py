"""Functions of tensors that can run compiled: the same arithmetic, fused into loops over muons.

``@kernel`` changes nothing about a function of tensors whose axes its annotations name. Inside
``compiling()`` it is translated to C++ ahead of time by AOTInductor, once for each machine, type
and static shape; axes called ``mu`` and ``vol`` may have any length, so that a study compiles
nothing twice. What was compiled lies in a folder of the user and is loaded within milliseconds,
without torch's compiler. It differs from the uncompiled by rounding, so that keys say which it was.

Derivatives are formed from the inputs again: by autograd, traced and compiled as well, or by a
second kernel that somebody wrote (:class:`Blockwise`). A kernel that calls others is compiled with
them as one.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tomopt_tasks.machine_code import Axes, Outputs, Program

BLOCK = 16384
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


def constants(values: tuple[float, ...], like: Tensor) -> Float[Tensor, " n"]:
    """Numbers as a tensor like another one; not to be written to, since it is made once."""
    return _constants(values, like.dtype, like.device)


@lru_cache(maxsize=1024)
def _constants(
    values: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, " n"]:
    return torch.tensor(values, dtype=dtype, device=device)


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
        self._derivatives: dict[tuple[bool, ...], Derivatives] = {}

    def __call__(self, *inputs: Tensor) -> Result:
        """What the function gives, compiled or not."""
        if not self.compiled(inputs):
            return self.function(*inputs)
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
            return Blockwise(self)(*inputs)
        return self.run(*inputs)

    def run(self, *inputs: Tensor) -> Result:
        """The same without a graph."""
        if not self.compiled(inputs):
            return self.function(*inputs)
        return self.named(self._program(inputs))

    def named(self, outputs: Outputs) -> Result:
        """Outputs under the names that the function gives them."""
        named: Any = self.result(*outputs) if hasattr(self.result, "_fields") else outputs
        result: Result = named
        return result

    @cached_property
    def result(self) -> Any:
        """Type of what it gives."""
        return get_type_hints(self.function)["return"]

    def compiled(self, inputs: Outputs) -> bool:
        """Whether it is compiled code that runs for these arguments."""
        if not _on or not inputs[0].is_cpu:
            return False
        return inputs[self._with_muons].numel() > 0

    @cached_property
    def _with_muons(self) -> int:
        """Which argument tells whether there are any muons at all."""
        return next((k for k, names in enumerate(self.axes) if "mu" in names), 0)

    def derivatives(self, needed: tuple[bool, ...]) -> "Derivatives":
        """Those with respect to some of its arguments, as one more kernel."""
        if needed not in self._derivatives:
            self._derivatives[needed] = Derivatives(self, needed)
        return self._derivatives[needed]

    @cached_property
    def _program(self) -> Program:
        return Program(self.function, "", _in_one(self.function), self.axes)

    @cached_property
    def axes(self) -> tuple[Axes, ...]:
        """Names of the axes of every argument."""
        hints = get_type_hints(self.function)
        return tuple(_names(hint) for name, hint in hints.items() if name != "return")

    @cached_property
    def out_axes(self) -> list[tuple[Axes, bool]]:
        """Names of the axes of every result, and whether it is a real number."""
        named = hasattr(self.result, "_fields")
        parts = get_type_hints(self.result).values() if named else get_args(self.result)
        return [(_names(part), "Float" in part.__name__) for part in parts]


class Derivatives:
    """Derivatives of a kernel as one more: it is computed again, and differentiated by autograd.

    Takes its arguments and the derivatives with respect to its real results.

    Args:
        of: the kernel.
        needed: for each of its arguments, whether its derivatives are wanted.
    """

    def __init__(self, of: kernel[Any], needed: tuple[bool, ...]) -> None:
        real = tuple(is_real for _, is_real in of.out_axes)
        self.axes = (*of.axes, *(axes for axes, is_real in of.out_axes if is_real))
        self.out_axes = [(a, True) for a, need in zip(of.axes, needed, strict=True) if need]
        self.compiled = of.compiled
        self._function = _slopes_of(of.function, real, needed)
        tag = "".join("01"[need] for need in needed)
        self._program = Program(of.function, tag, _in_one(self._function), self.axes)

    def run(self, *inputs: Tensor) -> Outputs:
        """The derivatives, compiled or not."""
        return self._program(inputs) if self.compiled(inputs) else self._function(*inputs)


class Blockwise(Generic[Result]):
    """A function of muons and what is common to them, whose graph holds its arguments alone.

    Muons are independent: not compiled, they are computed block by block, so that all that a block
    needs stays in the caches, and is formed again in the backward pass. Derivatives with respect to
    what muons have in common are added up block by block.

    Args:
        forward: the function; muons are the last axis of whatever has them.
        backward: takes its arguments and the derivatives with respect to its real results, gives
            those with respect to its arguments; results with names give those of these names, and
            the others have none. None: autograd's.
    """

    def __init__(self, forward: kernel[Result], backward: kernel[Any] | None = None) -> None:
        self.forward = forward
        self.backward = backward

    @cached_property
    def has_derivative(self) -> list[bool]:
        """Of each argument, whether ``backward`` gives its derivatives."""
        names = [name for name in get_type_hints(self.forward.function) if name != "return"]
        given = getattr(self.backward and self.backward.result, "_fields", names)
        if [name for name in names if name in given] != list(given):
            raise TypeError(
                f"{self.forward.__name__}: derivatives {given} are no arguments in order"
            )
        return [name in given for name in names]

    def __call__(self, *inputs: Tensor) -> Result:
        """The results, with their derivatives."""
        return self.forward.named(_Blocks.apply(self, *inputs))  # type: ignore[no-untyped-call]


class _Blocks(torch.autograd.Function):
    """Forward and backward of a :class:`Blockwise` function."""

    @staticmethod
    def forward(ctx: Any, of: Blockwise[Any], *inputs: Tensor) -> Outputs:
        ctx.save_for_backward(*inputs)
        ctx.of, ctx.on = of, _on
        outputs = tuple(_by_block(of.forward, inputs))
        ctx.mark_non_differentiable(*(t for t in outputs if not t.is_floating_point()))
        ctx.real = [t.is_floating_point() for t in outputs]
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        real = [grad for grad, is_real in zip(grads, ctx.real, strict=True) if is_real]
        given, needed = (*ctx.saved_tensors, *real), ctx.needs_input_grad[1:]
        of, there = ctx.of.backward or ctx.of.forward.derivatives(needed), needed
        if ctx.of.backward is not None:
            there = ctx.of.has_derivative
            if any(need and not has for need, has in zip(needed, there, strict=True)):
                raise RuntimeError(f"{ctx.of.forward.__name__}: no derivative for all of {needed}")
        with compiling(on=ctx.on):  # as forward was
            found = iter(_by_block(of, given))
        return None, *(next(found) if has else None for has in there)


AnyKernel = kernel[Any] | Derivatives


def _by_block(of: AnyKernel, inputs: Outputs) -> Outputs:
    n_muons = _length("mu", of, inputs)
    if of.compiled(inputs) or not isinstance(n_muons, int):  # or in a kernel that is translated
        return tuple(of.run(*inputs))
    blocks = [slice(first, first + BLOCK) for first in range(0, max(n_muons, 1), BLOCK)]
    return in_pieces(of, inputs, [(slice(None), block) for block in blocks])


Pieces = Sequence[tuple[slice, slice]]
"""Groups of volumes, and blocks of their muons."""


def in_pieces(of: AnyKernel, inputs: Outputs, pieces: Pieces) -> Outputs:
    """What a kernel gives, computed piece by piece; without a graph.

    Results that have muons are joined; others are added up in the order of the pieces.

    Args:
        of: the kernel; axes called ``vol`` and ``mu`` are cut.
        inputs: its arguments.
        pieces: all blocks of a group of volumes follow one another, the first begins at zero.
    """
    if len(pieces) == 1:
        return tuple(of.run(*inputs))
    lengths = {name: _length(name, of, inputs) for name in ("vol", "mu")}
    whole: list[Tensor] = []
    for some, part in pieces:
        found = of.run(*(_cut(t, a, some, part) for t, a in zip(inputs, of.axes, strict=True)))
        for k, (piece, (axes, _)) in enumerate(zip(found, of.out_axes, strict=True)):
            new = len(whole) == k
            if new:
                sizes = zip(axes, piece.shape, strict=True)
                whole.append(piece.new_empty([lengths.get(name) or n for name, n in sizes]))
            target = _cut(whole[k], axes, some, part)
            if new or "mu" in axes or ("vol" in axes and part.start == 0):
                target.copy_(piece)
            else:
                target.add_(piece)
    return tuple(whole)


def _length(name: str, of: AnyKernel, inputs: Outputs) -> int | torch.SymInt | None:
    """Length of an axis."""
    every = zip(inputs, of.axes, strict=True)
    return next((t.shape[axes.index(name)] for t, axes in every if name in axes), None)


def _cut(tensor: Tensor, axes: Axes, some: slice, part: slice) -> Tensor:
    """The part of a tensor that belongs to some volumes and some muons."""
    return tensor[tuple([{"vol": some, "mu": part}.get(name, _ALL) for name in axes])]


_ALL = slice(None)


def _in_one(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """The function with all kernels in it as a part of it, and results as a kernel takes them."""

    def whole(*tensors: Tensor) -> Outputs:
        with compiling(on=False):
            return tuple(result.contiguous() for result in function(*tensors))

    return whole


def _slopes_of(
    function: Callable[..., Outputs], real: tuple[bool, ...], needed: tuple[bool, ...]
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
        pairs = [(r, g) for r, g in zip(chosen, grads, strict=True) if r.requires_grad]
        wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
        found = torch.autograd.grad(
            [result for result, _ in pairs],
            wanted,
            [grad for _, grad in pairs],
            allow_unused=True,
            materialize_grads=True,
        )
        return tuple(found)

    return slopes


def _names(hint: Any) -> Axes:
    return tuple(hint.dim_str.split())
