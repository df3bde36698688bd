"""A device beside the CPU that any machine has: its tensors are of the CPU, and do not mix with it.

What runs on it runs where tensors live, as CUDA needs it: an operation that meets tensors of both
raises, and what makes the host wait is counted. Arithmetic and random numbers are those of the CPU.

It must be there before the first backward pass of a process: autograd asks for devices but once.
"""

import traceback
from collections import Counter
from contextlib import ExitStack
from functools import cache
from types import SimpleNamespace
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "other"
ATEN = torch.ops.aten
COPIES = {ATEN._to_copy.default, ATEN.copy_.default}
"""Operations that may take tensors of both devices."""
PLACED = {
    ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default,
    ATEN._index_put_impl_.default, ATEN._unsafe_index.Tensor,
}  # fmt: skip
"""Operations that may take indices of the CPU, as CUDA does."""
INDEXED = {of.name().removeprefix("aten::").partition(".")[0] for of in PLACED}
READS = {
    "_local_scalar_dense",  # item, float, int, bool
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
    "equal",
    "repeat_interleave.Tensor",
}
"""Operations whose result or its shape depends on values: the host has to wait for these."""


@cache
def _registered() -> torch.device:
    """The device; once a process."""
    _setup_privateuseone_for_python_backend(NAME)
    return torch.device(NAME, 0)


class _There(Tensor):
    """A tensor on the other device."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "_There":
        made = Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=_registered(),
        )
        made.raw = raw
        return made

    def __repr__(self) -> str:
        return f"There({self.raw})"

    def tolist(self) -> list:
        """As of a tensor; no dispatch sees it."""
        assert OtherDevice.here is not None
        OtherDevice.here.note("tolist")
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        assert OtherDevice.here is not None
        return OtherDevice.here.run(func, args, kwargs or {})


class OtherDevice:
    """A context in which there is one more device; counts what makes the host wait for it."""

    here: "OtherDevice | None" = None

    def __init__(self) -> None:
        self.device = _registered()
        self.calls = 0
        self.waits: Counter[tuple[str, str]] = Counter()
        """What makes the host wait, and where: (operation, file:function)."""
        self._modes = ExitStack()

    def __enter__(self) -> "OtherDevice":
        OtherDevice.here = self
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Functions())
        streams = SimpleNamespace(Generator=_stream)
        self._modes.enter_context(mock.patch("tomopt_tasks.rng.torch", streams))
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()
        OtherDevice.here = None

    def note(self, what: str) -> None:
        """The host waits once more; a copy of what is no pinned memory makes it wait, too."""
        ours = [f for f in traceback.extract_stack() if "/tomopt_tasks/" in f.filename]
        place = ours[-1].filename.rpartition("/tomopt_tasks/")[2] if ours else "elsewhere"
        self.waits[what, f"{place}:{ours[-1].name if ours else ''}"] += 1

    def run(self, func, args, kwargs):
        """One operation."""
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        ours = [each for each in tensors if isinstance(each, _There)]
        asked = kwargs.get("device")
        there = bool(ours) if asked is None else torch.device(asked).type == NAME
        if ours and func not in COPIES:
            _check(func, (args[0], *args[2:]) if func in PLACED else (args, kwargs))
        if tensors:
            self._look(func, args, there=there, n_host=len(tensors) - len(ours))
        self.calls += bool(ours)
        raw, named = tree_map(lambda t: t.raw if isinstance(t, _There) else t, (args, kwargs))
        if there and asked is not None:
            named["device"] = torch.device("cpu")
        found = func(*raw, **named)
        if func is ATEN.copy_.default and not isinstance(args[0], _There):
            return args[0]
        if not there:
            return found
        wrapped = tree_map(lambda t: _There(t) if isinstance(t, Tensor) else t, found)
        return return_and_correct_aliasing(func, args, kwargs, wrapped)

    def _look(self, func, args, *, there: bool, n_host: int) -> None:
        """Notes what an operation makes the host wait for."""
        n_ours = sum(isinstance(each, _There) for each in tree_leaves(args))
        name = func.name().removeprefix("aten::")
        base = name.partition(".")[0]
        if n_ours and (not there or name in READS or base in READS):
            self.note(base)
        if n_ours and base in INDEXED and any(_is_mask(of) for of in args[1]):
            self.note(f"{base} by a mask")
        if there and n_host and (n_ours == 0 or func in PLACED | COPIES):
            self.note("upload")


def _check(func, arguments) -> None:
    """Tensors of the host may only be numbers."""
    for each in tree_leaves(arguments):
        if isinstance(each, Tensor) and not isinstance(each, _There) and each.ndim:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in {torch.bool, torch.uint8}


class _Stream(torch.Generator):
    """Random numbers of the CPU for the other device."""

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn."""
        return _registered()


def _stream(device: torch.device | str) -> torch.Generator:
    return _Stream() if torch.device(device).type == NAME else torch.Generator()


class _Operations(TorchDispatchMode):
    def __init__(self, of: OtherDevice) -> None:
        super().__init__()
        self.of = of

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.of.run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """From numbers of Python to tensors, which no dispatch sees."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None:
            if isinstance(args[0], Tensor):
                return args[0].to(**kwargs)
            return func(*args, **{**kwargs, "device": "cpu"}).to(device)
        if func is Tensor.new_tensor:
            like = args[0]
            made = torch.tensor(*args[1:], **{"dtype": like.dtype, **kwargs, "device": "cpu"})
            return made.to(device or like.device)
        return func(*args, **kwargs)
