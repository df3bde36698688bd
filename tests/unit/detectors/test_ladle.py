"""The detectors of the ladle-furnace benchmark (spec 10.2)."""

import pytest
import torch

from tomopt_tasks.detectors.ladle import (
    get_baseline_detector_1,
    get_baseline_detector_2,
    get_initial_detector,
)
from tomopt_tasks.volume.volume import Volume

PUBLISHED = {
    get_initial_detector: (0.0, [1.48, 1.47, 1.46, 1.45], [0.35, 0.34, 0.33, 0.32]),
    get_baseline_detector_1: (0.5, [1.80, 1.75, 1.50, 1.45], [0.35, 0.30, 0.05, 0.00]),
    get_baseline_detector_2: (0.5, [1.75, 1.65, 1.55, 1.45], [0.35, 0.25, 0.15, 0.05]),
}


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)
def test_ladle_detectors_are_those_of_the_benchmark(make):
    xy, *heights = PUBLISHED[make]
    volume = Volume(make(res=2e3, eff=0.8, span=0.7), budget=6.0)
    low, high = (float(z) for z in volume.get_passive_z_range())
    assert (low, high, float(volume.h)) == pytest.approx((0.4, 1.4, 1.8))
    assert volume.shape == (10, 10, 10)
    for layer, zs in zip(volume.get_detectors(), heights, strict=True):
        assert [float(panel.z.detach()) for panel in layer.panels] == pytest.approx(zs)
        assert all(panel.xy.detach().tolist() == [xy, xy] for panel in layer.panels)
        assert all(float(panel.resolution) == 2e3 for panel in layer.panels)
    above, below = volume.get_detectors()
    assert [float(p.smooth) for p in above.panels] == pytest.approx([1.0, 0.1, 1.0, 1.0])
    assert [float(p.efficiency) for p in below.panels] == pytest.approx([0.8, 1.0, 0.8, 0.8])
    assert [float(p.efficiency) for p in above.panels] == pytest.approx([0.8] * 4)
    torch.testing.assert_close(above.panels[0].xy_span.detach(), torch.tensor([0.7, 0.7]))
