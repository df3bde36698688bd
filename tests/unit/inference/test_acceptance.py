from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inference.fakes import F64
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
