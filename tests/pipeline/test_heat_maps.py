"""Heat maps in a study: fitted, kept, judged, asked, exported and drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tomopt_tasks.config.load import load_detector, load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.reports.export import detector_yaml
from tomopt_tasks.reports.heat_maps import heat_map_section
from tomopt_tasks.runs.judging import judge
from tomopt_tasks.runs.predicting import predict_object
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.build import build_volume
from tomopt_tasks.wrapper.checkpoint import restore_volume

FILE = Path(__file__).with_name("heat_maps.yaml")
LEARNS = ("gmm.mu", "gmm.sig", "gmm.norm", "z")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study, a store in which it has run, and the id of the run."""
    study, store = load_study(FILE), open_store(tmp_path_factory.mktemp("heat") / "store")
    with begin(study, store, request=Request(str(FILE))) as run:
        run_all(run)
    return study, store, run.id


def checkpoint(study, store, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.get_record(store.find("checkpoint", stage.key))


def panels(volume):
    return [panel for layer in volume.get_detectors() for panel in layer.panels]


def test_a_fit_changes_centres_widths_heights_and_norms_of_every_map(finished):
    study, store, _ = finished
    first, last = (
        checkpoint(study, store, label)["volume"] for label in ("start of the fit", "fit epoch 2")
    )
    for layer in (0, 5):
        for panel in (0, 1):
            for name in LEARNS:
                key = f"layers.{layer}.panels.{panel}.{name}"
                assert not torch.equal(first[key], last[key]), key


def test_a_map_starts_as_it_is_written(finished):
    study, store, _ = finished
    written = panels(restore_volume(checkpoint(study, store, "start of the fit")))[1]
    assert written.mu.tolist() == [[0.2, 0.3], [0.4, 0.3]]
    assert written.sig.tolist() == [[0.2, 0.1], [0.3, 0.2]]
    assert written.norm.tolist() == [0.9]
    assert written.gmm.n_cluster == 2


def test_the_exported_detector_is_the_fitted_one_bit_by_bit(finished, tmp_path):
    study, store, _ = finished
    tree = checkpoint(study, store, "fit epoch 2")
    file = tmp_path / "detector.yaml"
    file.write_text(detector_yaml(tree["row"]["geometry"]))
    again = build_volume(study.world, load_detector(file, study.world, study.constraints))
    fitted = restore_volume(tree)
    for one, other in zip(panels(again), panels(fitted), strict=True):
        for name in (*LEARNS, "xy_fix", "xy_span_fix", "efficiency"):
            assert torch.equal(one.state_dict()[name], other.state_dict()[name]), name
        torch.testing.assert_close(one.resolution, other.resolution, rtol=1e-15, atol=0.0)


def test_it_is_judged_beside_panels_and_answers_for_an_object(finished, tmp_path):
    study, store, run = finished
    stages = {stage.label: stage for stage in plan_study(study)}
    designs = store.get_record(store.find("evaluation", stages["evaluation"].key))["designs"]
    assert all(np.isfinite(designs[name]["mse"]) for name in ("maps", "fit", "other"))
    x0 = store.open_dataset(store.find("volumes", stages["test volumes"].key)).array("x0")
    np.savez(tmp_path / "objects.npz", x0=x0)
    answer = predict_object(store, run, tmp_path / "objects.npz")
    assert np.isfinite(answer.values).all()
    assert answer.accepted > 0
    file = tmp_path / "mine.yaml"
    file.write_text(detector_yaml(designs["fit"]["geometry"]))
    mine = judge(store, run, file)
    assert mine.rows[0]["95 % interval"] == "-"
    fit = next(row for row in mine.rows if row["design"] == "optimised")
    assert fit["MSE of mine relative to it"] == "1.00"


def test_the_report_draws_the_maps(finished):
    _, store, run = finished
    section = heat_map_section(results_of(store, run))
    assert section.count("above[") == section.count("below[") == 2
    assert "Where the planes see" in section


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("constraints.area", "1 m2"), r"has heat maps, which share no area.*area: null"),
        (("fit.optimiser.xy", "{kind: sgd, rate: 1}"), r"optimiser\.xy: got \"xy\""),
        (("fit.optimiser.mu", "null"), r'nothing moves mu of "above"'),
        (
            ("fit.optimiser.sig.rate", "null"),
            r"optimiser\.sig: has no rate, .* for a heat map; add rate",
        ),
        (("detectors.maps.panels", '{"above[1]": {kind: panel}}'), r"need a group of their own"),
        (("detectors.maps.panel.missed_hits", "true"), r"misses no hits at random"),
        (("detectors.other.panels", '{"above[1]": {mixture: {}}}'), r"write kind: heat_map"),
        (
            ("detectors.maps.panels", '{"above[1]": {mixture: {mu: [[0, 0], [1, 1]]}}}'),
            r"got 1 widths for 2 centres",
        ),
        (("fit.phases[0].callbacks", "[{kind: panel_centring}]"), r"have no common centre"),
    ],
)
def test_what_a_heat_map_cannot_be_ends_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        load_study(FILE, [change])
