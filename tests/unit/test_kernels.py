"""Kernels: the same numbers and derivatives compiled or not, compiled once, in whole files."""

import shutil
from typing import NamedTuple

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.testing import assert_close

from tomopt_tasks import kernels, machine_code
from tomopt_tasks.kernels import Blockwise, compiling, in_pieces, kernel
from tomopt_tasks.machine_code import fingerprint
from tomopt_tasks.muons import angles

F64 = torch.float64
SCALE = 3.0


class Found(NamedTuple):
    curve: Float[Tensor, "panel mu"]
    total: Float[Tensor, "vol mu"]
    some: Bool[Tensor, " mu"]


def bent(x):
    return torch.sin(SCALE * x)


@kernel
def wave(x: Float[Tensor, "panel mu"]) -> tuple[Float[Tensor, "panel mu"]]:
    return (bent(x),)


class Slopes(NamedTuple):
    x: Float[Tensor, "panel mu"]


@kernel
def wave_slopes(x: Float[Tensor, "panel mu"], by: Float[Tensor, "panel mu"]) -> Slopes:
    return Slopes(by * SCALE * torch.cos(SCALE * x))


WAVE = Blockwise(wave, wave_slopes)


@kernel
def curve(
    level: Float[Tensor, " panel"], x: Float[Tensor, "panel mu"], rows: Float[Tensor, "vol mu"]
) -> Found:
    """A function with static axes, axes of any length, and a result that is no number."""
    found = level[:, None] * WAVE(x)[0]  # a kernel in a kernel
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
    forget()
    yield tmp_path / "tomopt" / "kernels"
    forget()


def forget():
    """What another process would not know."""
    curve._derivatives.clear()
    curve.__dict__.pop("_program", None)


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
    forget()  # as another process would find it
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


class Turned(NamedTuple):
    x: object
    y: object

    @staticmethod
    def by(x):
        return -x

    @classmethod
    def of(cls, x):
        return cls(x=cls.by(x), y=angles.azimuth(x, WEIGHTS[0]))


WEIGHTS = (1.0, 2.0)


def turned(x, *, sign=1.0):
    return Turned.of(sign * x)


OTHERS = {
    "a constant": (curve, f"{__name__}.SCALE", 4.0),
    "a function": (curve, f"{__name__}.bent", lambda x: torch.cos(SCALE * x)),
    "a kernel in it": (curve, f"{__name__}.wave.function", lambda x: (torch.cos(x),)),
    "its derivatives": (curve, f"{__name__}.wave_slopes.function", lambda x, by: (by * x,)),
    "how derivatives are formed": (curve, "tomopt_tasks.kernels._Blocks.backward", lambda *_: None),
    "a method of a class": (turned, f"{__name__}.Turned.by", staticmethod(lambda x: 2.0 * x)),
    "the order of names": (turned, f"{__name__}.Turned._fields", ("y", "x")),
    "a default": (turned, f"{__name__}.turned.__kwdefaults__", {"sign": 2.0}),
    "several constants": (turned, f"{__name__}.WEIGHTS", (1.0, 3.0)),
    "a function of a module": (turned, "tomopt_tasks.muons.angles.azimuth", lambda x, y: x),
    "a constant of a module": (turned, "tomopt_tasks.muons.angles.pi", 3.0),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_code_or_another_constant_is_another_kernel(what, monkeypatch):
    of, place, other = OTHERS[what]
    function = getattr(of, "function", of)
    before = fingerprint(function)
    assert fingerprint(function) == before
    monkeypatch.setattr(place, other)
    assert fingerprint(function) != before


def test_how_derivatives_are_formed_is_a_part_of_their_code(monkeypatch):
    before = fingerprint(curve.derivatives((True, True, False))._program.function)
    curve._derivatives.clear()
    assert fingerprint(curve.derivatives((True, True, False))._program.function) == before
    others = curve.derivatives((False, True, False))._program.function
    assert fingerprint(others) != before
    curve._derivatives.clear()
    monkeypatch.setattr(kernels, "_slopes_of", lambda *_: lambda *tensors: tensors)
    assert fingerprint(curve.derivatives((True, True, False))._program.function) != before
    curve._derivatives.clear()


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


def test_derivatives_that_nobody_wrote_are_those_of_autograd_block_by_block(monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 7)
    rng = torch.Generator().manual_seed(2)
    factor, x = (torch.rand(s, generator=rng, dtype=F64).requires_grad_() for s in ((2,), (2, 30)))
    weights = torch.rand(2, 30, generator=rng, dtype=F64)
    for wanted in ((factor, x), (factor,), (x,)):
        inputs = [t if any(t is w for w in wanted) else t.detach() for t in (factor, x)]
        (found,) = Blockwise(cubed)(*inputs)
        (plain,) = cubed.function(*inputs)
        got = torch.autograd.grad((found * weights).sum(), wanted)
        true = torch.autograd.grad((plain * weights).sum(), wanted)
        assert_close(got, true, rtol=1e-13, atol=0)


class SlopesOfX(NamedTuple):
    x: Float[Tensor, "axis mu"]


@kernel
def cubed_slopes_of_x(
    factor: Float[Tensor, " axis"], x: Float[Tensor, "axis mu"], by: Float[Tensor, "axis mu"]
) -> SlopesOfX:
    return SlopesOfX(3.0 * by * factor[:, None] * x**2)


def test_what_has_no_derivative_gets_none_and_must_not_need_one():
    factor, x = torch.ones(2, dtype=F64), torch.rand(2, 5, dtype=F64).requires_grad_()
    cube = Blockwise(cubed, cubed_slopes_of_x)
    (slope,) = torch.autograd.grad(cube(factor, x)[0].sum(), x)
    assert_close(slope, 3.0 * x.detach() ** 2)
    factor.requires_grad_()
    with pytest.raises(RuntimeError, match="cubed: no derivative"):
        torch.autograd.grad(cube(factor, x)[0].sum(), x)
    other = Blockwise(cubed_of_one, cubed_slopes_of_x)  # its argument has another name
    with pytest.raises(TypeError, match="no arguments in order"):
        torch.autograd.grad(other(x)[0].sum(), x)


@kernel
def cubed_of_one(y: Float[Tensor, "axis mu"]) -> tuple[Float[Tensor, "axis mu"]]:
    return (y**3,)


def test_pieces_of_volumes_and_muons_change_no_more_than_the_order_of_sums():
    @kernel
    def moments(
        weight: Float[Tensor, " vol"], x: Float[Tensor, "vol axis mu"]
    ) -> tuple[Float[Tensor, "vol axis mu"], Float[Tensor, "vol axis"], Float[Tensor, " axis"]]:
        weighed = weight[:, None, None] * x
        return weighed, weighed.sum(2), weighed.sum((0, 2))

    weight, x = torch.rand(5, dtype=F64), torch.rand(5, 2, 11, dtype=F64)
    whole = moments.function(weight, x)
    groups = [
        (slice(v, v + 2), slice(mu, mu + 4)) for v in range(0, 5, 2) for mu in range(0, 11, 4)
    ]
    torch.use_deterministic_algorithms(True)  # what nobody has written is NaN
    try:
        for pieces in (groups, [(slice(0, 5), slice(0, 11))]):
            assert_close(in_pieces(moments, (weight, x), pieces), whole, rtol=1e-13, atol=0)
    finally:
        torch.use_deterministic_algorithms(False)
