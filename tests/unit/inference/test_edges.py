import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64, FakeVolume
from tests.unit.inference.test_classifiers import fixed
from tomopt_tasks.inference.edges import STEPS, EdgeDetLadleFurnaceFillLevelInferrer

PROFILE = torch.tensor([1.0, 2.0, 4.0, 4.0], dtype=F64)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # windows (1,1,2), (1,2,4), (2,4,4), (4,4,4) with repeated ends
        ("gauss_1d", [1.25, 2.25, 3.5, 4.0]),
        ("ridge_1d_0", [-3.0, -5.0, -6.0, -8.0]),
        ("ridge_1d_2", [-1.0, -1.0, 2.0, 0.0]),
        ("ridge_1d_4", [1.0, 3.0, 10.0, 8.0]),
        ("ridge_1d_8", [5.0, 11.0, 26.0, 24.0]),
        ("prewit_1d", [1.0, 3.0, 2.0, 0.0]),
        ("laplacian_1d", [-1.0, -3.0, -10.0, -8.0]),
        ("avg_1d", [1.5, 7 / 3, 10 / 3, 4.0]),
        ("negative", [-1.0, -2.0, -4.0, -4.0]),
        ("max_sub_min", [1.0, 3.0, 2.0, 0.0]),
        ("max_div_min", [2.0, 4.0, 2.0, 1.0]),
    ],
)
def test_each_step_on_a_profile_worked_by_hand(step, expected):
    assert_close(STEPS[step](PROFILE[None]), torch.tensor([expected], dtype=F64))


@pytest.mark.parametrize("step", ["gauss_1d", "gauss_3d", "avg_1d", "avg_3d", "max_div_min"])
def test_d39_steps_keep_the_batch_axis(step):
    x0 = torch.rand(1, 5, 6, 7, dtype=F64, generator=torch.Generator().manual_seed(1)) + 0.1
    values = x0 if step.endswith("3d") else x0.mean((2, 3))
    assert STEPS[step](values).shape == values.shape


def test_the_binomial_mean_of_a_single_voxel_is_its_kernel():
    x0 = torch.zeros(1, 5, 5, 5, dtype=F64)
    x0[0, 2, 2, 2] = 64.0
    found = STEPS["gauss_3d"](x0)
    assert_close(found[0, 2, 2, 1:4], torch.tensor([4.0, 8.0, 4.0], dtype=F64))
    assert_close(found.sum(), x0.sum())
    flat = torch.full_like(x0, 3.0)
    assert_close(STEPS["gauss_3d"](flat), flat)  # borders are repeated


def test_the_floor_and_the_ring_of_the_ladle_are_removed():
    x0 = torch.arange(5 * 6 * 7, dtype=F64).view(1, 5, 6, 7)
    assert_close(STEPS["remove_ladle"](x0), x0[:, 1:, 1:-1, 1:-1])


def ladle(n_full):
    """Fill up to ``n_full`` layers above the floor of ten, air above, steel around."""
    x0 = torch.full((10, 10, 10), 0.018, dtype=F64)
    x0[1 : 1 + n_full, 1:-1, 1:-1] = 0.02
    x0[1 + n_full :, 1:-1, 1:-1] = 0.5
    return x0


def test_the_class_follows_the_fill_layer_by_layer():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    classes = []
    for n_full in (4, 5, 6, 7):
        probs = EdgeDetLadleFurnaceFillLevelInferrer(fixed(ladle(n_full)), volume).get_prediction()
        assert probs.shape == (9,)
        assert_close(probs.sum(), torch.tensor(1.0, dtype=F64))
        classes.append(int(probs.argmax()))
    # smoothing over three layers twice puts the largest ratio three layers below the edge
    assert classes == [1, 2, 3, 4]


def test_a_class_stands_for_the_top_of_its_layer():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    inferrer = EdgeDetLadleFurnaceFillLevelInferrer(
        fixed(ladle(7)), volume, ["remove_ladle", "avg_layers", "prewit_1d"], output_probs=False
    )
    # the profile jumps between its layers 6 and 7: -1, 0, 1 is largest at both; the first counts
    assert float(inferrer.get_prediction()) == pytest.approx(0.4 + 0.1 * (6 + 1))


def test_pipelines_of_gaussians_end_in_probabilities_with_and_without_a_batch_axis():
    pipeline = ["remove_ladle", "gauss_3d", "avg_layers", "gauss_1d", "prewit_1d"]
    volume = FakeVolume(n_layers=10)
    with_axis, without = (
        EdgeDetLadleFurnaceFillLevelInferrer(
            fixed(ladle(5)), volume, pipeline, add_batch_dim=batch
        ).get_prediction()
        for batch in (True, False)
    )
    assert_close(with_axis, without)
    assert int(with_axis.argmax()) in (4, 5)


def test_an_unknown_step_is_named():
    with pytest.raises(ValueError, match="sharpen"):
        EdgeDetLadleFurnaceFillLevelInferrer(fixed(ladle(5)), FakeVolume(), ["sharpen"])


def test_d31_the_default_pipeline_cannot_be_changed_by_one_inferrer():
    first = EdgeDetLadleFurnaceFillLevelInferrer(fixed(ladle(5)), FakeVolume())
    assert isinstance(first.pipeline, tuple)
