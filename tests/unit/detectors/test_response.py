import math

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64
from tomopt_tasks import kernels
from tomopt_tasks.detectors.response import (
    RESPONSE_FLOOR,
    gaussian_falloff,
    gaussian_response,
    inside,
    sigmoid_falloff,
    sigmoid_response,
)
from tomopt_tasks.detectors.soft_hits import gaussian_hits, sigmoid_hits

SPAN = torch.tensor([2.0, 1.0], dtype=F64)


def at(x, y):
    return torch.tensor([[x, y]], dtype=F64)


def test_golden_values_of_the_gaussian_response():
    edge = gaussian_response(at(1.0, 0.0), SPAN)[0]
    assert float(edge[0]) == pytest.approx(0.1353353, abs=5e-8)
    corner = gaussian_response(at(1.0, 0.5), SPAN)[0]
    assert float(corner.prod()) == pytest.approx(0.0183156, abs=5e-8)
    assert_close(gaussian_response(at(0.0, 0.0), SPAN), torch.ones(1, 2, dtype=F64))


@pytest.mark.parametrize(
    ("smooth", "values"),
    [
        (0.1, (1.0, 0.9933522, 0.5000227, 4.539993e-5)),
        (1.0, (1.0, 0.8514493, 0.6839397, 0.3678794)),
    ],
)
def test_golden_values_of_the_sigmoid_response(smooth, values):
    # distances in half-widths: 0, 0.5, 1, 2
    for distance, expected in zip((0.0, 0.5, 1.0, 2.0), values, strict=True):
        found = sigmoid_response(at(distance, 0.0), SPAN, torch.tensor([smooth], dtype=F64))
        assert float(found[0, 0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["gauss", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_responses_and_their_gradients_are_finite_however_far_away(kind, dtype):
    offset = torch.tensor([[0.0, 0.0], [10.0, -3.0], [1e5, 1e5]], dtype=dtype, requires_grad=True)
    span = SPAN.to(dtype).requires_grad_()
    if kind == "gauss":
        found = gaussian_response(offset, span)
    else:
        found = sigmoid_response(offset, span, torch.tensor([0.01], dtype=dtype))
    assert found.min() >= RESPONSE_FLOOR * (1 - 1e-6)
    slopes = torch.autograd.grad(found.log().sum(), [offset, span])
    assert all(torch.isfinite(slope).all() for slope in slopes)


def test_a_sharp_sigmoid_is_a_box():
    x = torch.tensor([-1.1, -0.9, 0.0, 0.9, 1.1], dtype=F64)
    offset = torch.stack([x, torch.zeros_like(x)], 1)
    soft = sigmoid_response(offset, SPAN, torch.tensor([1e-3], dtype=F64))[:, 0]
    assert_close(soft.round(), inside(offset, SPAN).to(F64))


def test_the_box_is_half_open():
    assert inside(at(-1.0, -0.5), SPAN).tolist() == [True]
    assert inside(at(1.0, 0.0), SPAN).tolist() == [False]
    assert inside(at(0.0, 0.5), SPAN).tolist() == [False]
    assert inside(at(math.nextafter(1.0, 0.0), 0.0), SPAN).tolist() == [True]


SMOOTH = torch.tensor([0.2], dtype=F64)


@pytest.mark.parametrize(
    ("falloff", "response", "more"),
    [(gaussian_falloff, gaussian_response, ()), (sigmoid_falloff, sigmoid_response, (SMOOTH,))],
    ids=["gauss", "sigmoid"],
)
def test_a_falloff_is_the_response_and_its_slope_by_logarithms(falloff, response, more):
    offset = torch.tensor([0.0, 1e-9, -0.3, 0.9, -1.4, 3.0, 40.0], dtype=F64).requires_grad_()
    span = torch.full_like(offset, 2.0).requires_grad_()  # the last one is at the floor
    found, slope = falloff(offset, span, *more)
    expected = response(offset, span, *more)
    assert torch.equal(found, expected)
    by_offset, by_span = torch.autograd.grad(expected.log().sum(), [offset, span])
    assert_close(slope, by_offset * offset)
    assert_close(-slope, by_span * span)
    assert float(slope[-1].detach()) == 0.0


@pytest.mark.parametrize("block", [3, 4096], ids=["blocks", "whole"])
@pytest.mark.parametrize(
    ("hits", "more"),
    [(gaussian_hits, ()), (sigmoid_hits, (torch.full((3,), 0.3, dtype=F64),))],
    ids=["gauss", "sigmoid"],
)
def test_hits_have_the_derivatives_of_differences_in_all_of_the_panels(
    hits, more, block, monkeypatch
):
    monkeypatch.setattr(kernels, "BLOCK", block)
    rng = torch.Generator().manual_seed(3)
    offset, slope, noise = (
        torch.randn(shape, generator=rng, dtype=F64) for shape in ((2, 8), (2, 8), (3, 2, 8))
    )
    panels = [torch.rand(shape, generator=rng, dtype=F64) + 0.5 for shape in ((3,), (3, 2), (3, 2))]
    panels += [torch.rand(3, generator=rng, dtype=F64) + low for low in (2.0, 0.1)]
    leaves = [panel.requires_grad_() for panel in panels]
    assert torch.autograd.gradcheck(
        lambda *at: hits(0.2 * offset, slope, noise, *at, *more), leaves
    )
    with torch.no_grad():
        leaves[-1][0] = 0.0  # a panel that sees nothing, and would see more with some efficiency
    seen = hits(0.2 * offset, slope, noise, *leaves, *more).efficiency
    (by_efficiency,) = torch.autograd.grad(seen[0].sum(), leaves[-1])
    assert float(by_efficiency[0]) > 0
    with pytest.raises(RuntimeError, match="no derivative"):  # lines are true, they do not move
        hits(offset.requires_grad_(), slope, noise, *leaves, *more)[0].sum().backward()
