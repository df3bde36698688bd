"""Quantiles of muons in pieces are those of all of them, to the bit."""

import pytest
import torch

from tests.unit.inference.fakes import F64
from tomopt_tasks.inference.exposure import Exposure
from tomopt_tasks.inference.quantiles import quantile_per_row, quantiles_in_pieces
from tomopt_tasks.rng import stream

LIGHT = {"light": 1e-6, "lighter": 1e-10, "as light as can be": 1e-30}
FRACTIONS = (0.0, 0.15865, 0.5, 0.84135, 1.0)


def in_pieces(values, mass, size):
    """Of one row; muons are dropped after each look."""
    starts = range(0, len(values), size)
    pieces = [lambda k=k: (values[None, k : k + size], mass[None, k : k + size]) for k in starts]
    found = quantiles_in_pieces(Exposure(pieces, [], lambda: None), lambda p: p, FRACTIONS)
    assert found.shape == (len(FRACTIONS), 1, 1)
    return found.flatten()


def numbers(kind, dtype):
    rng = stream(5, "quantiles", kind)
    values = torch.randn(500, dtype=F64, generator=rng)
    mass = torch.rand(500, dtype=F64, generator=rng)
    if kind == "ties":
        values = values.round()
    if kind == "wide":
        values = values.sign() * 10.0 ** (values * (90 if dtype == F64 else 9))
    if kind == "near":
        values = 1.0 + values * (1e-15 if dtype == F64 else 1e-7)
    if kind in ("ones", "wide"):
        mass = (mass > 0.3).to(F64)
    if kind in LIGHT:
        mass = mass * LIGHT[kind]
    return values.to(dtype), mass.to(dtype)


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", ["plain", "ties", "wide", "near", "ones", *LIGHT])
def test_quantiles_of_pieces_are_those_of_all(kind, dtype):
    values, mass = numbers(kind, dtype)
    expected = [float(quantile_per_row(values[None], mass[None], q)) for q in FRACTIONS]
    for size in (500, 123, 41):
        found = in_pieces(values, mass, size)
        assert found.dtype == dtype
        assert found.tolist() == expected


def test_the_quantile_of_many_muons_is_exact():
    """Two have the mass of some millions: sums in single precision would be in steps of eight."""
    values = torch.arange(6.0)
    mass = torch.tensor([2.0**26, 1.0, 1.0, 1.0, 1.0, 2.0**26], dtype=torch.float32)
    fraction = (2.0**26 + 1.2) / (float(mass.double().sum()) - 1.0)
    assert float(quantile_per_row(values[None], mass[None], fraction)) == 2.0
    pieces = [lambda k=k: (values[None, k : k + 4], mass[None, k : k + 4]) for k in (0, 4)]
    exposure = Exposure(pieces, [], lambda: None)
    assert float(quantiles_in_pieces(exposure, lambda p: p, [fraction])) == 2.0


def test_nothing_that_counts_gives_infinity():
    values = torch.arange(4.0, dtype=F64)
    assert torch.isinf(in_pieces(values, torch.zeros_like(values), 3)).all()


def test_the_quantile_of_one_muon_is_its_value():
    values, mass = torch.tensor([3.0, -7.25, 9.0], dtype=F64), torch.tensor([0.0, 0.4, 0.0])
    assert in_pieces(values, mass.double(), 2).tolist() == [-7.25] * len(FRACTIONS)
