"""Heat maps from their settings, and what is to be kept of them as plain numbers."""

from typing import Any

import torch

from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.settings import PanelSettings


def build_heat_map(panel: PanelSettings, dtype: torch.dtype) -> DetectorHeatMap:
    """The heat map of a study, with every number exact."""
    half = 0.5 * panel.span[0]
    n_cluster = panel.n_cluster if panel.mixture is None else len(panel.mixture.mu)
    built = DetectorHeatMap(
        res=panel.resolution,
        eff=panel.efficiency,
        init_xyz=(*panel.xy, panel.z),
        init_xy_span=(-half, half),
        m2_cost=panel.m2_cost,
        n_cluster=n_cluster,
    ).to(dtype)
    with torch.no_grad():  # exact: it is first built in single precision
        built.z.fill_(panel.z)
        built.xy_fix.copy_(torch.tensor(panel.xy, dtype=dtype))
        built.xy_span_fix.copy_(torch.tensor((-half, half), dtype=dtype))
        built.resolution.fill_(panel.resolution)
        built.efficiency.fill_(panel.efficiency)
        built.m2_cost.fill_(panel.m2_cost)
        if panel.mixture is not None:
            built.mu.copy_(torch.tensor(panel.mixture.mu, dtype=dtype))
            built.sig.copy_(torch.tensor(panel.mixture.sig, dtype=dtype))
            built.norm.fill_(panel.mixture.norm)
    return built


@torch.no_grad()
def heat_map_row(panel: DetectorHeatMap) -> dict[str, Any]:
    """Plain numbers of a heat map: xy, span and area stand for what a panel has in their place.

    ``xy`` is the mean centre, ``span`` two standard deviations of the whole mixture to each side,
    ``area`` the mean area of a Gaussian, which is what the cost is made of (all in m and m2);
    ``square`` is where the first centres were drawn, ``mixture`` what it has become.
    """
    mean = panel.mu.mean(0)
    variance = (panel.sig**2 + (panel.mu - mean) ** 2).mean(0)
    return {
        "kind": "heat_map",
        "xy": mean.tolist(),
        "span": (4.0 * variance.sqrt()).tolist(),
        "area": float(panel.sig.prod(-1).mean()),
        "square": {"xy": panel.xy_fix.tolist(), "side": float(panel.xy_span_fix.diff())},
        "mixture": {
            "mu": panel.mu.tolist(),
            "sig": panel.sig.tolist(),
            "norm": float(panel.norm),
        },
    }
