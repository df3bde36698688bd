"""Sums over muons that come piece by piece: those of all muons, and their gradients."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64, FakeVolume, irradiate, kinked_muons, panel_stack
from tomopt_tasks.inference.exposure import Exposure, ScatterPiece, totals
from tomopt_tasks.inference.fill_level import central_weights, fill_level, heights
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.reduced import ReducedScatters
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.volume import AbsVolumeInferrer
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_map import UnbiasedX0
from tomopt_tasks.rng import stream

N = 60
HEIGHTS = (1.75, 1.65, 1.55, 1.45), (0.35, 0.25, 0.15, 0.05)


class Bent:
    """Numbers that depend on two parameters, formed a few at a time."""

    def __init__(self, size: int = 25, full=lambda _: False, spare=None) -> None:
        self.x = torch.randn(N, dtype=F64, generator=stream(3, "exposure"))
        self.parameters = [torch.tensor(v, dtype=F64, requires_grad=True) for v in (0.7, -0.2)]
        self.formed: list[tuple[int, bool]] = []
        self.alive: weakref.WeakSet = weakref.WeakSet()
        self.most = 0
        self.full = full
        starts = range(0, N, size)
        self.exposure = Exposure(
            [lambda k=k: self.form(k, size) for k in starts], self.parameters, spare or self.spare
        )
        self.spared = 0

    def spare(self) -> None:
        self.spared += 1

    def form(self, first: int, size: int) -> torch.Tensor:
        self.formed.append((first, torch.is_grad_enabled()))
        if self.full(len(self.formed)):
            raise torch.OutOfMemoryError("CUDA out of memory")
        x, (a, b) = self.x[first : first + size], self.parameters
        formed = torch.sin(a * x) + b * x**2
        self.alive.add(formed)
        self.most = max(self.most, len(self.alive))
        return formed


def count_and_mean(some, _):
    return some.sum(), some.new_tensor(float(len(some)))


def square(some, before):
    total, n = before[0]
    return (((some - total / n) ** 2).sum(),)


def peaks(some, before):
    (total, n), (squares,) = before
    u = (some - total / n) ** 2 * n / squares
    return torch.exp(-u).sum(), (u * some).sum()


STEPS = (count_and_mean, square, peaks)


def gradients_of(muons, parameters, *steps):
    found = totals(muons, *steps)
    flat = [each for of_step in found for each in of_step]
    loss = sum((k + 1.3) * torch.log1p(each**2) for k, each in enumerate(flat))
    return flat, torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 25, N])
def test_sums_of_pieces_and_their_gradients_are_those_of_all(size, n_steps):
    """Later steps depend on all that earlier ones gave."""
    bent = Bent(size)
    found, slopes = gradients_of(bent.exposure, bent.parameters, *STEPS[:n_steps])
    expected, slopes_expected = gradients_of(bent.form(0, N), bent.parameters, *STEPS[:n_steps])
    assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert_close(slopes, slopes_expected, rtol=1e-12, atol=1e-12)
    assert all(float(slope) != 0.0 for slope in slopes)


def test_each_step_is_one_pass_and_the_graph_of_muons_is_formed_once():
    bent = Bent()
    gradients_of(bent.exposure, bent.parameters, *STEPS)
    of_a_pass = [0, 25, 50]
    without = [(first, False) for first in 5 * of_a_pass]  # three sums, what two make of others
    assert bent.formed == without + [(first, True) for first in of_a_pass]
    assert bent.most <= 2  # the next is formed before the last one is dropped


def test_without_gradients_there_is_one_pass_a_step():
    bent = Bent()
    with torch.no_grad():
        found = totals(bent.exposure, *STEPS)
    assert not any(each.requires_grad for of_step in found for each in of_step)
    assert len(bent.formed) == 9


def test_sums_that_no_loss_asks_for_have_no_gradient():
    bent = Bent()
    (total, _), _, (peak, _) = totals(bent.exposure, *STEPS)
    (total.detach() + peak).backward()
    first = [p.grad.clone() for p in bent.parameters]
    whole = Bent()
    _, _, (peak, _) = totals(whole.form(0, N), *STEPS)
    peak.backward()
    assert_close(first, [p.grad for p in whole.parameters], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("call", [10, 12, 14, 16, 18])
def test_a_piece_that_finds_no_memory_is_formed_again_with_equal_bits(call):
    """Calls 10 to 15 are for the sums of before, those from 16 for the parameters."""
    whole = Bent()
    _, expected = gradients_of(whole.exposure, whole.parameters, *STEPS)
    bent = Bent(full=lambda calls: calls == call)
    _, found = gradients_of(bent.exposure, bent.parameters, *STEPS)
    assert bent.spared == 1
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_what_cannot_be_spared_is_an_error():
    def spare():
        raise RuntimeError("nothing left")

    bent = Bent(full=lambda calls: calls > 9, spare=spare)
    with pytest.raises(RuntimeError, match="nothing left"):
        gradients_of(bent.exposure, bent.parameters, *STEPS)


def test_scatters_that_are_kept_serve_where_no_graph_is_wanted():
    volume, formed = FakeVolume(), []
    above, below = panel_stack(HEIGHTS[0]), panel_stack(HEIGHTS[1])
    state = kinked_muons(20, volume)

    def form():
        formed.append(torch.is_grad_enabled())
        return irradiate(state, volume, above, below)

    piece = ScatterPiece(form, [], lambda: None)
    piece.kept = kept = ReducedScatters.of(form())
    with torch.no_grad():
        assert piece.scatters() is kept
    assert torch.equal(piece.scatters().poca.xyz, kept.poca.xyz)
    piece.drop()
    with torch.no_grad():
        assert isinstance(piece.scatters(), ScatterBatch)
    assert formed == [True, True, False]


def some_of(muons, part):
    """Some of the muons of one volume."""

    def cut(of):
        each = {name: getattr(of, name) for name in of.__slots__}
        return replace(of, **{n: v[part] for n, v in each.items() if isinstance(v, torch.Tensor)})

    tracks = {name: cut(getattr(muons, name)) for name in ("before", "after", "poca")}
    return replace(cut(muons), **tracks)


@pytest.mark.parametrize("share", ["path", "voxel"])
@pytest.mark.parametrize("weights", ["expected", "plain"])
def test_maps_of_pieces_are_those_of_all(weights, share):
    """Hits of a resolution that matters: weights of before and after differ."""
    volume = FakeVolume()
    above, below = (panel_stack(z, res=3e2) for z in HEIGHTS)
    inferrer = PanelX0Inferrer(volume, UnbiasedX0(weights=weights, share=share))
    inferrer.add_scatters(irradiate(kinked_muons(300, volume), volume, above, below))
    muons = inferrer.measured
    parts = [slice(k, k + 70) for k in range(0, 300, 70)]
    exposure = Exposure([lambda p=p: some_of(muons, p) for p in parts], [], lambda: None)
    found, whole = (inferrer.method(of, inferrer.grid) for of in (exposure, muons))
    assert_close(found, whole, rtol=1e-12, atol=0.0)
    plain = UnbiasedX0(weights="plain", share=share)(muons, inferrer.grid)
    assert (weights == "plain") == torch.allclose(whole, plain, rtol=1e-3)


@pytest.mark.parametrize("widths", ["many", "two"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("detached", [True, False])
def test_levels_of_pieces_and_their_gradients_are_those_of_all(detached, weighted, widths):
    """With ties: gradients of a quantile go to all values that lie there, alike.

    The upper one of two widths is that of muons that do not count.
    """
    n, rng = 80, stream(7, "levels")
    z, sigma, accepted = (torch.rand(n, dtype=F64, generator=rng) for _ in range(3))
    sigma = 0.05 + sigma.mul(30).round() / 100 if widths == "many" else 0.7 + 0.3 * sigma.round()
    accepted = accepted.clamp_min(0.2) - 0.2
    leaves = [of.clone().requires_grad_() for of in (z, sigma, accepted)]
    xyz = torch.full((n, 2), 0.5, dtype=F64)
    columns = central_weights(10, 1.0), central_weights(10, 1.0)

    def some(part):
        z, sigma, accepted = (of[part] for of in leaves)
        at, width = torch.column_stack([xyz[part], z]), torch.column_stack([xyz[part], sigma])
        poca = Poca(at, width, torch.ones(len(z), dtype=torch.bool))
        return heights(poca, accepted, 1, columns, 0.1, weighted_quantiles=weighted)

    parts = [slice(k, k + 30) for k in range(0, n, 30)]
    exposure = Exposure([lambda p=p: some(p) for p in parts], leaves, lambda: None)
    found, expected = (
        fill_level(muons, detach_quantiles=detached) for muons in (exposure, some(slice(None)))
    )
    assert_close(found, expected, rtol=1e-13, atol=0.0)
    for one, other in zip(found, expected, strict=True):
        slopes, others = (torch.autograd.grad(of, leaves, retain_graph=True) for of in (one, other))
        for k, (slope, whole) in enumerate(zip(slopes, others, strict=True)):
            groups = leaves[1].detach() if k == 1 else torch.arange(float(n))
            for value in groups.unique():  # ties share
                here = groups == value
                assert_close(slope[here].sum(), whole[here].sum(), rtol=1e-10, atol=1e-13)


class OwnPredictions(PanelX0Inferrer):
    """Looks at all scatters itself."""

    def get_predictions(self):
        return [self.merged(lambda batch: batch.poca.xyz)]


class OwnMomenta(PanelX0Inferrer):
    """Changes what the muons are, not how they are looked at."""

    def reconstructed_momentum(self, scatters):
        return 2.0 * super().reconstructed_momentum(scatters)


class OwnPieces(OwnPredictions):
    """Looks at pieces, as it says."""

    takes_pieces = True

    def get_predictions(self):
        return []


def test_who_makes_predictions_of_its_own_gets_all_muons_at_once():
    kinds = (PanelX0Inferrer, OwnMomenta, OwnPredictions, OwnPieces, AbsVolumeInferrer)
    assert [kind.takes_pieces for kind in kinds] == [True, True, False, True, False]
