"""``tomopt check``: the laws that every loss obeys, tried on one of the user's own."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.losses.settings import OwnLossSettings
from tomopt_tasks.own import build_own, digest_of, source_of
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import build_volume

WORLD = World(size=(0.3, 0.2), passive=(0.2, 0.5), voxel=0.1, height=0.7)


def check(part: str, *, voxels: bool) -> Iterator[tuple[str, str]]:
    """Law -> what breaks it, empty if it holds.

    Args:
        part: module and class; its options are left at their defaults.
        voxels: predictions are radiation lengths of voxels; otherwise one number a volume.

    Raises:
        UserError: the part is not trusted, not found, or cannot be made.
    """
    settings = OwnLossSettings(part=part, sha256=digest_of(source_of(part)))
    volume = _volume()
    shape = WORLD.shape if voxels else (1,)
    pred = torch.rand(shape, generator=stream(1, "check"), dtype=torch.float64) * 0.5 + 0.1

    def value(x: Tensor) -> Tensor:
        return torch.as_tensor(build_own(settings)(pred=x, volume=volume)).sum()

    laws: dict[str, Callable[[], str]] = {
        "its value is a finite number": lambda: _finite(value(pred)),
        "the same prediction gives the same value": lambda: _same(value(pred), value(pred)),
        "its gradient is finite": lambda: _gradient(value, pred),
        "its gradient equals finite differences": lambda: _differences(value, pred),
        "its settings survive JSON": lambda: _same_settings(settings),
    }
    for law, holds in laws.items():
        try:
            yield law, holds()
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            yield law, f"{type(error).__name__}: {error}"


def _volume() -> Volume:
    """Lead in air between two panels above and two below; target 0.4."""
    layers = [
        LayerSettings(
            pos=pos,  # type: ignore[arg-type]
            z=top,
            size=0.2,
            panels=tuple(
                PanelSettings(name=f"{pos}[{i}]", xy=(0.15, 0.1), z=top - 0.05 - 0.1 * i)
                for i in range(2)
            ),
        )
        for pos, top in (("above", 0.7), ("below", 0.2))
    ]
    volume = build_volume(WORLD, DetectorSettings(layers=tuple(layers)))
    grid = torch.full(WORLD.shape, 0.35, dtype=torch.float64)
    grid[1, 1, 1] = 0.0056
    volume.load_rad_length(grid, torch.tensor([0.4], dtype=torch.float64))
    return volume


def _finite(value: Tensor) -> str:
    return "" if torch.isfinite(value).all() else f"got {float(value.detach())}"


def _same(one: Tensor, other: Tensor) -> str:
    return "" if torch.equal(one, other) else f"got {float(one)} and {float(other)}"


def _gradient(value: Callable[[Tensor], Tensor], pred: Tensor) -> str:
    leaf = pred.clone().requires_grad_()
    total = value(leaf)
    if not total.requires_grad:
        return "the value does not depend on the prediction"
    (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    if gradient is None:
        return "the value does not depend on the prediction"
    return "" if torch.isfinite(gradient).all() else "it has NaN or infinite entries"


def _differences(value: Callable[[Tensor], Tensor], pred: Tensor) -> str:
    good = torch.autograd.gradcheck(value, pred.clone().requires_grad_(), raise_exception=False)
    return "" if good else "autograd and finite differences disagree"


def _same_settings(settings: OwnLossSettings) -> str:
    again = OwnLossSettings.model_validate_json(settings.model_dump_json())
    return "" if again == settings else "they come back changed"


def answer(part: str, *, voxels: bool) -> Answer:
    """The laws for programs; exit code 2 if some law is broken."""
    found = dict(check(part, voxels=voxels))
    laws = [{"law": law, "holds": not why, "why": why} for law, why in found.items()]
    lines = [f"{'NO' if why else 'ok'}  {law}" for law, why in found.items()]
    return Answer({"part": part, "laws": laws}, lines, code=2 if any(found.values()) else 0)


def report(part: str, *, voxels: bool) -> list[str]:
    """One line a law.

    Raises:
        UserError: some law is broken.
    """
    found = dict(check(part, voxels=voxels))
    broken = [f"{law} ({why})" for law, why in found.items() if why]
    if broken:
        raise UserError(f"{part} breaks {len(broken)} of {len(found)} laws: {'; '.join(broken)}")
    return [f"ok  {law}" for law in found]
