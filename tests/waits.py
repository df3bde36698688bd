"""Finds where a host would wait for a device, without a device: by what is asked of tensors."""

import traceback
from collections import Counter
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ASKED = {Tensor.tolist: "tolist", Tensor.cpu: "cpu", Tensor.numpy: "numpy"}
"""Methods that copy to the host and that a CPU takes for nothing."""

ALWAYS = {
    "_local_scalar_dense",  # item, float, int, bool
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
    "equal",
    "is_nonzero",
    "repeat_interleave.Tensor",
}
"""Operations whose result or its shape depends on values."""

INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""The same if an index is a mask."""


class Waits:
    """A context that counts (what, file:function), of this package, that make the host wait."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self.calls = 0
        self._modes = ExitStack()

    def __enter__(self) -> "Waits":
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Methods(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()

    def note(self, what: str) -> None:
        """One more, with the innermost function of the package."""
        ours = [f for f in traceback.extract_stack() if "/tomopt_tasks/" in f.filename]
        place = ours[-1].filename.rpartition("/tomopt_tasks/")[2] if ours else "elsewhere"
        self.found[what, f"{place}:{ours[-1].name if ours else ''}"] += 1


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.waits.calls += 1
        name = func.name().removeprefix("aten::")
        base = name.partition(".")[0]
        masked = base in INDEXED and any(
            index is not None and index.dtype in {torch.bool, torch.uint8} for index in args[1]
        )
        if masked or name in ALWAYS or base in ALWAYS:
            self.waits.note(f"{base} by a mask" if masked else base)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in ASKED:
            self.waits.note(ASKED[func])
        return func(*args, **(kwargs or {}))
