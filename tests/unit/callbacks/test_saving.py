import pytest
import torch
from PIL import Image

from tests.unit.callbacks.toy import Layer, Volume, Wrapper, fit, parameters
from tomopt_tasks.callbacks.heatmap_gif import HeatMapGif, response_map
from tomopt_tasks.callbacks.saving import EpochSave


def test_state_is_saved_after_every_training_epoch_counted_from_one(tmp_path):
    wrapper = fit([EpochSave()], tmp_path, n_epochs=2, valid=(1.0,))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["volume_state_1.pt", "volume_state_2.pt"]
    last = parameters(wrapper)
    fresh = Wrapper()
    fresh.load(tmp_path / "volume_state_1.pt")
    assert not torch.equal(parameters(fresh)["layers.0.panels.0.z"], last["layers.0.panels.0.z"])
    fresh.load(tmp_path / "volume_state_2.pt")
    assert all(torch.equal(value, last[name]) for name, value in parameters(fresh).items())


class HeatMap(torch.nn.Module):
    """Relative efficiency exp(-(r / 0.25 m)^2) about (0.6, 0.4)."""

    def __init__(self):
        super().__init__()
        self.xy = torch.nn.Parameter(torch.tensor([0.6, 0.4], dtype=torch.float64))
        self.z = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.xy_span = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.xy_fix = torch.tensor([0.5, 0.5], dtype=torch.float64)
        self.delta_xy = 0.5
        self.efficiency = torch.tensor([0.9], dtype=torch.float64)

    def get_efficiency(self, xy):
        return self.efficiency * torch.exp(-((xy - self.xy) ** 2).sum(1) / 0.25**2)


def test_response_map_covers_twice_the_first_square_and_peaks_at_the_centre():
    found = response_map(HeatMap(), n_points=101)
    assert found["extent"] == [-0.5, 1.5, -0.5, 1.5]
    assert found["values"].shape == (101, 101)
    column, row = divmod(int(found["values"].argmax()), 101)
    assert (-0.5 + 0.02 * column, -0.5 + 0.02 * row) == pytest.approx((0.6, 0.4))
    assert float(found["values"].max()) == pytest.approx(1.0)


def heat_map_wrapper():
    layer = Layer("above", [HeatMap()])
    layer.type_label = "heatmap"
    return Wrapper(Volume([layer]))


def test_film_of_a_heat_map_has_a_picture_for_each_epoch_and_the_end(tmp_path):
    wrapper = heat_map_wrapper()
    fit([HeatMapGif("map.gif", 1.0)], tmp_path, n_epochs=2, valid=(1.0,), wrapper=wrapper)
    assert [path.name for path in tmp_path.iterdir()] == ["map.gif"]
    with Image.open(tmp_path / "map.gif") as film:
        assert film.n_frames == 3


def test_film_of_panels_is_refused(tmp_path):
    with pytest.raises(NotImplementedError, match="PanelMetricLogger"):
        fit([HeatMapGif()], tmp_path)
