"""The passive volume and what is in it, as boxes in mm, for every picture of the detector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopt_tasks.reports.data import scene_of

MM = 1000.0
"""mm per m."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box [mm]; ``role`` says how it is drawn."""

    role: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands between the panels; all lengths in mm."""

    side: tuple[float, float]
    bottom: float
    top: float
    height: float
    """Top of the world."""
    boxes: tuple[Box, ...]
    levels: tuple[float, float] | None
    """Lowest and highest surface of the bath, if it is a ladle."""


def scene_in_mm(study: Mapping[str, Any]) -> Scene:
    """Read world and scene of a study; the ladle is drawn half way between its fill heights."""
    world = study["world"]
    side = (MM * world["size"][0], MM * world["size"][1])
    bottom, top = (MM * float(z) for z in world["passive"])
    height = MM * float(world.get("height") or world["passive"][1] + world["passive"][0])
    scene = scene_of(study)
    heights = [MM * float(value) for value in scene.get("heights") or ()]
    if scene.get("kind") != "ladle_furnace" or not heights:
        return Scene(side, bottom, top, height, (), None)
    voxel = MM * float(world["voxel"])
    slag = MM * float(scene.get("slag", 0.1))
    levels = (min(heights), max(heights))
    boxes = _ladle(side, bottom, top, voxel, (sum(levels) / 2, slag))
    return Scene(side, bottom, top, height, boxes, levels)


def _ladle(
    side: tuple[float, float], bottom: float, top: float, wall: float, fill: tuple[float, float]
) -> tuple[Box, ...]:
    """Floor, four walls, bath and slag; walls and floor are one voxel thick."""
    (x1, y1), floor, (level, slag) = side, bottom + wall, fill
    inside = (wall, wall), (x1 - wall, y1 - wall)
    surface = min(level + slag, top)
    return (
        Box("steel", (0, 0, bottom), (x1, y1, floor)),
        Box("steel", (0, 0, floor), (wall, y1, top)),
        Box("steel", (x1 - wall, 0, floor), (x1, y1, top)),
        Box("bath", (*inside[0], floor), (*inside[1], level)),
        Box("slag", (*inside[0], level), (*inside[1], surface)),
    )


def tracks_in_mm(track: np.ndarray, scene: Scene) -> np.ndarray:
    """Corner points of tracks: top of the world, top and bottom of the volume, ground.

    Returns:
        [track, 4, (x, y, z)] in mm.
    """
    path = np.empty((track.shape[0], 4, 3))
    path[:, :, 2] = (scene.height, scene.top, scene.bottom, 0.0)
    for axis in (0, 1):
        enter, leave = MM * track[:, axis], MM * track[:, 4 + axis]
        path[:, 0, axis] = enter - (scene.height - scene.top) * track[:, 2 + axis]
        path[:, 1, axis] = enter
        path[:, 2, axis] = leave
        path[:, 3, axis] = leave + scene.bottom * track[:, 6 + axis]
    return path
