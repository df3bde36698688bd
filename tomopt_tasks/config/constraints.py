"""What every detector of a study must keep to."""

from math import sqrt

from tomopt_tasks.config.problems import Problem
from tomopt_tasks.core import Config
from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings
from tomopt_tasks.quantities import Area, NonNegativeLength

SAME = 1e-9
"""Relative difference below which two values count as equal."""


class Constraints(Config):
    """Bounds on all detectors of a study, the compared ones too."""

    area: Area | None = 6.0
    """Area that all panels share [m2]; > 0; sides are start values and are scaled by one factor
    to it, so that each panel keeps its share; null: sides are free and as written."""
    gap: NonNegativeLength = 0.01
    """Smallest distance in z between two panels of a group [m]; >= 0."""


def scale_to_budget(detector: DetectorSettings, constraints: Constraints) -> DetectorSettings:
    """The detector with the study's gap and budget; sides are scaled by one factor to that cost.

    A detector that already costs the budget, to one part in 10^9, keeps its sides bit by bit.

    Raises:
        Problem: panels cost differently, so that an area is no budget.
    """
    detector = detector.model_copy(update={"gap": constraints.gap})
    budget = detector.budget
    if any(panel.kind == "heat_map" for panel in detector.panels):
        if constraints.area is not None or budget is not None:
            text = f"has heat maps, which share no area, but constraints.area is {constraints.area}"
            raise Problem((), f"{text} m2; write constraints: {{area: null}}")
        return detector
    if constraints.area is not None:
        prices = {panel.m2_cost for panel in detector.panels}
        if len(prices) > 1:
            raise Problem(
                (),
                f"has panels that cost {min(prices):g} and {max(prices):g} / m2, but "
                "constraints.area needs equal ones; make the costs equal or set "
                "constraints.area to null",
            )
        budget = constraints.area * prices.pop()
    if budget is None:
        return detector
    if abs(detector.cost / budget - 1.0) > SAME:
        factor = sqrt(budget / detector.cost)
        layers = tuple(_scaled(layer, factor) for layer in detector.layers)
        detector = detector.model_copy(update={"layers": layers})
    return detector.model_copy(update={"budget": budget})


def _scaled(layer: LayerSettings, factor: float) -> LayerSettings:
    panels = tuple(
        panel.model_copy(update={"span": (panel.span[0] * factor, panel.span[1] * factor)})
        for panel in layer.panels
    )
    return layer.model_copy(update={"panels": panels})
