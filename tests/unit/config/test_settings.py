"""Laws over every settings class that a study is made of."""

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.config.draws import reachable, trees
from tomopt_tasks.config.dump import dump_detector, dump_study
from tomopt_tasks.config.load import load_detector, load_study
from tomopt_tasks.config.schema import json_schema
from tomopt_tasks.config.study import Study, StudyFile
from tomopt_tasks.volume.settings import World

CLASSES = reachable(Study, reachable(StudyFile, {}))
PARTS = sorted(set(CLASSES) - {"Study", "StudyFile"})


@pytest.mark.parametrize("name", [name for name in PARTS if name != "World"])
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_settings_survive_json(name, data):
    tree = data.draw(trees(CLASSES[name]))
    try:
        drawn = CLASSES[name].model_validate(tree)
    except ValidationError:
        assume(False)
    assert type(drawn).model_validate_json(drawn.model_dump_json()) == drawn
    assert type(drawn).model_validate(drawn.model_dump(mode="json")) == drawn
    assert type(drawn).model_validate(drawn.model_dump()) == drawn


@given(
    voxel=st.sampled_from([0.05, 0.1, 0.3, 0.7, 1.0]),
    counts=st.tuples(*[st.integers(1, 40)] * 3),
    floor=st.integers(0, 10),
)
def test_worlds_survive_json_and_count_their_voxels(voxel, counts, floor):
    nz, nx, ny = counts
    bottom, top = floor * voxel, (floor + nz) * voxel
    size, passive = (nx * voxel, ny * voxel), (bottom, top)
    world = World(size=size, passive=passive, voxel=voxel, height=top + 0.5)
    assert world.shape == counts
    assert World.model_validate_json(world.model_dump_json()) == world


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_field_is_described(name):
    for field, info in CLASSES[name].model_fields.items():
        assert info.description, f"{name}.{field} has no description"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_bounded_quantity_states_its_unit_and_bound(name):
    definition = json_schema()["$defs"].get(name, {})
    for field, schema in definition.get("properties", {}).items():
        options = [schema, *schema.get("anyOf", ())]
        unit = next((option["x-unit"] for option in options if "x-unit" in option), "1")
        text = schema.get("description", "")
        assert unit == "1" or re.search(r"\[1?/?[a-zA-Z]", text), f"{name}.{field} has no unit"
        inner = [number for option in options for number in (option, *option.get("anyOf", ()))]
        if any("exclusiveMinimum" in number for number in inner):
            assert re.search(r"> 0|> \d|positive|factor", text), f"{name}.{field} has no bound"


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_defaults_or_is_a_thing_with_a_place(name):
    required = {field for field, info in CLASSES[name].model_fields.items() if info.is_required()}
    placed = {"PanelGroup": {"z"}, "GroupedDetector": {"groups"}, "Within": {"z"}, "Tie": {"tie"}}
    placed |= {"TableFile": {"file"}, "TableSettings": {"rate"}, "FileSceneSettings": {"file"}}
    placed |= {"LayerSettings": {"panels"}, "DetectorSettings": {"layers"}}
    assert required == placed.get(name, set())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    heights=st.tuples(*[st.lists(st.integers(0, 39), min_size=2, max_size=5, unique=True)] * 2),
    side=st.floats(0.05, 5.0),
    area=st.one_of(st.none(), st.floats(0.1, 100.0)),
    sigma=st.sampled_from(["0.1 mm", "3 mm", 7e-5]),
    seed=st.integers(0, 2**62),
)
def test_any_valid_study_survives_yaml(tmp_path, heights, side, area, sigma, seed):
    file = tmp_path / "drawn.yaml"
    groups = {
        "above": {"z": [1.4 + n / 100 for n in heights[0]], "side": side},
        "below": {"z": [n / 100 for n in heights[1]], "xy": [0.1, 0.2]},
    }
    tree = {"version": 1, "study": "drawn", "seed": seed, "constraints": {"area": area}}
    tree["detectors"] = {"start": {"panel": {"sigma": sigma}, "groups": groups}}
    file.write_text(str(tree).replace("None", "null"), encoding="utf-8")  # a dict is flow YAML
    study = load_study(file)
    file.write_text(dump_study(study), encoding="utf-8")
    assert load_study(file) == study
    file.write_text(dump_detector(study.detectors["start"]), encoding="utf-8")
    assert load_detector(file, study.world, study.constraints) == study.detectors["start"]
