"""A detector to take away: a table for a Geant4 macro, CSV, and YAML that a study can read."""

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from tomopt_tasks.reports.scene import MM

Geometry = Sequence[Mapping[str, Any]]

_HEADER = ("panel", "x_mm", "y_mm", "z_mm", "half_x_mm", "half_y_mm", "area_m2")
_TRAITS = {
    "kind": "kind",
    "efficiency": "efficiency",
    "m2_cost": "cost",
    "smooth": "smooth",
    "missed_hits": "missed_hits",
}


def detector_table(geometry: Geometry) -> list[dict[str, str]]:
    """One row a panel: centre and half-lengths [mm] and area [m2], to 1 micrometre."""
    rows = []
    for panel in geometry:
        (x, y), (dx, dy) = panel["xy"], panel["span"]
        lengths = [MM * x, MM * y, MM * panel["z"], MM * dx / 2, MM * dy / 2]
        cells = [panel["name"], *(f"{value:.3f}" for value in lengths), f"{dx * dy:.6f}"]
        rows.append(dict(zip(_HEADER, cells, strict=True)))
    return rows


def detector_csv(geometry: Geometry) -> str:
    """The detector table as comma-separated values with a header line."""
    lines = [",".join(_HEADER)]
    lines += [",".join(row.values()) for row in detector_table(geometry)]
    return "\n".join(lines) + "\n"


def detector_yaml(geometry: Geometry, *, comment: str = "") -> str:
    """A detector file as ``detectors: {name: {file: ...}}`` of a study reads it, in m.

    Numbers are written in full, so that the panels come back with the same bits.

    Args:
        geometry: panels with name, pos, xy, z and span; what else they have is kept.
        comment: first lines of the file, for people.
    """
    out = io.StringIO()
    for line in comment.splitlines():
        out.write(f"# {line}".rstrip() + "\n")
    common = _traits(geometry[0]) if geometry else {}
    if common:
        out.write(f"panel: {_flow(common)}\n")
    out.write("groups:\n")
    for name, panels in groupby(geometry, key=_group):
        _write_group(out, name, list(panels))
    others = {panel["name"]: _override(panel, common) for panel in geometry}
    if any(others.values()):
        out.write("panels:\n")
        for name, override in others.items():
            if override:
                out.write(f'  "{name}": {_flow(override)}\n')
    return out.getvalue()


def _write_group(out: io.StringIO, name: str, panels: Geometry) -> None:
    centres, sides = zip(*map(_square, panels), strict=True)
    points = ", ".join(f"[{_number(x)}, {_number(y)}]" for x, y in centres)
    out.write(f"  {name}:\n    pos: {panels[0]['pos']}\n")
    out.write(f"    z: [{', '.join(_number(p['z']) for p in panels)}]\n")
    out.write(f"    xy: [{points}]\n")
    out.write(f"    side: [{', '.join(map(_number, sides))}]\n")


def _square(panel: Mapping[str, Any]) -> tuple[Sequence[float], float]:
    """Centre and side of a panel, or of the square that a heat map began in [m]."""
    square = panel.get("square")
    return (square["xy"], square["side"]) if square else (panel["xy"], panel["span"][0])


def _group(panel: Mapping[str, Any]) -> str:
    return str(panel["name"]).partition("[")[0]


def _traits(panel: Mapping[str, Any]) -> dict[str, Any]:
    """What a panel has besides its place, in the words of the file."""
    traits: dict[str, Any] = {
        word: panel[key] for key, word in _TRAITS.items() if panel.get(key) is not None
    }
    if panel.get("resolution"):
        traits["sigma"] = 1.0 / panel["resolution"]
    return traits


def _override(panel: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """What one panel has otherwise than the first one and than a square of its group."""
    own = {word: value for word, value in _traits(panel).items() if value != common.get(word)}
    if panel.get("mixture"):
        own["mixture"] = panel["mixture"]
    elif panel["span"][0] != panel["span"][1]:
        own["span"] = list(panel["span"])
    return own


def _flow(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in values.items()) + "}"


def _value(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Mapping):
        return _flow(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """Shortest decimal with the same bits, and a point: YAML readers differ on 1e-4."""
    text = repr(float(value))
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{mark}{exponent}"
