from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inference.fakes import ABOVE, BELOW, F64, FakeVolume, irradiate, panel_stack
from tomopt_tasks.inference.acceptance import acceptance, two_or_more


def row(*values):
    return torch.tensor([values], dtype=F64)


def test_golden_efficiencies_of_the_sides():
    above, below = row(0.6, 0.2, 0.3, 0.4), row(0.5, 0.6, 0.7, 0.8)
    assert float(two_or_more(above)) == pytest.approx(0.4832)
    assert float(two_or_more(below)) == pytest.approx(0.882)
    assert float(acceptance(above, below, "two_each_side")) == pytest.approx(0.4261824)
    assert float(two_or_more(row(0.9, 0.9, 0.9, 0.9))) == pytest.approx(0.9963)


def test_all_panels_is_the_product():
    found = acceptance(row(0.9, 0.8), row(0.5, 0.5, 1.0), "all_panels")
    assert float(found) == pytest.approx(0.9 * 0.8 * 0.25)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5))
def test_two_or_more_equals_the_sum_over_all_outcomes(chances):
    expected = 0.0
    for seen in product((False, True), repeat=len(chances)):
        if sum(seen) >= 2:
            probability = 1.0
            for chance, hit in zip(chances, seen, strict=True):
                probability *= chance if hit else 1.0 - chance
            expected += probability
    assert float(two_or_more(row(*chances))) == pytest.approx(expected, abs=1e-14)


def test_tiny_probabilities_keep_their_relative_precision_and_gradient():
    # 1 - prod(1 - e) - ... would cancel to zero
    chances = row(1e-9, 1e-9, 1e-9).requires_grad_()
    found = two_or_more(chances)
    assert float(found.detach()) == pytest.approx(3e-18, rel=1e-6)
    (slope,) = torch.autograd.grad(found, chances)
    assert slope[0, 0] == pytest.approx(2e-9, rel=1e-6)


def test_one_panel_is_never_enough():
    assert float(two_or_more(row(1.0))) == 0.0


def test_a_cut_in_software_keeps_tracks_that_enter_and_leave_near_the_axis():
    volume = FakeVolume()
    # straight down at x = 0.5 + off, but the last one leaves 0.45 m off
    off = torch.tensor([0.0, 0.29, -0.31, 0.0], dtype=F64)
    state = torch.zeros(1, 4, 9, dtype=F64)
    state[0, :, 0], state[0, :, 4] = 0.5 + off, 0.5 + off
    state[..., 1] = state[..., 5] = 0.5
    state[..., 8] = 5.0
    state[0, 3, 4] = 0.95
    panels = panel_stack(ABOVE), panel_stack(BELOW)
    accepted = {
        cut: irradiate(state, volume, *panels, fiducial=cut).accepted for cut in (None, 0.3)
    }
    assert (accepted[0.3] > 0).tolist() == [True, True, False, False]
    assert torch.equal(accepted[0.3][:2], accepted[None][:2])
