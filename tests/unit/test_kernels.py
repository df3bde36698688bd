"""Kernels: the same numbers and derivatives compiled or not, compiled once, in whole files."""

import shutil
from typing import NamedTuple

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.testing import assert_close

from tomopt_tasks import kernels, machine_code
from tomopt_tasks.kernels import Blockwise, compiling, kernel
from tomopt_tasks.machine_code import fingerprint

F64 = torch.float64
SCALE = 3.0


class Found(NamedTuple):
    curve: Float[Tensor, "panel mu"]
    total: Float[Tensor, "vol mu"]
    some: Bool[Tensor, " mu"]


def bent(x):
    return torch.sin(SCALE * x)


@kernel
def curve(
    level: Float[Tensor, " panel"], x: Float[Tensor, "panel mu"], rows: Float[Tensor, "vol mu"]
) -> Found:
    """A function with static axes, axes of any length, and a result that is no number."""
    found = level[:, None] * bent(x)
    return Found(found, rows * found.sum(0), x[0] > 0.5)


def inputs(n_muons, n_volumes, dtype=F64, seed=1):
    rng = torch.Generator().manual_seed(seed)
    shapes = ((3,), (3, n_muons), (n_volumes, n_muons))
    return [torch.rand(shape, generator=rng, dtype=dtype).requires_grad_() for shape in shapes]


def results(given, *, on):
    with compiling(on=on):
        found = curve(*given)
    weights = torch.linspace(0.5, 2.0, found.total.numel(), dtype=found.total.dtype)
    loss = (found.total * weights.view_as(found.total)).sum() + found.curve.square().sum()
    return found, torch.autograd.grad(loss, given[:2])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(curve, "_programs", {})
    return tmp_path / "tomopt" / "kernels"


def test_a_kernel_is_its_function_unless_compilation_is_on(monkeypatch):
    monkeypatch.setattr(machine_code, "_compile", lambda *_: pytest.fail("compiled"))
    given = inputs(5, 2)
    found, _ = results(given, on=False)
    assert isinstance(found, Found)
    assert_close(found.curve, given[0][:, None] * torch.sin(3.0 * given[1]), rtol=0, atol=0)


def test_compiled_kernels_give_the_same_numbers_and_compile_once(cache, monkeypatch):
    compiled, compile_one = [], machine_code._compile

    def counted(function, axes, given, file):
        compiled.append(file.name)
        compile_one(function, axes, given, file)

    monkeypatch.setattr(machine_code, "_compile", counted)
    for n_muons, n_volumes in ((40, 3), (41, 3), (1000, 1), (2, 7), (1, 1)):
        given = inputs(n_muons, n_volumes)
        plain, plain_slopes = results(given, on=False)
        found, slopes = results(given, on=True)
        assert isinstance(found, Found)
        assert torch.equal(found.some, plain.some)
        assert_close(found, plain, rtol=1e-13, atol=1e-15)
        assert_close(slopes, plain_slopes, rtol=1e-12, atol=1e-14)
        again, slopes_again = results(given, on=True)
        assert torch.equal(again.total, found.total)
        assert all(map(torch.equal, slopes, slopes_again))
    assert len(compiled) == 2  # the function and its derivatives
    monkeypatch.setattr(curve, "_programs", {})  # as another process would find it
    results(inputs(50, 2), on=True)
    assert len(compiled) == 2
    assert sorted(path.name for path in cache.iterdir()) == sorted(compiled)


def test_nothing_is_left_of_a_kernel_that_could_not_be_compiled(cache, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no space left")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", broken)
    with pytest.raises(RuntimeError, match="no space left"):
        results(inputs(40, 3), on=True)
    assert list(cache.iterdir()) == []


def test_other_code_or_another_constant_is_another_kernel(monkeypatch):
    before = fingerprint(curve.function)
    assert fingerprint(curve.function) == before
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    assert fingerprint(curve.function) != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "bent", lambda x: torch.cos(SCALE * x))
    assert fingerprint(curve.function) != before


@kernel
def cubed(
    factor: Float[Tensor, " axis"], x: Float[Tensor, "axis mu"]
) -> tuple[Float[Tensor, "axis mu"]]:
    return (factor[:, None] * x**3,)


@kernel
def cubed_slopes(
    factor: Float[Tensor, " axis"], x: Float[Tensor, "axis mu"], by: Float[Tensor, "axis mu"]
) -> tuple[Float[Tensor, " axis"], Float[Tensor, "axis mu"]]:
    return (by * x**3).sum(1), 3.0 * by * factor[:, None] * x**2


def test_blocks_add_up_what_muons_have_in_common(monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 7)
    rng = torch.Generator().manual_seed(2)
    factor, x = (torch.rand(s, generator=rng, dtype=F64).requires_grad_() for s in ((2,), (2, 30)))
    (found,) = Blockwise(cubed, cubed_slopes)(factor, x)
    (plain,) = cubed.function(factor, x)
    assert torch.equal(found, plain)
    weights = torch.rand(2, 30, generator=rng, dtype=F64)
    got = torch.autograd.grad((found * weights).sum(), (factor, x))
    true = torch.autograd.grad((plain * weights).sum(), (factor, x))
    assert_close(got, true, rtol=1e-13, atol=0)
