import math

import pytest
import torch

from tests.unit.callbacks.toy import Wrapper, fit, real_volume
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.resampler import MuonResampler
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.rng import stream
from tomopt_tasks.wrapper.loop import VolumeLoop


def muons(*rows):
    """x, y, theta, phi at the top of the volume (z = 2 m), 5 GeV."""
    return torch.tensor([[x, y, 5.0, theta, phi] for x, y, theta, phi in rows], dtype=torch.float64)


def test_straight_flights_through_the_volume_are_told_from_those_beside_it():
    # the volume lies 0.8 to 1.8 m below the start
    rows = muons(
        (0.5, 0.5, 0.0, 0.0),  # straight down
        (1.5, 0.5, 0.0, 0.0),  # beside it
        (-1.0, 0.5, math.pi / 4, 0.0),  # enters through the side: x = 0 at depth 1
        (-1.9, 0.5, math.pi / 4, 0.0),  # x = 0 at depth 1.9, below the bottom
        (0.5, 0.5, math.atan(0.7), 0.0),  # leaves x < 1 at depth 0.71, above the top
        (1.0, 0.5, 0.0, 0.0),  # half-open: on the far face
    )
    crossing = MuonResampler.check_mu_batch(MuonBatch(rows, 2.0), real_volume())
    assert crossing.tolist() == [True, False, True, False, False, False]


@pytest.mark.parametrize("raw", [False, True])
def test_only_those_that_miss_are_drawn_again_and_the_input_is_left_alone(raw):
    volume = real_volume()
    rows = muons((0.5, 0.5, 0.0, 0.0), (3.0, 0.5, 0.0, 0.0), (0.2, 0.7, 0.1, 2.0))
    table = torch.cat([rows[:, :2], torch.full((3, 1), 2.0).double(), rows[:, 2:]], 1)
    given = table if raw else rows
    before = given.clone()
    generator = MuonGenerator2016.from_volume(volume)
    aimed = MuonResampler.resample(given, volume, generator, stream(1, "resample"))
    assert torch.equal(given, before)
    assert torch.equal(aimed[[0, 2]], rows[[0, 2]])
    assert MuonResampler.check_mu_batch(MuonBatch(aimed, 2.0), volume).all()


def test_a_source_that_never_hits_is_a_clear_error_and_no_endless_loop():
    def beside(n, rng):
        return muons(*[(5.0, 5.0, 0.0, 0.0)] * n)

    rows, volume = muons((0.5, 0.5, 0.0, 0.0), (5.0, 5.0, 0.0, 0.0)), real_volume()
    said = r"only 1 of 2 muons cross .* after (\d+) were drawn; .* smaller range of theta"
    with pytest.raises(UserError, match=said):
        MuonResampler.resample(rows, volume, beside)
    with pytest.raises(UserError, match=r"after 8 were drawn"):  # those given, and three times two
        MuonResampler.resample(rows, volume, beside, max_tries=3)
    aiming, wrapper = MuonResampler(max_tries=4), Wrapper()
    aiming.set_wrapper(wrapper)
    wrapper.volume, wrapper.mu_generator = volume, beside
    batch = wrapper.fit_params.mu = MuonBatch(rows, 2.0)
    batch.rng = stream(1, "batch")
    with pytest.raises(UserError, match=r"after 10 were drawn"):
        aiming.on_mu_batch_begin()


class Flight(Callback):
    """The muons of each batch after resampling."""

    def __init__(self):
        self.batches = []

    def on_mu_batch_begin(self):
        self.batches.append((self.fit_params.state, self.fit_params.mu.muons.clone()))


def run(tmp_path, cbs, epochs=1):
    class Flying(Wrapper):
        """The toy detector below real muons."""

        _muons = VolumeLoop._muons

    wrapper = Flying()
    real = real_volume()
    wrapper.volume.h = real.h
    wrapper.volume.get_passive_z_range = real.get_passive_z_range
    wrapper.mu_generator = MuonGenerator2016.from_volume(real)
    flight = Flight()
    fit([*cbs, flight], tmp_path, n_epochs=epochs, valid=(1.0,), wrapper=wrapper)
    return real, flight.batches


def test_all_muons_of_a_fit_are_aimed_in_training_and_validation(tmp_path):
    real, batches = run(tmp_path, [MuonResampler()])
    assert {state for state, _ in batches} == {"train", "valid"}
    for _, rows in batches:
        columns = torch.cat([rows[:, :2], rows[:, 3:]], 1)
        assert MuonResampler.check_mu_batch(MuonBatch(columns, rows[:, 2]), real).all()
    assert not all(torch.equal(batches[0][1], rows) for _, rows in batches[1:])


def test_aiming_keeps_muons_that_are_aimed_and_other_streams_as_they_are(tmp_path):
    class Draw(Callback):
        numbers = ()

        def on_mu_batch_end(self):
            rng = self.fit_params.mu.rng
            self.numbers = (*self.numbers, float(torch.rand(1, generator=rng)))

    plain_draw, aimed_draw = Draw(), Draw()
    real, plain = run(tmp_path, [plain_draw])
    _, aimed = run(tmp_path, [MuonResampler(), aimed_draw])
    for (_, before), (_, after) in zip(plain, aimed, strict=True):
        columns = torch.cat([before[:, :2], before[:, 3:]], 1)
        good = MuonResampler.check_mu_batch(MuonBatch(columns, before[:, 2]), real)
        assert torch.equal(after[good], before[good])
    assert plain_draw.numbers == aimed_draw.numbers


def test_aiming_is_the_same_in_every_run(tmp_path):
    _, first = run(tmp_path, [MuonResampler()])
    _, second = run(tmp_path, [MuonResampler()])
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_muons_of_a_bank_are_left_alone():
    callback = MuonResampler()
    callback.set_wrapper(Wrapper())
    batch = callback.fit_params.mu = MuonBatch(muons((5.0, 5.0, 0.0, 0.0)), 2.0)
    before = batch.muons
    callback.on_mu_batch_begin()
    assert batch.muons is before


@pytest.mark.gpu
def test_d33_aiming_works_where_the_muons_live():
    """D-33: the mask of accepted muons lived on the CPU."""
    volume = real_volume().to("cuda")
    rows = muons((0.5, 0.5, 0.0, 0.0), (3.0, 0.5, 0.0, 0.0)).to("cuda")
    generator = MuonGenerator2016.from_volume(volume)
    aimed = MuonResampler.resample(rows, volume, generator, stream(1, "gpu", device="cuda"))
    assert aimed.device.type == "cuda"
    assert torch.equal(aimed[0], rows[0])
