"""From groups to panels, budgets and the places where panels were written."""

from math import sqrt

import pytest

from tomopt_tasks.config.constraints import Constraints
from tomopt_tasks.config.detector_file import GroupedDetector
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.resolve import resolve_detector
from tomopt_tasks.volume.settings import World

FREE = Constraints(area=None)
GROUPS = {"above": {"z": ["1.6 m", 1.5], "xy": [0, 0]}, "below": {"z": [0.2, 0.1], "side": "1 m"}}


def resolve(constraints=FREE, world=None, **written):
    written = {"groups": GROUPS, **written}
    detector = GroupedDetector.model_validate(written)
    return resolve_detector(detector, world or World(), constraints)


def panels(**written):
    return {panel.name: panel for panel in resolve(**written).detector.panels}


def test_panels_take_what_their_group_says():
    found = panels()
    assert list(found) == ["above[0]", "above[1]", "below[0]", "below[1]"]
    assert (found["above[0]"].xy, found["above[0]"].z) == ((0.0, 0.0), 1.6)
    assert found["above[0]"].span == (0.8, 0.8)
    assert found["below[1]"].span == (1.0, 1.0)


def test_sigma_becomes_the_inverse_resolution():
    assert panels(panel={"sigma": "0.1 mm"})["above[0]"].resolution == 10000.0
    assert panels(panel={"sigma": "1 mm"})["above[0]"].resolution == 1000.0


def test_a_group_and_then_a_panel_may_differ():
    groups = {**GROUPS, "below": {**GROUPS["below"], "panel": {"efficiency": 0.5, "smooth": 2}}}
    found = panels(groups=groups, panels={"below[1]": {"efficiency": 1, "z": 0.05, "xy": [1, 2]}})
    assert [panel.efficiency for panel in found.values()] == [0.9, 0.9, 0.5, 1.0]
    assert [panel.smooth for panel in found.values()] == [1.0, 1.0, 2.0, 2.0]
    assert (found["below[1]"].z, found["below[1]"].xy) == (0.05, (1.0, 2.0))


def test_each_panel_may_have_its_own_centre_and_side():
    above = {"z": [1.6, 1.5], "xy": [[0, 1], ["2 m", 3]], "side": [1, "50 cm"]}
    found = panels(groups={**GROUPS, "above": above})
    assert [found[f"above[{i}]"].xy for i in (0, 1)] == [(0.0, 1.0), (2.0, 3.0)]
    assert [found[f"above[{i}]"].span for i in (0, 1)] == [(1.0, 1.0), (0.5, 0.5)]


def test_a_panel_may_be_a_rectangle():
    assert panels(panels={"above[0]": {"span": [1, 2]}})["above[0]"].span == (1.0, 2.0)
    with pytest.raises(Problem, match="got both side and span"):
        panels(panels={"above[0]": {"span": [1, 2], "side": 1}})


def test_layers_are_the_zones_from_top_to_bottom():
    groups = {"below": GROUPS["below"], "above": {**GROUPS["above"], "within": {"z": [1.45, 1.7]}}}
    layers = resolve(groups=groups).detector.layers
    assert [(layer.pos, layer.z, layer.size) for layer in layers] == [
        ("above", 1.7, 0.25),
        ("below", 0.4, 0.4),
    ]


def test_several_groups_may_share_a_side():
    groups = {
        "near": {"pos": "above", "z": [1.5, 1.45], "within": {"z": [1.4, 1.55]}},
        "far": {"pos": "above", "z": [1.7, 1.6], "within": {"z": [1.55, 1.8]}},
        "below": GROUPS["below"],
    }
    layers = resolve(groups=groups).detector.layers
    assert [layer.panels[0].group for layer in layers] == ["far", "near", "below"]
    assert [layer.pos for layer in layers] == ["above", "above", "below"]


def test_sides_are_scaled_to_the_budget_and_keep_their_shares():
    free = resolve().detector
    fixed = resolve(Constraints(area=6.0)).detector
    factor = sqrt(6.0 / free.area)
    assert fixed.area == pytest.approx(6.0, rel=1e-12)
    assert fixed.budget == 6.0
    for before, after in zip(free.panels, fixed.panels, strict=True):
        assert after.span == pytest.approx([side * factor for side in before.span], rel=1e-12)
        assert after.area / fixed.area == pytest.approx(before.area / free.area, rel=1e-12)


def test_the_budget_is_in_units_of_cost():
    dear = resolve(Constraints(area=6.0), panel={"cost": "2 / m2"}).detector
    assert dear.budget == 12.0
    assert dear.cost == pytest.approx(12.0, rel=1e-12)


def test_a_detector_that_costs_the_budget_keeps_its_bits():
    fixed = resolve(Constraints(area=6.0)).detector
    assert resolve_detector(fixed, World(), Constraints(area=6.0)).detector == fixed


def test_without_a_budget_sides_stay_as_written():
    assert resolve().detector.budget is None


def test_every_panel_knows_where_it_was_written():
    result = resolve(panels={"below[1]": {"z": 0.05}})
    assert result.origin(("layers", 0, "panels", 1, "z")) == ("groups", "above", "z", 1)
    assert result.origin(("layers", 0, "panels", 1, "xy")) == ("groups", "above", "xy")
    assert result.origin(("layers", 1, "panels", 1, "z")) == ("panels", "below[1]", "z")
    assert result.origin(("layers", 1, "z")) == ("groups", "below")


def test_a_world_without_room_above_is_refused():
    with pytest.raises(Problem, match="no room above the passive volume"):
        resolve(world=World(height=1.4))


@pytest.mark.parametrize(
    ("size", "passive", "voxel", "shape"),
    [
        ((0.9, 0.9), (0.3, 1.2), 0.3, (3, 3, 3)),  # 0.9 / 0.3 = 3.0000000000000004 in binary
        ((1.0, 0.6), (0.4, 1.4), 0.1, (10, 10, 6)),
        ((0.7, 2.1), (0.1, 0.8), 0.7, (1, 1, 3)),
        ((10.0, 10.0), (1.0, 11.0), 1.0, (10, 10, 10)),
    ],
)
def test_voxels_are_counted_despite_rounding(size, passive, voxel, shape):
    height = passive[1] + 1
    assert World(size=size, passive=passive, voxel=voxel, height=height).shape == shape
