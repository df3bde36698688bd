"""The detector in space: a light SVG that a reader can turn, drawn here from one side already."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.reports.scene import MM, Box, Scene, tracks_in_mm

YAW, PITCH = 0.55, 0.28
"""First point of view [rad]; the script of the page starts from the same."""

_TRACKS = 10
Corner = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A polygon or a line in space [mm], and what it is."""

    role: str
    corners: tuple[Corner, ...]
    title: str = ""


def detector_faces(
    scene: Scene, geometry: Sequence[Mapping[str, Any]], predictions: Predictions | None = None
) -> list[Face]:
    """The passive volume, what is in it, the panels and some accepted tracks."""
    faces = [face for box in scene.boxes if box.role != "steel" for face in _sides(box)]
    outline = Box("volume", (0, 0, scene.bottom), (*scene.side, scene.top))
    faces += _edges(outline)
    faces += [_panel(panel) for panel in geometry]
    if predictions is not None:
        path = tracks_in_mm(predictions.track[predictions.track_accepted][:_TRACKS], scene)
        faces += [Face("track", tuple(map(_corner, points))) for points in path]
    return faces


def solid_svg(faces: Sequence[Face], scene: Scene, *, colour: str, alt: str) -> str:
    """Faces as SVG, the far ones first; each keeps its corners for the script that turns it.

    Args:
        faces: in mm.
        scene: gives the point that stays in the middle.
        colour: of the panels, a CSS colour.
        alt: what the picture shows, in words.
    """
    centre = (scene.side[0] / 2, scene.side[1] / 2, scene.height / 2)
    reach = 0.5 * math.hypot(1.5 * max(scene.side), scene.height)
    drawn = sorted(
        ((project(np.array(face.corners) - centre), face) for face in faces),
        key=lambda pair: -float(pair[0][:, 2].mean()),
    )
    body = "".join(_element(points, face, centre) for points, face in drawn)
    box = f"{-reach:.0f} {-reach:.0f} {2 * reach:.0f} {2 * reach:.0f}"
    return (
        f'<svg class="solid" viewBox="{box}" role="img" aria-label="{escape(alt)}" '
        f'style="--panel:{colour}">{body}</svg>'
    )


def project(points: np.ndarray, yaw: float = YAW, pitch: float = PITCH) -> np.ndarray:
    """Orthographic view from the front, turned by yaw about z and seen from above by pitch.

    Args:
        points: [corner, 3] about the centre.
        yaw: [rad].
        pitch: [rad]; positive looks down.

    Returns:
        [corner, (right, down, depth)]; a larger depth is farther away.
    """
    x, y, z = points.T
    right = x * math.cos(yaw) - y * math.sin(yaw)
    away = x * math.sin(yaw) + y * math.cos(yaw)
    down = -z * math.cos(pitch) - away * math.sin(pitch)
    return np.stack([right, down, away * math.cos(pitch) - z * math.sin(pitch)], axis=1)


def _element(points: np.ndarray, face: Face, centre: Corner) -> str:
    flat = " ".join(f"{x:.0f},{y:.0f}" for x, y, _ in points)
    kept = " ".join(
        ",".join(f"{value - middle:.0f}" for value, middle in zip(corner, centre, strict=True))
        for corner in face.corners
    )
    tag = "polygon" if len(face.corners) > 2 and face.role != "track" else "polyline"
    title = f"<title>{escape(face.title)}</title>" if face.title else ""
    return f'<{tag} class="{face.role}" points="{flat}" data-at="{kept}">{title}</{tag}>'


def _panel(panel: Mapping[str, Any]) -> Face:
    (x, y), (dx, dy), z = panel["xy"], panel["span"], panel["z"]
    corners = tuple(
        (MM * (x + i * dx / 2), MM * (y + j * dy / 2), MM * z)
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    )
    title = f"{panel['name']}: z {MM * z:.0f} mm, {MM * dx:.0f} by {MM * dy:.0f} mm"
    return Face("panel", corners, title)


def _vertices(box: Box) -> np.ndarray:
    """[2, 2, 2, 3]: the corners, by low or high x, y and z."""
    grid = np.meshgrid(*zip(box.low, box.high, strict=True), indexing="ij")
    return np.stack(grid, axis=-1)


def _sides(box: Box) -> list[Face]:
    faces = []
    for axis in range(3):
        for end in (0, 1):
            side = np.take(_vertices(box), end, axis=axis)
            loop = (side[0, 0], side[1, 0], side[1, 1], side[0, 1])
            faces.append(Face(box.role, tuple(map(_corner, loop)), box.role))
    return faces


def _edges(box: Box) -> list[Face]:
    corners = _vertices(box)
    edges = []
    for axis in range(3):
        pairs = np.moveaxis(corners, axis, 0).reshape(2, 4, 3)
        edges += [Face(box.role, (_corner(a), _corner(b))) for a, b in zip(*pairs, strict=True)]
    return edges


def _corner(point: np.ndarray) -> Corner:
    x, y, z = (float(value) for value in point)
    return x, y, z
