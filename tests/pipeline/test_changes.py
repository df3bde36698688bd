"""A change of any field reaches exactly the stages that read it, and what is made from those."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from tests.pipeline.common import changed, counted, fake_bodies, tiny
from tests.pipeline.edits import edits
from tomopt_tasks.caching import closure
from tomopt_tasks.config.study import Study
from tomopt_tasks.planning.accept import descendants
from tomopt_tasks.planning.plan import KINDS, plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

RICH = changed(
    ("fit.smoothness", "[1.0, 0.1]"),
    ("fit.schedule", "{kind: one_cycle, warmup: 1}"),
    ("fit.limits", "{xy: 1 cm}"),
    ("fit.callbacks", "[{kind: linear_correction}, {kind: calibrated_rmse}]"),
    ("muons.plane", "{z: 1.7 m, margin: 0.3 m}"),
    ("evaluation.records", "[{kind: scatter_record}]"),
    ("report.monitors", "[{kind: metric_logger}]"),
)

VOLUMES = {"train volumes", "valid volumes", "test volumes"}
BANKS = {"train bank", "valid bank", "test bank"}
COARSE = {"coarse search 1", "coarse epoch 1", "coarse epoch 2"}
FINE = {"fine epoch 1", "fine epoch 2"}
EPOCHS = COARSE | FINE
START = {"start of the fit"}
OF = {name: {f"{name} on valid", f"{name} on test"} for name in ("start", "fit", "baseline_1")}
ON_TEST = {f"{name} on test" for name in OF}
SCORES = OF["start"] | OF["fit"] | OF["baseline_1"]
JUDGED = {"evaluation"}
ALL = VOLUMES | BANKS | START | EPOCHS | SCORES | JUDGED

READERS: list[tuple[str, set[str]]] = [
    (r"version|study|seed|report\..*|constraints\..*|notify", set()),
    (r"world\..*", ALL - JUDGED),
    (r"scenes\.seed", VOLUMES),
    (r"scenes\.train\..*", {"train volumes"}),
    (r"scenes\.valid\..*", {"valid volumes"}),
    (r"scenes\.test\..*", {"test volumes"}),
    (r"muons\.(replicas|fresh)", set()),  # see below: other banks, not other bytes
    (r"muons\.train_seed", {"train bank"}),
    (r"muons\.test_seed", {"test bank"}),
    (r"muons\.aim\.max_tries", set()),  # says when to give up; banks that come about are the same
    (r"(muons|transport)\..*", BANKS),
    (r"detectors\.start\.gap", START),  # a prediction does not move panels
    (r"detectors\.start\..*", START | OF["start"]),
    (r"detectors\.baseline_1\.gap", set()),
    (r"detectors\.baseline_1\..*", OF["baseline_1"]),
    (r"inference\..*", EPOCHS | SCORES),
    (r"loss\..*", EPOCHS),
    (r"fit\.seed", START | EPOCHS),
    (r"fit\.(parameters\..*|warm_start)", START),
    (r"fit\.phases\[\d\]\.(name|epochs)", set()),  # see below: other stages, not other bytes
    (r"fit\.phases\[0\]\..*", COARSE),
    (r"fit\.phases\[1\]\..*", FINE),
    (r"fit\.(start|phases)", set()),  # see below
    (r"fit\..*", set()),  # phases have taken up what the fit says
    (r"evaluation\.(edges|exposures|seed|fiducial_cuts)", SCORES | JUDGED),
    (r"evaluation\.records.*", ON_TEST),
    (r"evaluation\..*", JUDGED),
    (r"compare", set()),  # see below
]
"""Place -> labels of the stages that read it; the first pattern that fits counts."""

ELSEWHERE = re.compile(
    r"muons\.(replicas|fresh)|fit\.(start|multi_start|phases|phases\[\d\]\.(name|epochs|find_rates.*))"
    r"|compare"
)
"""Fields that say which stages there are; tested one by one below."""

EDITS = dict(edits(RICH))


def keys(study: Study) -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(study)}


def reached(study: Study, labels: set[str]) -> set[str]:
    """Labels of stages, and of all that is made from them."""
    stages = plan_study(study)
    parents = {stage.key: stage.parents.values() for stage in stages}
    keys_of = {stage.key for stage in stages if stage.label in labels}
    found = descendants(parents, keys_of)
    return {stage.label for stage in stages if stage.key in found}


def test_the_edits_hold_every_field_of_the_study():
    def places(model, path=""):
        for name, value in model.model_dump(mode="json").items():
            yield from _places(value, f"{path}.{name}".lstrip("."))

    def _places(value, path):
        if isinstance(value, dict) and value:
            for name, item in value.items():
                yield from _places(item, f"{path}.{name}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield from _places(item, f"{path}[{index}]")
        else:
            yield path

    assert set(places(RICH)) <= set(EDITS)
    assert len(EDITS) > 300


@pytest.mark.parametrize("place", sorted(set(EDITS)), ids=str)
def test_an_edit_changes_the_keys_of_its_readers_and_of_what_is_made_from_them(place):
    if ELSEWHERE.fullmatch(place):
        pytest.skip("says which stages there are")
    readers = next(labels for pattern, labels in READERS if re.fullmatch(pattern, place))
    before, after = keys(RICH), keys(EDITS[place])
    assert before.keys() == after.keys()
    assert {label for label in before if before[label] != after[label]} == reached(RICH, readers)


# --- fields that say which stages there are -------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (("fit.phases[1].epochs", "4"), {"fine epoch 3", "fine epoch 4"}),
        (("fit.phases[1].name", "last"), set()),
        (("compare", "[start, fit]"), set()),
        (("compare", "[fit, start, baseline_1]"), set()),
        (("muons.replicas", "2"), {"train bank 2"}),
        (("muons.fresh", "true"), {f"train bank {n}" for n in range(2, 6)}),
        (("fit.start", "baseline_1"), {"start of the fit"}),
    ],
)
def test_stages_that_are_added_are_the_only_new_ones_above_what_they_change(change, new):
    study = changed(change)
    before = set(keys(tiny()).values())
    fresh = {label for label, key in keys(study).items() if key not in before}
    epochs = {label for label in keys(study) if "epoch" in label or "search" in label}
    made = fresh - epochs - OF["fit"] - OF["start"] - OF["baseline_1"] - JUDGED
    assert made == {label for label in new if "epoch" not in label}
    if change[0] in ("fit.phases[1].epochs", "fit.phases[1].name", "compare"):
        assert fresh & epochs == {label for label in new if "epoch" in label}
    if change[0] == "muons.replicas":  # every second epoch sees other muons, all that follow change
        assert "coarse search 1" not in fresh


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("true", "{kind: muon_resampler}"),
        ("true", "{kind: muon_resampler, max_tries: 7}"),
        ("false", "{kind: none}"),
    ],
)
def test_keys_hold_the_short_form_of_aiming(short, long):
    one, other = changed(("muons.aim", short)), changed(("muons.aim", long))
    assert keys(one) == keys(other)
    banks = [stage for stage in plan_study(other) if stage.kind == "bank"]
    assert {stage.components["inputs"]["muons"]["aim"] for stage in banks} == {short == "true"}


# --- carried out ----------------------------------------------------------------------------------

CARRIED_OUT: list[tuple[tuple[str, str], set[str]]] = [
    (("report.title", "Other"), set()),
    (("study", "other"), set()),
    (("world.height", "1.9 m"), ALL - JUDGED),
    (("scenes.train.per_height", "3"), {"train volumes"}),
    (("scenes.valid.per_height", "3"), {"valid volumes"}),
    (("scenes.test.slag", "20 cm"), {"test volumes"}),
    (("muons.seed", "8"), BANKS),
    (("transport", "{kind: none}"), BANKS),
    (("detectors.baseline_1.groups.below.z[2]", "0.06"), OF["baseline_1"]),
    (("detectors.start.groups.above.z[0]", "1.5"), START | OF["start"]),
    (("inference", "{kind: poca_z_fill_level, smooth: 0.5}"), EPOCHS | SCORES),
    (("loss", "{kind: volume_mse}"), EPOCHS),
    (("fit.phases[0].limits", "{xy: 1 cm}"), COARSE),
    (("fit.phases[1].freeze", "[xy, z]"), FINE),
    (("evaluation.edges", "smooth"), SCORES | JUDGED),
    (("evaluation.bootstrap", "150"), JUDGED),
    (("evaluation.records", "[{kind: hit_record}]"), ON_TEST),
]


PLACES = [change[0] for change, _ in CARRIED_OUT]
"""Names of the tests: a set would be written in another order by every process of pytest-xdist."""


def executed(study: Study, store) -> set[str]:
    labels = {stage.key: stage.label for stage in plan_study(study)}
    with counted() as ran, begin(study, store) as run:
        run_all(run)
    assert len(ran) == len(set(ran))
    return {labels[key] for key in ran}


@pytest.mark.parametrize(("change", "readers"), CARRIED_OUT, ids=PLACES)
def test_what_runs_is_what_the_plan_marks(change, readers, tmp_path, fake_bodies):
    store = open_store(tmp_path / "store")
    executed(tiny(), store)
    assert executed(changed(change), store) == reached(tiny(), readers)


@pytest.mark.slow
@pytest.mark.parametrize(("change", "readers"), CARRIED_OUT, ids=PLACES)
def test_what_runs_with_all_physics_is_what_the_plan_marks(change, readers, store):
    assert executed(changed(change), store) == reached(tiny(), readers)


# --- code -----------------------------------------------------------------------------------------


def commented(source: str) -> str:
    """The same code with other docstrings and a comment on every line that can bear one."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            first = node.body[0]
            text = lines[first.lineno - 1]
            quotes = text.index('"""', first.col_offset) + 3
            lines[first.lineno - 1] = f"{text[:quotes]}Said otherwise. {text[quotes:]}"
    return "# another first line\n" + "\n".join(lines) + "\n\n# and a last one\n"


def test_comments_and_docstrings_in_all_modules_change_no_key(tmp_path):
    root = Path(closure.__file__).parents[1]
    copy = tmp_path / root.name
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    edited = 0
    for path in copy.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(commented(text), encoding="utf-8")
        edited += "Said otherwise." in path.read_text(encoding="utf-8")
    assert edited > 200
    before, after = closure.Sources(root), closure.Sources(copy)
    for stage in KINDS:
        assert before.parts("tomopt_tasks.stages", stage) == after.parts(
            "tomopt_tasks.stages", stage
        )
