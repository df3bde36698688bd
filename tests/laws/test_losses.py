"""Laws of losses: one number, its gradient, precision, state."""

import pytest
import torch

import tomopt_tasks.losses as package
from tests.laws.parts import CLASSES, F64, LOSSES, SHAPE, members
from tests.unit.inference.fakes import FakeVolume
from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.materials import X0
from tomopt_tasks.rng import stream

COST = 6.0


def case(name, dtype=F64, device="cpu"):
    """A prediction that the loss can score, and its volume."""
    rng = stream(31, "losses", name)

    def draw(*shape):
        return torch.rand(shape, generator=rng, dtype=F64).to(device, dtype)

    x0s = torch.tensor(list(CLASSES), dtype=F64)
    cube = x0s[torch.randint(3, SHAPE, generator=rng)].to(device, dtype)
    cost = torch.tensor([COST], dtype=dtype, device=device, requires_grad=True)
    lw = torch.tensor([0.5, 0.6], dtype=dtype, device=device)
    target = torch.tensor([0.43], dtype=dtype, device=device)
    volume = FakeVolume(lw=lw, n_layers=SHAPE[0], target=target, rad_cube=cube, cost=cost)
    pred = {
        "VoxelX0Loss": lambda: draw(*SHAPE),
        "VoxelClassLoss": lambda: draw(1, 3, cube.numel()),
        "VolumeClassLoss": lambda: draw(1, 3),
        "VolumeMSELoss": lambda: draw(1),
        "VolumeIntClassLoss": lambda: draw(1, 5),
        "LadleFurnaceIntClassLoss": lambda: draw(1, 5),
    }[name]()
    if name == "VolumeClassLoss":
        volume.target = torch.tensor([X0["lead"]], dtype=dtype, device=device)
    return pred.requires_grad_(), volume


def loss(name, **kwargs):
    return LOSSES[name](**({"target_budget": 5.0, "cost_coef": 0.3} | kwargs))


def test_every_loss_is_tried():
    for name in package.__all__:
        getattr(package, name)
    final = members(AbsDetectorLoss, "tomopt_tasks.losses")
    assert final | {"VolumeIntClassLoss"} == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_loss_is_one_finite_number_of_the_precision_of_its_prediction(name, dtype):
    found = loss(name)(*case(name, dtype))
    assert found.numel() == 1
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
    double = loss(name)(*case(name))
    torch.testing.assert_close(found.double(), double, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("steep", [True, False])
def test_gradients_of_losses_equal_differences(name, steep):
    pred, volume = case(name)
    made = loss(name, steep_budget=steep)

    def total(values, cost):
        volume.cost = cost
        return made(values, volume).sum()

    assert torch.autograd.gradcheck(total, (pred, volume.cost), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_changes_neither_prediction_nor_truth_and_repeats_itself(name):
    pred, volume = case(name)
    before = (pred.detach().clone(), volume.target.clone(), volume.rad_cube.clone())
    made = loss(name)
    assert torch.equal(made(pred, volume), made(pred, volume))
    after = (pred.detach(), volume.target, volume.rad_cube)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_the_weight_of_the_cost_travels_with_the_state(name):
    made, fresh = loss(name, cost_coef=None), loss(name, cost_coef=None)
    first = made(*case(name))
    fresh.load_state_dict(made.state_dict())
    assert fresh.cost_coef == made.cost_coef is not None
    assert torch.equal(fresh(*case(name)), first)


@pytest.mark.gpu
@pytest.mark.parametrize("name", LOSSES)
def test_a_gpu_gives_the_same_loss(name):
    there = loss(name).to("cuda")(*case(name, device="cuda"))
    torch.testing.assert_close(there.cpu(), loss(name)(*case(name)))
