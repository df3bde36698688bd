"""Laws of volume inferrers: shapes, equal exposures, gradients, precision."""

import pytest
import torch

import tomopt_tasks.inference as package
from tests.laws.parts import (
    F64,
    INFERRERS,
    PREDICTIONS,
    make_volume,
    members,
    predict,
    slope_along,
    weighted,
)
from tomopt_tasks.inference.volume import AbsVolumeInferrer


def test_every_inferrer_is_tried():
    for name in package.__all__:
        getattr(package, name)
    final = members(AbsVolumeInferrer, "tomopt_tasks.inference")
    assert final == {name.partition(" ")[0] for name in INFERRERS}


@pytest.mark.parametrize("name", INFERRERS)
@pytest.mark.parametrize("panel", ["DetectorPanel", "SigmoidDetectorPanel", "DetectorHeatMap"])
def test_predictions_are_finite_and_have_their_shape(name, panel):
    found = predict(make_volume(panel), name)
    assert tuple(found.shape) == PREDICTIONS[name]
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", INFERRERS)
def test_equal_exposures_are_predicted_equally(name):
    assert torch.equal(predict(make_volume(), name), predict(make_volume(), name))


@pytest.mark.parametrize("name", INFERRERS)
def test_gradients_of_predictions_equal_differences(name):
    volume = make_volume()

    def total():
        return weighted(predict(volume, name))

    parameters = [p for layer in volume.get_detectors() for p in layer.parameters()]
    found, expected = slope_along(total, parameters, 1e-7)
    assert expected != 0
    assert found == pytest.approx(expected, rel=2e-3)
    assert all(torch.isfinite(p.grad).all() for p in parameters)


@pytest.mark.parametrize("name", [name for name in INFERRERS if name != "DeepVolumeInferrer"])
def test_single_precision_predicts_nearly_the_same(name):
    single = predict(make_volume(dtype=torch.float32), name)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.to(F64), predict(make_volume(), name), rtol=2e-2, atol=2e-3)
