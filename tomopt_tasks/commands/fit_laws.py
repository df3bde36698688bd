"""The laws that inferrers and callbacks obey, for ``tomopt check``; see ``laws.py``."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.commands.laws import WORLD, Law, detector, passives, same_settings
from tomopt_tasks.inference.settings import OwnInferenceSettings, PocaZFillLevelSettings
from tomopt_tasks.inference.x0_settings import VoxelX0Settings
from tomopt_tasks.losses.settings import VolumeMSELossSettings, VoxelX0LossSettings
from tomopt_tasks.own import own_class
from tomopt_tasks.rng import stream
from tomopt_tasks.store.codec import encode
from tomopt_tasks.wrapper.build import build_volume, build_wrapper
from tomopt_tasks.wrapper.callback_settings import OwnCallbackSettings
from tomopt_tasks.wrapper.checkpoint import BetweenSteps, PhaseFit, Tree, first_tree
from tomopt_tasks.wrapper.optimiser_settings import OptimiserSettings, SGDSettings
from tomopt_tasks.wrapper.settings import FitSettings, Phase

STEP = 1e-6
"""Of the finite differences of a prediction [m]."""


class _Seen(Callback):
    """Keeps every prediction, with its graph."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def on_x0_pred_end(self) -> None:
        """Note the prediction, if muons were accepted."""
        if self.fit_params.pred is not None:
            self.values.append(torch.as_tensor(self.fit_params.pred))


class InferenceLaws:
    """Of a volume inferrer; what it predicts is in its settings."""

    def __init__(self, settings: OwnInferenceSettings) -> None:
        self.settings = settings
        volume = build_volume(WORLD, detector())
        self.wrapper = build_wrapper(volume, settings, None, {}, 1)
        self.moved = [p for layer in volume.get_detectors() for p in layer.parameters()]

    def laws(self) -> Mapping[str, Law]:
        """Sentence -> what breaks it."""
        return {
            "it predicts every volume, in finite numbers": self._shaped,
            "the same muons give the same prediction": self._repeated,
            "a volume is predicted alone as beside others": self._apart,
            "its gradient in the panels is finite": self._slope,
            "its gradient equals finite differences": self._differences,
            "its settings survive JSON": lambda: same_settings(self.settings),
        }

    def _predictions(self, volumes: slice = slice(None)) -> list[Tensor]:
        seen, bank = _Seen(), passives(volumes)
        n_muons = bank.state.shape[1]
        self.wrapper.begin(
            [seen], trn_passives=bank, val_passives=None, passive_bs=len(bank),
            n_mu_per_volume=n_muons, mu_bs=n_muons, epoch=0,
        )  # fmt: skip
        self.wrapper.fit_epoch()
        return seen.values

    def _total(self) -> Tensor:
        flat = torch.cat([each.reshape(-1) for each in self._predictions()])
        return (flat * torch.linspace(0.5, 1.5, len(flat), dtype=flat.dtype)).sum()

    def _shaped(self) -> str:
        found = self._predictions()
        if len(found) != 2:
            return f"got {len(found)} predictions for 2 volumes"
        wanted = WORLD.shape if self.settings.predicts == "voxels" else (1,)
        for each in found:
            if tuple(each.shape) != wanted and not each.numel() == len(wanted) == 1:
                return f"got the shape {tuple(each.shape)}, wanted {wanted}"
            if not torch.isfinite(each).all():
                return "it has NaN or infinite entries"
        return ""

    def _repeated(self) -> str:
        pairs = zip(self._predictions(), self._predictions(), strict=True)
        return "" if all(torch.equal(a, b) for a, b in pairs) else "the two differ"

    def _apart(self) -> str:
        together, alone = self._predictions()[0], self._predictions(slice(0, 1))[0]
        good = torch.allclose(together, alone, rtol=1e-9, atol=1e-12)
        return "" if good else "the first volume is predicted otherwise beside a second one"

    def _gradients(self) -> list[Tensor | None]:
        total = self._total()
        if not total.requires_grad:
            return [None for _ in self.moved]
        return list(torch.autograd.grad(total, self.moved, allow_unused=True))

    def _slope(self) -> str:
        known = [each for each in self._gradients() if each is not None]
        if not known:
            return "the predictions do not depend on the panels, so that no fit can follow them"
        good = all(torch.isfinite(each).all() for each in known)
        return "" if good else "it has NaN or infinite entries"

    def _differences(self) -> str:
        ways = [
            torch.randn(p.shape, generator=stream(1, "way", number), dtype=p.dtype)
            for number, p in enumerate(self.moved)
        ]
        pairs = zip(self._gradients(), ways, strict=True)
        along = sum(float((each * way).sum()) for each, way in pairs if each is not None)
        sides = [self._beside(ways, sign * STEP) for sign in (1.0, -1.0)]
        wanted = (sides[0] - sides[1]) / (2 * STEP)
        good = abs(along - wanted) <= 2e-3 * max(abs(along), abs(wanted), 1e-6)
        return "" if good else f"got {along:.6g} along one direction, differences say {wanted:.6g}"

    def _beside(self, ways: Sequence[Tensor], step: float) -> float:
        """The predictions with all panels a step away."""
        before = [parameter.detach().clone() for parameter in self.moved]
        for parameter, way in zip(self.moved, ways, strict=True):
            parameter.data.add_(step * way)
        value = float(self._total().detach())
        for parameter, old in zip(self.moved, before, strict=True):
            parameter.data.copy_(old)
        return value


class _Here(Exception):  # noqa: N818 - no error
    """Stops an epoch between two updates."""


class CallbackLaws:
    """Of a callback, in a fit of three epochs with two updates each.

    An ``EvalMetric`` sees validation volumes, too, and has laws of its own.

    Args:
        settings: which.
        voxels: the fit predicts radiation lengths of voxels; otherwise one number a volume.
    """

    def __init__(self, settings: OwnCallbackSettings, *, voxels: bool) -> None:
        self.settings = settings
        optimiser: dict[str, OptimiserSettings] = {
            name: SGDSettings(rate=1e-5) for name in ("xy", "z", "side")
        }
        phase = Phase(volumes_per_step=1, callbacks=(settings,))
        self.phase = FitSettings(optimiser=optimiser, phases=(phase,)).phases[0]
        self.inference = VoxelX0Settings() if voxels else PocaZFillLevelSettings()
        self.loss = VoxelX0LossSettings() if voxels else VolumeMSELossSettings(correct=False)
        made = own_class(settings)
        self.is_metric = isinstance(made, type) and issubclass(made, EvalMetric)

    def laws(self) -> Mapping[str, Law]:
        """Sentence -> what breaks it."""
        of_metrics: dict[str, Law] = {
            "its value is a finite number after every epoch": self._valued,
            "a fit goes the same way without it": self._looks,
        }
        return {
            "a fit with it stays finite": self._finite,
            "equal fits with it are equal": self._repeated,
            "what it remembers fits into a checkpoint": self._kept,
            "a fit that is interrupted after each epoch ends with the same bits": self._resumed,
            "a fit that is interrupted within an epoch ends with the same bits": self._halved,
            **(of_metrics if self.is_metric else {}),
            "its settings survive JSON": lambda: same_settings(self.settings),
        }

    def _straight(self, phase: Phase | None = None) -> PhaseFit:
        fit = self._fit(first_tree(WORLD, detector()), new=True, phase=phase)
        self._run(fit, 0)
        for _ in range(2):
            fit.wrapper.fit_epoch()
        return fit

    def _in_pieces(self) -> PhaseFit:
        tree = first_tree(WORLD, detector())
        for epoch in range(3):
            fit = self._epoch(tree, epoch)
            tree = fit.tree()
        return fit

    def _in_halves(self) -> PhaseFit:
        """Every epoch is interrupted after its first update."""
        tree = first_tree(WORLD, detector())

        def stop(_: int, state: Callable[[], Tree]) -> None:
            nonlocal tree
            tree = state()
            raise _Here

        for epoch in range(3):
            with suppress(_Here):
                self._run(self._fit(tree, new=epoch == 0), epoch, stop)
            fit = self._fit(tree, new=False)
            self._run(fit, epoch)
            tree = fit.tree()
        return fit

    def _epoch(self, tree: Tree, epoch: int) -> PhaseFit:
        fit = self._fit(tree, new=epoch == 0)
        self._run(fit, epoch)
        return fit

    def _fit(self, tree: Tree, *, new: bool, phase: Phase | None = None) -> PhaseFit:
        return PhaseFit(tree, phase or self.phase, self.inference, self.loss, 1, new=new)

    def _run(self, fit: PhaseFit, epoch: int, between_steps: BetweenSteps | None = None) -> None:
        valid = passives() if self.is_metric else None
        fit.run(passives(), epoch, 1, new=epoch == 0, between_steps=between_steps, valid=valid)

    def _finite(self) -> str:
        named = self._straight().wrapper.volume.named_parameters()
        bad = [name for name, value in named if not torch.isfinite(value).all()]
        return f"{bad[0]} is not" if bad else ""

    def _repeated(self) -> str:
        return _same_fits(self._straight(), self._straight())

    def _kept(self) -> str:
        encode([each.state_dict() for each in self._straight().callbacks])
        return ""

    def _resumed(self) -> str:
        return _remembered(_same_fits(self._straight(), self._in_pieces()))

    def _halved(self) -> str:
        return _remembered(_same_fits(self._straight(), self._in_halves()))

    def _valued(self) -> str:
        tree = first_tree(WORLD, detector())
        for epoch in range(3):
            tree = self._epoch(tree, epoch).tree()
            for name, about in tree["row"]["metrics"].items():
                if about["value"] is None:
                    return f"{name} has none after epoch {epoch + 1}; set `metric`"
        return ""

    def _looks(self) -> str:
        without = self.phase.model_copy(update={"callbacks": ()})
        return _same_detectors(self._straight(), self._straight(without))


def _remembered(broken: str) -> str:
    return broken and f"{broken}; name in `remembers` what it must not forget"


def _same_fits(one: PhaseFit, other: PhaseFit) -> str:
    states = [encode([each.state_dict() for each in fit.callbacks]) for fit in (one, other)]
    rows = [fit.recorder.row().get("metrics") for fit in (one, other)]
    same = states[0] == states[1] and rows[0] == rows[1]
    return _same_detectors(one, other) or ("" if same else "what it remembers differs")


def _same_detectors(one: PhaseFit, other: PhaseFit) -> str:
    found = dict(other.wrapper.volume.named_parameters())
    differing = [
        name
        for name, value in one.wrapper.volume.named_parameters()
        if not torch.equal(value, found[name])
    ]
    return f"{differing[0]} differs" if differing else ""
