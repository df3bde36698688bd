"""Small public helpers: Jacobians, and maps between material classes and radiation lengths."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy.typing import NDArray
from torch import Tensor

from tomopt_tasks.materials import x0_from_mixture

__all__ = ["DEVICE", "class_to_x0preds", "jacobian", "x0_from_mixture", "x0targs_to_classtargs"]

DEVICE = torch.device("cpu")
"""Where everything lives unless told otherwise; ``.to(device)`` moves any part (D-33)."""

Array = TypeVar("Array", NDArray[Any], Tensor)


def jacobian(
    y: Float[Tensor, "*y"],
    x: Float[Tensor, "*x"],
    create_graph: bool = False,  # noqa: FBT001, FBT002  (published signature)
    allow_unused: bool = True,  # noqa: FBT001, FBT002
) -> Float[Tensor, "..."]:
    """dy/dx, with the axes of ``y`` and then those of ``x``.

    An ``x`` that is not used and an empty ``y`` work. Needs memory for numel(y) * numel(x) numbers:
    for checks and small problems, the physics uses closed forms.

    Args:
        y: a function of ``x``.
        x: requires grad.
        create_graph: keep the graph, so that the result can be differentiated; without it the
            result is a constant.
        allow_unused: zeros where ``y`` does not depend on ``x``; otherwise torch raises
            ``RuntimeError``.
    """
    shape = (*y.shape, *x.shape)
    if y.numel() == 0 or (allow_unused and not y.requires_grad):
        return x.new_zeros(shape)
    rows = torch.eye(y.numel(), dtype=y.dtype, device=y.device)
    (grads,) = torch.autograd.grad(
        y.reshape(-1),
        x,
        rows,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=allow_unused,
        is_grads_batched=True,
    )
    return x.new_zeros(shape) if grads is None else grads.reshape(shape)


def class_to_x0preds(
    array: Num[np.ndarray, "*grid"], id2x0: Mapping[int, float]
) -> Float[np.ndarray, "*grid"]:
    """X0 [m] of every class id, as float32; ``array`` is not changed.

    Raises:
        KeyError: an id that is not in ``id2x0``.
    """
    ids, where = np.unique(array, return_inverse=True)
    table = np.array([id2x0[int(i)] for i in ids], dtype=np.float32)
    return table[where].reshape(array.shape)


def x0targs_to_classtargs(array: Array, x02id: Mapping[float, int]) -> Array:
    """The id of the X0 nearest to every value, in the dtype of ``array``, which is not changed.

    All ids are found from the values as they came, so that ids may equal other materials' X0. A
    value half-way between two X0 takes the smaller one. An X0 of no known material takes the
    nearest id too: this cannot be told apart from rounding.

    Args:
        array: X0 [m], numpy array or tensor of any shape.
        x02id: X0 [m] -> class id; not empty.
    """
    if isinstance(array, Tensor):
        return _nearest_ids(array, x02id)
    return _nearest_ids(torch.from_numpy(np.ascontiguousarray(array)), x02id).numpy()


def _nearest_ids(values: Tensor, x02id: Mapping[float, int]) -> Tensor:
    known = sorted(x02id)
    x0s = torch.tensor(known, dtype=torch.float64, device=values.device)
    ids = torch.tensor([x02id[x0] for x0 in known], dtype=values.dtype, device=values.device)
    middles = (x0s[1:] + x0s[:-1]) / 2
    return ids[torch.bucketize(values.to(torch.float64), middles)]
