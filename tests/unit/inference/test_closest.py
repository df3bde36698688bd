"""Midpoints of common perpendiculars against the definition, differentiated by autograd."""

import pytest
import torch
from torch import Tensor

from tomopt_tasks import kernels
from tomopt_tasks.inference.closest import LinePair, midpoints

F64 = torch.float64
DROP = 0.6
"""Depth of the plane of the second line below that of the first [m]."""


def line_pairs(n_muons: int, seed: int = 0) -> LinePair:
    """Muons that scatter by some 20 mrad between two planes, measured with correlated errors."""
    rng = torch.Generator().manual_seed(seed)
    normal = [torch.randn(2, 2, n_muons, generator=rng, dtype=F64) for _ in range(4)]
    slope = 0.5 * normal[0][:1] + torch.tensor([0.0, 0.02], dtype=F64)[:, None, None] * normal[0]
    offset = 0.5 + 0.01 * normal[1] + torch.tensor([0.0, DROP], dtype=F64)[:, None, None] * slope
    width_a, width_s = 1e-4 * (1.0 + normal[2].abs()), 1e-3 * (1.0 + normal[3].abs())
    lines = (offset, slope, width_a**2, 0.4 * width_a * width_s, width_s**2)
    return LinePair(*(part.requires_grad_() for part in lines))


def midpoint(offset: Tensor, slope: Tensor) -> Tensor:
    """Of one muon, from the conditions that the perpendicular is normal to both lines."""
    one = torch.ones(2, 1, dtype=offset.dtype)
    point = torch.cat([offset, torch.tensor([[0.0], [DROP]], dtype=offset.dtype)], 1)
    along = torch.cat([slope, one], 1)
    both = torch.stack([along[0], -along[1]], 1)
    t = torch.linalg.solve(along @ both, along @ (point[1] - point[0]))
    return 0.5 * (point + t[:, None] * along).sum(0)


def by_definition(lines: LinePair) -> tuple[Tensor, Tensor]:
    """Midpoints, and variances by linear propagation with derivatives from autograd."""
    found, variances = [], []
    for offset, slope, var_a, cov, var_s in zip(*(of.unbind(2) for of in lines), strict=True):
        by_a, by_s = torch.autograd.functional.jacobian(
            midpoint, (offset, slope), create_graph=True
        )
        found.append(midpoint(offset, slope))
        terms = by_a**2 * var_a + 2.0 * by_a * by_s * cov + by_s**2 * var_s
        variances.append(terms.sum((1, 2)))
    return torch.stack(found, 1), torch.stack(variances, 1)


def test_midpoints_and_variances_are_those_of_the_definition() -> None:
    lines = line_pairs(7)
    found, expected = midpoints(lines, DROP), by_definition(lines)
    torch.testing.assert_close(found.at, expected[0])
    torch.testing.assert_close(found.variance, expected[1])
    assert bool(found.crossing.all())


@pytest.mark.parametrize("which", [0, 1])
def test_derivatives_are_those_of_the_definition(which: int) -> None:
    lines = line_pairs(7)
    expected = by_definition(lines)[which]
    weight = torch.rand(expected.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    weight /= expected.detach().abs()
    found = midpoints(lines, DROP)[which]
    used = lines[:2] if which == 0 else lines
    wanted = torch.autograd.grad((expected * weight).sum(), used)
    got = torch.autograd.grad((found * weight).sum(), used)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9 * float(theirs.abs().max()))


def test_blocks_change_no_more_than_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    def results() -> list[Tensor]:
        lines = line_pairs(50)
        found = midpoints(lines, DROP)
        total = (found.at.sum(0) + 1e4 * found.variance.sum(0)).sum()
        return [found.at, found.variance, *torch.autograd.grad(total, lines)]

    whole = results()
    monkeypatch.setattr(kernels, "BLOCK", 16)
    for one, other in zip(whole, results(), strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-11, atol=1e-13 * float(one.detach().abs().max())
        )


def test_parallel_lines_do_not_cross_and_stay_finite() -> None:
    lines = line_pairs(3)
    with torch.no_grad():
        lines.slope[1] = lines.slope[0]
    found = midpoints(lines, DROP)
    assert not bool(found.crossing.any())
    total = found.at.sum() + found.variance.sum()
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(total, lines))
