"""One muon: its hits, the fitted tracks and their point of closest approach (spec 5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.detectors.hits import Hits, Lines, true_positions
from tomopt_tasks.inference.scatters import ScatterBatch, SideRecord
from tomopt_tasks.inference.tracks import Tracks
from tomopt_tasks.plotting.appearance import LBL_SZ, LEG_SZ, category_colour, styled
from tomopt_tasks.plotting.figures import finish, new_figure

_PLANES = ((0, 2), (1, 2), (0, 1))
_AXES = "xyz"


@dataclass(frozen=True, slots=True)
class _Side:
    """Hits and track of one side; the track is drawn as far as ``z_end``."""

    name: str
    colour: Any
    record: SideRecord
    track: Tracks
    z_end: float


@styled
def plot_scatter_event(
    scatters: ScatterBatch,
    idx: int,
    savename: str | Path | None = None,
) -> Figure:
    """Views of one kept muon in the planes xz, yz and xy.

    Args:
        scatters: a ``ScatterBatch``.
        idx: which of its kept muons; 0 to ``len(scatters) - 1``.
        savename: where to save the figure; None: nowhere.

    Raises:
        IndexError: there is no such muon.
    """
    if not 0 <= idx < len(scatters):
        raise IndexError(f"idx = {idx}, but the batch holds {len(scatters)} kept muons, from 0 on")
    row = int(torch.nonzero(scatters.valid)[idx, 0])
    z_low, z_high = (float(z) for z in scatters.volume.get_passive_z_range())
    sides = (
        _Side("in", category_colour(0), scatters.above, scatters.tracks_in, z_low),
        _Side("out", category_colour(1), scatters.below, scatters.tracks_out, z_high),
    )
    poca = [part[row].detach().tolist() for part in (scatters.poca.xyz, scatters.poca.sigma)]
    figure = new_figure((12, 4))
    axes = figure.subplots(1, 3)
    for axis, plane in zip(axes, _PLANES, strict=True):
        for side in sides:
            _draw_side(axis, plane, row, side)
        _draw_poca(axis, plane, *poca)
        for set_label, k in ((axis.set_xlabel, plane[0]), (axis.set_ylabel, plane[1])):
            set_label(f"{_AXES[k]} [m]", fontsize=0.6 * LBL_SZ)
        axis.tick_params(labelsize=0.5 * LBL_SZ)
    axes[0].legend(fontsize=0.5 * LEG_SZ)
    figure.suptitle(_angles(scatters, idx), fontsize=0.5 * LBL_SZ)
    return finish(figure, savename)


def measured(lines: Lines, hits: Hits, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and uncertainties of the hits that one muon left [m], both (hit, 3)."""
    z = lines.z - hits.depth
    xy = (true_positions(lines, z) + hits.residual)[row]
    xyz = torch.cat([xy, z[:, None]], 1)[hits.present[row]]
    sigma = torch.cat([hits.sigma[row], torch.zeros_like(z)[:, None]], 1)[hits.present[row]]
    return xyz.detach().cpu().numpy(), sigma.detach().cpu().numpy()


def _draw_side(axis: Axes, plane: tuple[int, int], row: int, side: _Side) -> None:
    across, up = plane
    xyz, sigma = measured(side.record.lines, side.record.hits, row)
    axis.errorbar(
        xyz[:, across], xyz[:, up], xerr=sigma[:, across], yerr=sigma[:, up],
        fmt="o", ms=4, color=side.colour, label=f"hits, track {side.name}",
    )  # fmt: skip
    ends = (float(xyz[:, 2].max()), float(xyz[:, 2].min()), side.z_end)
    line = np.array([[*side.track.at(z).offset[row].tolist(), z] for z in sorted(ends)])
    axis.plot(line[:, across], line[:, up], color=side.colour, lw=1)


def _draw_poca(
    axis: Axes, plane: tuple[int, int], xyz: Sequence[float], sigma: Sequence[float]
) -> None:
    across, up = plane
    axis.errorbar(
        xyz[across], xyz[up], xerr=sigma[across], yerr=sigma[up],
        fmt="*", ms=9, color="black", label="closest approach",
    )  # fmt: skip


def _angles(scatters: ScatterBatch, idx: int) -> str:
    """The angles of the muon in one line."""

    def numbers(name: str, scale: float, digits: int) -> str:
        values = getattr(scatters, name)[idx].detach()
        return ", ".join(f"{scale * float(value):.{digits}f}" for value in values)

    zenith = {
        "theta_xy_in": r"$\theta_{x,y}$ in",
        "theta_xy_out": "out",
        "dtheta_xy": r"$\Delta\theta_{x,y}$",
    }
    azimuth = {"phi_in": r"$\phi$ in", "phi_out": "out", "dphi": r"$\Delta\phi$"}
    parts = [f"{label} {numbers(name, 1e3, 2)} mrad" for name, label in zenith.items()]
    parts += [f"{label} {numbers(name, 1.0, 4)} rad" for name, label in azimuth.items()]
    return " · ".join(parts)
