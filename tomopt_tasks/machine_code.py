"""Functions of tensors as machine code, made once and kept: see :mod:`.kernels`.

They are translated by AOTInductor, ahead of time, into files that torch loads within milliseconds
and without its compiler. Their names are digests of all that the code depends on.
"""

import hashlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from inspect import unwrap
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

_EXAMPLES = {"mu": 307, "vol": 211, "voxel": 1009, "piece": 401}
"""Lengths in examples: unlike any static one, since a tracer takes equal lengths for one."""
ANY_LENGTH = tuple(_EXAMPLES)
"""Axes of any length; all others are static."""
LEAST = 2
"""Length from which on an axis may have any: one is special to the compiler."""

Outputs = tuple[Tensor, ...]
Axes = tuple[str, ...]


class Program:
    """A function as compiled code, one piece for each combination of static shapes and types.

    Args:
        source: the function that somebody wrote; names the code.
        tag: what is made of it.
        function: what is compiled.
        axes: names of the axes of every argument.
    """

    def __init__(
        self,
        source: Callable[..., Outputs],
        tag: str,
        function: Callable[..., Outputs],
        axes: Sequence[Axes],
    ) -> None:
        self.source, self.tag, self.function, self.axes = source, tag, function, axes
        self._static = [
            (k, axis)
            for k, names in enumerate(axes)
            for axis, name in enumerate(names)
            if name not in ANY_LENGTH
        ]
        self._loaded: dict[Any, Any] = {}

    def __call__(self, inputs: Outputs) -> Outputs:
        """What the function gives; the first call for new static shapes or types may compile."""
        shapes = tuple([inputs[k].shape[axis] for k, axis in self._static])
        signature = (shapes, tuple([t.dtype for t in inputs]))
        model = self._loaded.get(signature)
        if model is None:
            model = self._loaded[signature] = self._load(signature, inputs)
        return tuple(model.run([t.contiguous() for t in inputs]))

    def _load(self, signature: Any, inputs: Outputs) -> Any:
        name = self.source.__name__.strip("_")
        code = [fingerprint(self.source), fingerprint(self.function), _TRANSLATION]
        about = (code, self.tag, str(signature), self.axes, _machine())
        file = folder() / f"{name}-{hashlib.sha256(repr(about).encode()).hexdigest()[:24]}.pt2"
        if not file.exists():
            _compile(self.function, self.axes, inputs, file)
        loader: Any = torch._C._aoti.AOTIModelPackageLoader
        return loader(str(file), "model", False, 1, -1)  # noqa: FBT003 - of C++


def _compile(
    function: Callable[..., Outputs], axes: Sequence[Axes], inputs: Outputs, file: Path
) -> None:
    """Translate a function for inputs of these static shapes; others see all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about torch
        from torch._inductor import aoti_compile_and_package  # noqa: PLC0415 - brings seconds along
        from torch.export import Dim, export  # noqa: PLC0415
        from torch.fx.experimental.proxy_tensor import make_fx  # noqa: PLC0415

        dims = {name: Dim(name, min=LEAST) for name in ANY_LENGTH}
        shapes = tuple({k: dims[n] for k, n in enumerate(each) if n in dims} for each in axes)
        examples = tuple(_example(t, each) for t, each in zip(inputs, axes, strict=True))
        graph = make_fx(lambda *given: tuple(function(*given)), tracing_mode="symbolic")(*examples)
        program = export(graph, examples, dynamic_shapes=shapes)
        draft = Path(made) / "kernel.pt2"
        options = {"cpp.threads": 1}  # whatever TOMOPT_THREADS is: sums depend on it
        aoti_compile_and_package(program, package_path=str(draft), inductor_configs=options)
        draft.replace(file)


def folder() -> Path:
    """Where compiled kernels lie."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tomopt" / "kernels"


def fingerprint(function: Callable[..., Any]) -> str:
    """A digest of a function's code, constants, and all that it names of some packages."""
    found: dict[str, str] = {}
    _gather(function, found, {_package(function), _package(fingerprint)})
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def _gather(thing: Any, found: dict[str, str], packages: set[str]) -> None:
    """Adds the code of something, and of all that it names of some packages."""
    if isinstance(thing, type) and hasattr(thing, "_fields"):
        found[f"{thing.__module__}.{thing.__qualname__}"] = repr(thing._fields)
    for function in _functions(thing):
        name = f"{function.__module__}.{function.__qualname__}"
        if name in found or _package(function) not in packages:
            continue
        names = sorted({n for code in _codes(function.__code__) for n in code.co_names})
        bound = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        bound += [cell.cell_contents for cell in function.__closure__ or ()]
        texts = [*_texts(function.__code__), [value for value in bound if _plain(value)]]
        found[name] = repr(texts)
        named = [(n, function.__globals__[n]) for n in names if n in function.__globals__]
        modules = [m for _, m in named if isinstance(m, ModuleType)]
        modules = [m for m in modules if m.__name__.partition(".")[0] in packages]
        named += [(n, vars(m)[n]) for m in modules for n in names if n in vars(m)]
        for used, value in named:
            if _plain(value) and (used.isupper() or not isinstance(value, bool)):
                found[f"{name}:{used}"] = repr(value)
        for value in (*bound, *(value for _, value in named)):
            _gather(value, found, packages)


def _package(thing: Any) -> str:
    return (getattr(thing, "__module__", None) or "").partition(".")[0]


def _plain(value: Any) -> bool:
    """Whether it is a number or a text, or several that do not change."""
    if isinstance(value, tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, (int, float, str))


def _functions(thing: Any) -> Iterator[FunctionType]:
    """The functions in what a name may stand for: one, several, a class, a kernel."""
    if isinstance(thing, FunctionType):
        plain = unwrap(thing)
        yield from [plain] if isinstance(plain, FunctionType) else []
        return
    parts = getattr(thing, "__dict__", {})
    if isinstance(thing, type):
        inner: Iterable[Any] = [
            getattr(part, "__func__", getattr(part, "fget", part)) for part in parts.values()
        ]
        inner = [part for part in inner if isinstance(part, FunctionType)]
    elif isinstance(thing, tuple):
        inner = thing
    else:
        inner = [parts[name] for name in ("function", "forward", "backward") if name in parts]
        inner = [*inner, type(thing)] if inner else inner
    for part in inner:
        yield from _functions(part)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _texts(code: CodeType) -> Iterator[Any]:
    for each in _codes(code):
        constants = [c for c in each.co_consts if not isinstance(c, CodeType)]
        yield each.co_code, each.co_names, each.co_varnames, constants


def _example(like: Tensor, axes: Axes) -> Tensor:
    shape = [_EXAMPLES.get(name, n) for name, n in zip(axes, like.shape, strict=True)]
    return torch.ones(shape, dtype=like.dtype)


@cache
def _machine() -> tuple[str, ...]:
    return (
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        torch.__version__,
        sys.version.split()[0],
    )


_TRANSLATION = fingerprint(_compile)
"""What files depend on, too: how they are made."""
