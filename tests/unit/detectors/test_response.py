import math

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64
from tomopt_tasks.detectors.response import (
    RESPONSE_FLOOR,
    gaussian_response,
    inside,
    sigmoid_response,
)

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
