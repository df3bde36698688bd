"""What an epoch leaves in its row of the history, and a prediction beside its numbers."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback, detector_panels
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.callbacks.nonfinite import GradientRecord
from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.heatmap_build import heat_map_row
from tomopt_tasks.inference.settings import InferenceSettings, judged_by_density, predicted
from tomopt_tasks.materials import find_material
from tomopt_tasks.utils import x0targs_to_classtargs

HARDLY = 0.1
"""Part of the best chance of acceptance below which a heat map counts as not seeing a muon."""


class EpochRow(Callback):
    """Collects the numbers of one training epoch; part of the state in the middle of one only."""

    remembers: ClassVar[tuple[str, ...]] = (
        "losses", "accepted", "grad_norms", "budget_slopes", "height_slopes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.accepted: list[float] = []
        self.grad_norms: dict[str, list[float]] = {}
        self.budget_slopes: list[float] = []
        self.height_slopes: list[list[float]] = []
        self.skipped = 0
        self.valid: float | None = None

    def on_scatter_end(self) -> None:
        """Mean acceptance of the muons of each volume."""
        if self.fit_params.state == "train":
            batch = self.fit_params.sb
            per_volume = batch.accepted.detach().view(batch.n_volumes, -1)
            means = per_volume.mean(1).tolist()
            before = batch.mu.first  # muons of the same volume in earlier pieces
            if before:
                here = per_volume.shape[1]
                means = [(self.accepted.pop() * before + means[0] * here) / (before + here)]
            self.accepted += means

    def on_volume_batch_end(self) -> None:
        """Loss of the validation volumes, which are one batch."""
        loss = self.fit_params.mean_loss
        if self.fit_params.state == "valid" and loss is not None:
            self.valid = float(loss.detach().sum())

    def on_epoch_end(self) -> None:
        """How many training volumes gave no prediction."""
        if self.fit_params.state == "train":
            self.skipped = self.fit_params.n_skipped

    def on_backwards_end(self) -> None:
        """Loss of the batch and the norm of the gradient of every optimiser."""
        loss = self.fit_params.mean_loss
        if loss is not None:
            self.losses.append(float(loss.detach().sum()))
        for name, opt in self.attached.opts.items():
            squares = [
                float((p.grad.detach() ** 2).sum())
                for group in opt.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
            self.grad_norms.setdefault(name, []).append(sum(squares) ** 0.5)
        self._note_slopes()

    def _note_slopes(self) -> None:
        """Derivatives of the loss by the budget and by the height of each panel, if it has them."""
        volume = self.attached.volume
        panels = detector_panels(volume.get_detectors())
        heights = [panel.z.grad for panel in panels]
        if all(grad is not None for grad in heights):
            self.height_slopes.append([float(grad) for grad in heights])
        budget = volume.budget
        if budget is not None and budget.grad is not None:
            self.budget_slopes.append(float(budget.grad))
            budget.grad = None  # no optimiser clears it

    def _finite_valid(self) -> float | None:
        return self.valid if self.valid is not None and math.isfinite(self.valid) else None

    def _metrics(self) -> dict[str, Any]:
        """Name of each metric -> its value, whether less is better, and whether it is the main."""
        found = {}
        for metric in self.fit_params.metric_cbs or ():
            assert isinstance(metric, EvalMetric)
            value = _number(metric)
            found[metric.name] = {
                "value": value if value is not None and math.isfinite(value) else None,
                "lower_is_better": bool(metric.lower_metric_better),
                "main": bool(metric.main_metric),
            }
        return {"metrics": found} if found else {}

    def row(self) -> dict[str, Any]:
        """The row, in JSON types."""
        wrapper = self.attached
        panels = detector_panels(wrapper.get_detectors())
        records = [cb for cb in self.fit_params.cbs or () if isinstance(cb, GradientRecord)]
        nonfinite = {"nonfinite": [line for each in records for line in each.explain()]}
        return {
            **(nonfinite if records else {}),
            "loss": _mean(self.losses),
            "acceptance": _mean(self.accepted),
            "budget_slope": _mean(self.budget_slopes),
            "height_slopes": [_mean(list(each)) for each in zip(*self.height_slopes, strict=True)],
            "skipped_volumes": self.skipped,
            **({} if self.fit_params.val_passives is None else {"valid": self._finite_valid()}),
            **self._metrics(),
            "stopped": bool(self.fit_params.stop),
            "searching": bool(self.fit_params.skip_opt_step),
            "rates": {name: wrapper.get_opt_lr(name) for name in wrapper.opts},
            "grad_norms": {name: _mean(values) for name, values in self.grad_norms.items()},
            "smooth": _smooth(panels[0]),
            "geometry": geometry(wrapper.volume),
        }


class PredictionRecord(Callback):
    """Predictions of banked volumes, with counts and a map of the accepted muons.

    Args:
        n_cells: cells of the map along x and along y, over [-0.5, 1.5] times the width.
        inference: says whether predictions are numbers, or radiation lengths or classes of voxels;
            None: numbers.
    """

    def __init__(self, n_cells: int = 40, *, inference: InferenceSettings | None = None) -> None:
        self.n_cells = n_cells
        self.predicts = "number" if inference is None else predicted(inference)
        self.density = inference is not None and judged_by_density(inference)
        names = getattr(inference, "materials", ()) if self.predicts == "voxel_class" else ()
        self.classes = {find_material(name).x0: i for i, name in enumerate(names)}
        self.grids: list[Tensor] = []
        self.predictions: list[float] = []
        self.accepted: list[Tensor] = []
        self.used: list[Tensor] = []
        self.accepted_map = torch.zeros(n_cells, n_cells, dtype=torch.int64)
        self.track_accepted: Tensor | None = None

    def on_scatter_end(self) -> None:
        """Count the muons of the scan and enter the accepted ones into the map."""
        batch = self.fit_params.sb
        accepted = _seen(batch)
        per_volume = (batch.n_volumes, -1)
        for noted, seen in ((self.accepted, accepted), (self.used, batch.valid)):
            count = seen.view(per_volume).sum(1).cpu()
            noted.append(count + noted.pop() if batch.mu.first else count)
        if self.track_accepted is None:
            self.track_accepted = accepted.cpu()
        z_low, z_high = (float(z) for z in batch.volume.get_passive_z_range())
        lines = batch.above.lines
        middle = lines.offset + (lines.z - 0.5 * (z_low + z_high)) * lines.slope
        cell = torch.floor((middle / batch.volume.lw + 0.5) * (self.n_cells / 2)).long()
        on_map = accepted & ((cell >= 0) & (cell < self.n_cells)).all(1)
        flat = cell[on_map, 0] * self.n_cells + cell[on_map, 1]
        counts = torch.bincount(flat, minlength=self.n_cells**2)
        self.accepted_map += counts.view(self.n_cells, self.n_cells).cpu()

    def on_x0_pred_end(self) -> None:
        """Note the prediction; NaN where no muon was accepted.

        Of radiation lengths, the grid is kept and the root of its mean squared error is noted [m],
        or that of their inverses [1/m]; where there is none, that of a grid of zeros. Of classes,
        the grid of the likeliest is kept and the root of the share of wrong ones is noted; where
        there is none, all are wrong.
        """
        pred, volume = self.fit_params.pred, self.attached.volume
        if self.predicts == "number":
            self.predictions.append(float("nan") if pred is None else float(pred.reshape(-1)[0]))
            return
        truth = volume.get_rad_cube()
        if self.predicts == "voxel_class":
            true = x0targs_to_classtargs(truth.double(), self.classes)
            found = torch.full_like(true, torch.nan)
            if pred is not None:
                found = pred.detach().reshape(len(self.classes), -1).argmax(0).view(true.shape)
            self.grids.append(found.to(true).cpu())
            self.predictions.append(float((found != true).double().mean().sqrt()))
            return
        grid = torch.zeros_like(truth) if pred is None else pred.detach()
        if self.density:
            density = torch.zeros_like(truth) if pred is None else 1.0 / grid
            self.grids.append(grid if pred is not None else torch.full_like(truth, torch.nan))
            self.predictions.append(float(((density - 1.0 / truth) ** 2).mean().sqrt()))
            return
        matter = torch.isfinite(truth)
        unseen = torch.full_like(truth, torch.nan)
        self.grids.append((unseen if pred is None else grid).cpu())
        self.predictions.append(float(((grid - truth)[matter] ** 2).mean().sqrt()))

    def get_preds(self) -> Tensor:
        """One prediction a volume."""
        return torch.tensor(self.predictions, dtype=torch.float64)


def geometry(volume: Any) -> list[dict[str, Any]]:
    """Where the panels are and how large: name, pos, xy, z, span [m], area [m2]."""
    rows = []
    for layer in volume.get_detectors():
        for index, panel in enumerate(layer.panels):
            rows.append(
                {
                    "name": f"{layer.pos}[{index}]",
                    "pos": layer.pos,
                    "z": float(panel.z.detach()),
                    **_shape(panel),
                    "resolution": float(panel.resolution),
                    "efficiency": float(panel.efficiency),
                    "m2_cost": float(panel.m2_cost),
                    **({"missed_hits": True} if getattr(panel, "missed_hits", False) else {}),
                }
            )
    return rows


def _seen(batch: Any) -> Tensor:
    """Muons that the detector sees; a heat map sees the others, too, but hardly ever."""
    chance = batch.accepted.detach()
    maps = any(layer.type_label == "heatmap" for layer in batch.volume.get_detectors())
    seen: Tensor = chance > (HARDLY * chance.max() if maps and len(chance) else 0)
    return seen


def _shape(panel: Any) -> dict[str, Any]:
    """Centre, widths and area of a panel; see ``heat_map_row`` for those of a heat map."""
    if isinstance(panel, DetectorHeatMap):
        return heat_map_row(panel)
    span = panel.get_scaled_xy_span().detach()
    return {
        "xy": panel.xy.detach().tolist(),
        "span": span.tolist(),
        "area": float(span.prod()),
    }


def _number(metric: EvalMetric) -> float | None:
    """The value of a metric.

    Raises:
        UserError: it is no number.
    """
    value: Any = metric.get_metric()
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        text = f"the metric {metric.name} gave {value!r:.40}, which is no number; set a float"
        raise UserError(text) from error


def _smooth(panel: Any) -> float | None:
    return float(panel.smooth) if hasattr(panel, "smooth") else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
