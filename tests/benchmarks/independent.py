"""The ladle once more in plain numpy: nothing of the package but the panels of a detector file.

    python -m tests.benchmarks.independent DETECTOR.yaml ...

Each detector is judged beside human design 2 under both acceptances: with hits that count with the
efficiency of their panels, as in the package; with hits that are really missed; and with a cut in
software on where muons enter and leave, which every design tunes for itself. Muons fly in
steps of a centimetre and are kicked as vectors; lines are fitted panel by panel; uncertainties are
finite differences. So a ratio that comes out here, too, is a property of the geometry.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from tomopt_tasks.config.load import load_detector
from tomopt_tasks.volume.settings import World

Rng = np.random.Generator  # noqa: TID251 - streams of the package are what this must not use
HUMAN = Path(__file__).parents[2] / "data" / "studies" / "detectors" / "baseline_2.yaml"
HEIGHTS = np.array([0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])
LOW, TOP, SKY, CELL = 0.4, 1.4, 1.8, 0.1
STEEL, HOT_STEEL, SLAG, AIR = 0.01782, 0.01991, 0.08211, 303.9
MOMENTUM, MASS = 5.0, 0.1056583755
STEP = 0.01
SIGMA, EFFICIENCY = 1e-4, 0.9
CUTS = (*np.arange(0.2, 0.5001, 0.02), np.inf)
"""How far from the axis a muon may enter and leave the ladle, in x and in y [m]."""


class How(NamedTuple):
    """How muons are counted."""

    policy: str
    missed: bool
    """Whether hits are really missed; else they count with their efficiency."""
    cut: bool
    """Whether software leaves muons far from the axis out, as suits the known ladles best."""


HOWS = tuple(
    How(policy, missed, cut)
    for policy in ("two_each_side", "all_panels")
    for missed, cut in ((False, False), (True, False), (False, True))
)


@dataclass(frozen=True)
class Panel:
    """A square panel [m]."""

    above: bool
    x: float
    y: float
    z: float
    side: float


@dataclass(frozen=True)
class Exposure:
    """Muons of many ladles; the first index is the ladle."""

    height: np.ndarray
    top: np.ndarray
    """x, y and both slopes where the muon enters; slopes per unit of depth."""
    bottom: np.ndarray
    """The same where it leaves."""


class Points(NamedTuple):
    """Accepted muons of one ladle."""

    z: np.ndarray
    sigma: np.ndarray
    weight: np.ndarray
    """All factors but that of sigma."""
    off_centre: np.ndarray
    """Largest distance of entry and exit from the axis, in x or y [m]."""


def panels_of(file: Path | str) -> list[Panel]:
    """The panels of a detector file."""
    design = load_detector(Path(file), World())
    return [
        Panel(layer.pos == "above", *panel.xy, panel.z, panel.span[0])
        for layer in design.layers
        for panel in layer.panels
    ]


def expose(per_height: int, n_muons: int, seed: int) -> Exposure:
    """Irradiate ladles of all heights.

    Args:
        per_height: ladles of each height.
        n_muons: muons whose straight line meets the ladle, for each ladle.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)  # noqa: TID251
    height = np.repeat(HEIGHTS, per_height)
    top = np.stack([aimed(n_muons, rng) for _ in height])
    parts = [fly(top[i : i + 20], height[i : i + 20], rng) for i in range(0, len(height), 20)]
    return Exposure(height, top, np.concatenate(parts))


def aimed(n_muons: int, rng: Rng) -> np.ndarray:
    """Muons at the top of the ladle: x, y, slopes; by rejection."""
    reach = 1.0 + math.tan(math.pi / 12) * (SKY - LOW + CELL)
    found = np.empty((0, 4))
    while len(found) < n_muons:
        n = 4 * n_muons
        zenith = rng.uniform(0, math.radians(70), n)
        cos = np.cos(zenith)
        distance = np.sqrt((174 * cos) ** 2 + 2 * 174 + 1) - 174 * cos
        kept = rng.uniform(0, 0.5, n) < cos * np.sin(zenith) / distance**2
        tan, azimuth = np.tan(zenith), rng.uniform(0, 2 * math.pi, n)
        slope = np.stack([tan * np.cos(azimuth), tan * np.sin(azimuth)], 1)
        start = rng.uniform(1 - reach, reach, (n, 2))
        # where the line is inside [0, 1) in x and in y, as a range of depths below the top
        entry = start + (SKY - TOP) * slope
        with np.errstate(divide="ignore"):
            edges = np.stack([-entry / slope, (1 - entry) / slope])
        first = edges.min(0).max(1).clip(0, None)
        last = edges.max(0).min(1).clip(None, TOP - LOW)
        found = np.concatenate([found, np.hstack([entry, slope])[kept & (first < last)]])
    return found[:n_muons]


def fly(top: np.ndarray, height: np.ndarray, rng: Rng) -> np.ndarray:
    """Muons through their ladles, a step of depth at a time; x, y, slopes at the bottom."""
    position = top[..., :2].copy()
    direction = np.concatenate([top[..., 2:], np.full((*top.shape[:2], 1), 1.0)], -1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    matter = np.zeros(top.shape[:2])
    for k in range(round((TOP - LOW) / STEP)):
        half = direction[..., :2] / direction[..., 2:] * (STEP / 2)
        position += half
        z = TOP - (k + 0.5) * STEP
        more = matter + STEP / direction[..., 2] / radiation_length(position, z, height)
        angle = np.sqrt(np.maximum(width2(more) - width2(matter), 0))
        matter = more
        direction = kicked(direction, angle[..., None] * rng.normal(size=(*angle.shape, 2)))
        position += direction[..., :2] / direction[..., 2:] * (STEP / 2)
    return np.concatenate([position, direction[..., :2] / direction[..., 2:]], -1)


def radiation_length(position: np.ndarray, z: float, height: np.ndarray) -> np.ndarray:
    """X0 [m] at a height: floor and walls, hot steel, slag, air; air beside the ladle."""
    inner = np.where(z < height, HOT_STEEL, np.where(z < height + CELL, SLAG, AIR))
    if z < LOW + CELL:
        inner = np.full_like(inner, STEEL)
    x0 = np.broadcast_to(inner[:, None], position.shape[:2])
    wall = ((position < CELL) | (position >= 1 - CELL)).any(-1)
    outside = ((position < 0) | (position >= 1)).any(-1)
    return np.where(outside, AIR, np.where(wall, STEEL, x0))


def width2(n: np.ndarray) -> np.ndarray:
    """Squared Highland width behind n radiation lengths."""
    beta2 = MOMENTUM**2 / (MOMENTUM**2 + MASS**2)
    log = 1 + 0.038 * np.log(np.maximum(n, 1e-300) / beta2)
    return (0.0136 / MOMENTUM) ** 2 / beta2 * n * np.maximum(log, 0) ** 2


def kicked(direction: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Unit vectors turned by small angles about two axes normal to them."""
    helper = np.where(np.abs(direction[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    one = np.cross(direction, helper)
    one /= np.linalg.norm(one, axis=-1, keepdims=True)
    other = np.cross(direction, one)
    turned = direction + np.tan(angle[..., :1]) * one + np.tan(angle[..., 1:]) * other
    return turned / np.linalg.norm(turned, axis=-1, keepdims=True)


def track(
    line: np.ndarray, z_line: float, panels: Sequence[Panel], seen: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least squares through the hits that are there: x, y, slopes at z_line, and covariance."""
    depth = np.array([z_line - panel.z for panel in panels])
    hits = line[:, None, :2] + depth[:, None] * line[:, None, 2:] + SIGMA * noise
    n = seen.sum(1)
    mean = (seen * depth).sum(1) / n
    lever = seen * (depth - mean[:, None])
    spread = (lever**2).sum(1)
    slope = (lever[..., None] * hits).sum(1) / spread[:, None]
    at = (seen[..., None] * hits).sum(1) / n[:, None] - slope * mean[:, None]
    cov = SIGMA**2 * np.stack([1 / n + mean**2 / spread, -mean / spread, 1 / spread], 1)
    return np.hstack([at, slope]), cov


def meeting(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Middle of the shortest connection of two lines given at depth zero; x, y, depth."""
    u = np.hstack([first[:, 2:], np.ones((len(first), 1))])
    v = np.hstack([second[:, 2:], np.ones((len(first), 1))])
    w = np.hstack([second[:, :2] - first[:, :2], np.zeros((len(first), 1))])
    uu, vv, uv = (u * u).sum(1), (v * v).sum(1), (u * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    determinant = uu * vv - uv * uv
    t = (uw * vv - vw * uv) / determinant
    s = (uw * uv - vw * uu) / determinant
    start = np.hstack([first[:, :2], np.zeros((len(first), 1))])
    return start + 0.5 * (t[:, None] * u + w + s[:, None] * v)


def reconstruct(
    top: np.ndarray, bottom: np.ndarray, panels: Sequence[Panel], how: How, rng: Rng
) -> Points:
    """Where the accepted muons of one ladle seem to have scattered."""
    chance = np.ones(len(top))
    every = np.ones(len(top), dtype=bool)
    sides = []
    for above, line, z_line in ((True, top, TOP), (False, bottom, LOW)):
        side = [panel for panel in panels if panel.above == above]
        seen = np.stack([hit(line, z_line, panel) for panel in side], 1)
        if how.missed:
            seen &= rng.random(seen.shape) < EFFICIENCY
        efficiency = np.where(seen, 1.0 if how.missed else EFFICIENCY, 0.0)
        chance *= probability(efficiency, how.policy)
        every &= seen.sum(1) >= (len(side) if how.policy == "all_panels" else 2)
        sides.append((line, z_line, side, seen, rng.normal(size=(len(top), len(side), 2))))
    tracks = [
        track(line[every], z_line, side, seen[every], noise[every])
        for line, z_line, side, seen, noise in sides
    ]
    (first, _), (second, _) = tracks
    off_centre = np.abs(np.hstack([first[:, :2], second[:, :2]]) - 0.5).max(1)
    second = np.hstack([second[:, :2] - (TOP - LOW) * second[:, 2:], second[:, 2:]])
    point = meeting(first, second)
    sigma = uncertainty(first, second, [covariance for _, covariance in tracks])
    weight = chance[every] * central(point[:, 0], sigma[:, 0]) * central(point[:, 1], sigma[:, 1])
    return Points(TOP - point[:, 2], sigma[:, 2], weight, off_centre)


def level(points: Points, cut: float) -> float:
    """Fill level of one ladle [m], not yet calibrated, from muons that enter and leave within."""
    kept = points.off_centre <= cut
    if kept.sum() < 2:
        return float("nan")
    z, sigma, weight = points.z[kept], points.sigma[kept], points.weight[kept]
    weight = weight / sigma.clip(quantile(sigma, 0.15865), quantile(sigma, 0.84135)) ** 2
    weight = np.minimum(weight, quantile(weight, 0.84135))
    return float((weight * z).sum() / weight.sum())


def hit(line: np.ndarray, z_line: float, panel: Panel) -> np.ndarray:
    """Whether muons cross a panel."""
    at = line[:, :2] + (z_line - panel.z) * line[:, 2:]
    return (np.abs(at - [panel.x, panel.y]) <= panel.side / 2).all(1)


def probability(efficiency: np.ndarray, policy: str) -> np.ndarray:
    """Of all hits, or of at least two, by the sum over patterns of misses."""
    if policy == "all_panels":
        return efficiency.prod(1)
    none = (1 - efficiency).prod(1)
    others = [np.delete(1 - efficiency, k, 1).prod(1) for k in range(efficiency.shape[1])]
    return 1 - none - (efficiency * np.stack(others, 1)).sum(1)


def uncertainty(
    first: np.ndarray, second: np.ndarray, covariances: Sequence[np.ndarray]
) -> np.ndarray:
    """Standard deviation of the meeting point, from central differences [m]."""
    variance = np.zeros((len(first), 3))
    lines = [first, second]
    drop = TOP - LOW
    for which in (0, 1):
        var_at, cov, var_slope = covariances[which].T
        if which == 1:  # referred to depth zero, as the lines are
            var_at = var_at - 2 * drop * cov + drop**2 * var_slope
            cov = cov - drop * var_slope
        for axis in (0, 1):
            by = []
            for column, size in ((axis, 1e-6), (axis + 2, 1e-6)):
                moved = [
                    meeting(*(m + s * size * np.eye(4)[column] * (i == which)
                              for i, m in enumerate(lines)))
                    for s in (1, -1)
                ]  # fmt: skip
                by.append((moved[0] - moved[1]) / (2 * size))
            at, slope = by
            variance += at**2 * var_at[:, None] + slope**2 * var_slope[:, None]
            variance += 2 * at * slope * cov[:, None]
    return np.sqrt(variance)


def central(position: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Mean of the weight of the cells, over where the point may be along one axis."""
    edges = np.arange(11) * CELL
    offset = np.abs((edges[:-1] + CELL / 2) - 0.5) / 0.5
    response = (1 / (1 + np.exp(offset - 1))) / (1 / (1 + math.exp(-1)))
    below = 0.5 * erf((edges - position[:, None]) / (math.sqrt(2) * (sigma[:, None] + 1e-7)))
    return np.diff(below, axis=1) @ (2 * response - 1)


def quantile(values: np.ndarray, q: float) -> float:
    """An order statistic."""
    return float(np.sort(values)[round(q * (len(values) - 1))])


def errors(
    design: Sequence[Panel], known: Exposure, judged: Exposure, how: How
) -> tuple[np.ndarray, float]:
    """Squared error of each judged ladle [m2], and the cut.

    Line and cut are those that suit the known ladles best.
    """
    rng = np.random.default_rng(13)  # noqa: TID251
    seen, judging = (
        [
            reconstruct(top, bottom, design, how, rng)
            for top, bottom in zip(exposure.top, exposure.bottom, strict=True)
        ]
        for exposure in (known, judged)
    )
    tried = {cut: calibrated(seen, known.height, cut) for cut in (CUTS if how.cut else (np.inf,))}
    cut = min(tried, key=lambda c: tried[c][1])
    slope, intercept = tried[cut][0]
    raw = np.array([level(points, cut) for points in judging])
    return (slope * raw + intercept - judged.height) ** 2, cut


def calibrated(
    ladles: Sequence[Points], height: np.ndarray, cut: float
) -> tuple[tuple[float, float], float]:
    """Slope and intercept of the best line, and the error that it leaves."""
    raw = np.array([level(points, cut) for points in ladles])
    if np.isnan(raw).any():
        return (0.0, 0.0), math.inf
    slope, intercept = np.polyfit(raw, height, 1)
    return (slope, intercept), float(np.mean((slope * raw + intercept - height) ** 2))


def ratio(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Ratio of two mean squared errors with a 95 % interval, paired over ladles."""
    rng = np.random.default_rng(seed)  # noqa: TID251
    pick = rng.integers(0, len(one), (2000, len(one)))
    low, high = np.quantile(one[pick].mean(1) / other[pick].mean(1), [0.025, 0.975])
    return float(one.mean() / other.mean()), float(low), float(high)


def rows(designs: Mapping[str, Path], per_height: int, n_muons: int, seed: int) -> Iterator[str]:
    """One line a design, acceptance, kind of hits and cut."""
    known, judged = (expose(per_height, n_muons, each) for each in (seed, seed + 1))
    yield f"{'design':<34} {'acceptance':<14} {'hits':<9} {'cut [m]':>7} {'MSE [m2]':>9} ratio 95 %"
    for how in HOWS:
        human, _ = errors(panels_of(HUMAN), known, judged, how)
        for name, file in designs.items():
            found, cut = errors(panels_of(file), known, judged, how)
            hits = "missed" if how.missed else "weighted"
            shown = f"{cut:.3f}" if how.cut else "-"
            result = "a ladle without muons"
            if np.isfinite(found).all():
                value, low, high = ratio(found, human)
                result = f"{found.mean():9.2e} {value:.3f} {low:.3f} to {high:.3f}"
            yield f"{name:<34} {how.policy:<14} {hits:<9} {shown:>7} {result}"


def main() -> None:
    """Judge detector files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detectors", nargs="+", type=Path)
    parser.add_argument("--per-height", type=int, default=100)
    parser.add_argument("--muons", type=int, default=1000)
    parser.add_argument(
        "--seed",
        type=int,
        default=11,
        help="of the ladles that are known; the next one is that of those that are judged",
    )
    asked = parser.parse_args()
    designs = {"human design 2": HUMAN} | {file.stem: file for file in asked.detectors}
    for line in rows(designs, asked.per_height, asked.muons, asked.seed):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
