"""Loss of probabilities of consecutive integers: classes with a distance between them."""

import torch
from jaxtyping import Float
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def integer_class_loss(
    int_probs: Float[Tensor, "*batch cls"],
    target_int: Tensor,
    pred_start_int: int,
    use_mse: bool,  # noqa: FBT001
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Float[Tensor, "..."]:
    """Mean distance of the integers from the target, in units of the sum of all distances.

    Each element of the batch is compared with its own target (D-40). A single class, or targets
    that all classes hit, give zero.

    Args:
        int_probs: probabilities; the last axis counts integers up from ``pred_start_int``.
        target_int: true integers, of the shape of the batch (or with a last axis of one).
        pred_start_int: integer of the first class.
        use_mse: squared distances instead of absolute ones.
        weight: one number for each element of the batch.
        reduction: ``mean``, ``sum`` or ``none``; the latter keeps a last axis of one.

    Raises:
        ValueError: unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {reduction!r}; it must be one of {', '.join(REDUCTIONS)}")
    n_classes = int_probs.shape[-1]
    integers = pred_start_int + torch.arange(n_classes, device=int_probs.device).to(int_probs)
    distance = (_column(target_int, int_probs) - integers).abs()
    if use_mse:
        distance = distance**2
    total = distance.sum(-1, keepdim=True)
    distance = distance / torch.where(total > 0, total, torch.ones_like(total))
    loss = (distance * int_probs).sum(-1, keepdim=True)
    if weight is not None:
        loss = loss * _column(weight, int_probs)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _column(values: Tensor, like: Float[Tensor, "*batch cls"]) -> Tensor:
    """One number for each element of the batch, with a last axis of one."""
    values = values.to(like)
    has_column = values.ndim == like.ndim and values.shape[-1] == 1
    return values if has_column else values[..., None]
