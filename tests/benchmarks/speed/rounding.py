"""How far gradients in single precision are from those in double precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
from tomopt_tasks.wrapper import loop
from tomopt_tasks.wrapper.scans import HitNoise


@contextmanager
def same_noise() -> Iterator[None]:
    """Inside, hits of both precisions are blurred by the same numbers."""

    def shared(*names: Any) -> Any:
        noise = HitNoise(*names)

        def draw(side: str, n_panels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
            return noise(side, n_panels, torch.float32, device).to(dtype)

        return draw

    before = loop.HitNoise
    loop.HitNoise = shared  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        loop.HitNoise = before  # type: ignore[misc]


def gradient_errors(case: Case) -> dict[str, float]:
    """Norm of the difference over the norm, of xy, z, spans and budget over all panels."""
    with same_noise():
        steps = {dtype: Step(case, dtype) for dtype in (torch.float32, torch.float64)}
        state = steps[torch.float64].transport(0)
        for step in steps.values():
            step.infer(state)
    single, double = (step.gradients() for step in steps.values())
    errors = {}
    for kind in sorted({name.rsplit(".", 1)[-1] for name in double}):
        names = [name for name in double if name.rsplit(".", 1)[-1] == kind]
        one, other = (torch.cat([of[n].flatten() for n in names]) for of in (single, double))
        if float(other.norm()) > 0:
            errors[kind] = float((one - other).norm() / other.norm())
    return errors
