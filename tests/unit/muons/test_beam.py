"""Muons on one line."""

import math

import pytest
import torch

from tests.stats import assert_mean, assert_rms, assert_std
from tests.unit.volume.stacks import passives
from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.beam import PencilBeam
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import highland_angle


def test_all_muons_of_a_beam_are_alike():
    beam = PencilBeam((0.3, 0.4), momentum=2.0, theta=0.5, phi=1.0)
    expected = torch.tensor([[0.3, 0.4, 2.0, 0.5, 1.0]]).expand(10, 5)
    torch.testing.assert_close(beam(10), expected)


def test_a_spot_is_normal_about_the_centre():
    drawn = PencilBeam((0.3, 0.4), spot=0.02)(20_000, rng=stream(1, "spot")).double()
    assert_mean(drawn[:, 0], 0.3)
    assert_mean(drawn[:, 1], 0.4)
    assert_std(drawn[:, 1], 0.02)
    assert torch.equal(drawn[:, 2:], drawn[:1, 2:].expand(20_000, 3))


def test_a_slanted_beam_behind_ten_centimetres_of_lead_has_highlands_width():
    """Projected on a plane along the flight, over the longer path of a slanted beam."""
    (layer,) = passives(1, low=0.0, x0=X0["lead"])
    theta = 0.6
    beam = PencilBeam((0.5, 0.5), momentum=3.0, theta=theta)
    beam.dtype = torch.float64
    mu = MuonBatch(beam(50_000), init_z=0.1)
    mu.rng = stream(1, "lead")
    layer(mu)
    path = 0.1 / math.cos(theta) / X0["lead"]
    width = highland_angle(torch.tensor([3.0]).double(), torch.tensor([path]).double())
    tan_x, tan_y = mu.tan_xy.T
    assert_rms(torch.atan(tan_x) - theta, float(width))
    out_of_plane = torch.atan(tan_y / torch.sqrt(1 + tan_x**2))
    assert_rms(out_of_plane, float(width))


def test_impossible_beams_are_refused():
    for wrong in ({"momentum": 0.0}, {"spot": -1.0}, {"theta": 1.6}):
        with pytest.raises(UserError, match="pencil beam"):
            PencilBeam((0.0, 0.0), **wrong)
