import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tomopt_tasks.utils import class_to_x0preds, jacobian, x0targs_to_classtargs


def vector(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_jacobian_of_squares_is_diagonal():
    x = vector(1.0, 2.0, 3.0)
    torch.testing.assert_close(jacobian(x**2, x), torch.diag(2 * x).detach())


def test_jacobian_has_the_axes_of_y_then_those_of_x():
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    y = torch.stack([x.sum(0), (2 * x).sum(0)])  # y[a, b] = (a + 1) sum_i x[i, b]
    found = jacobian(y, x)
    assert found.shape == (2, 3, 4, 3)
    torch.testing.assert_close(found[1, 0, 2], torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64))


def test_jacobian_is_a_constant_unless_a_graph_is_asked_for():
    x = vector(1.0, 2.0)
    assert not jacobian(x**3, x).requires_grad
    second = jacobian(jacobian(x**3, x, create_graph=True).sum(0), x)
    torch.testing.assert_close(second, torch.diag(6 * x).detach())


@pytest.mark.parametrize("y", [vector(1.0, 2.0), torch.ones(2, dtype=torch.float64)])
def test_jacobian_of_what_does_not_depend_on_x_is_zero(y):
    assert torch.equal(jacobian(y * 2, vector(1.0)), torch.zeros(2, 1, dtype=torch.float64))


def test_jacobian_refuses_an_unused_x_when_told_so():
    with pytest.raises(RuntimeError, match=r"unused|not have been used"):
        jacobian(vector(1.0) * 2, vector(1.0), allow_unused=False)


def test_jacobian_of_nothing_is_empty():
    x = vector(1.0, 2.0)
    assert jacobian(x[:0], x).shape == (0, 2)


def test_classes_become_x0_and_the_array_stays():
    ids = np.array([[0, 2], [2, 1]])
    found = class_to_x0preds(ids, {0: 0.5, 1: 0.25, 2: 2.0})
    assert found.dtype == np.float32
    assert found.tolist() == [[0.5, 2.0], [2.0, 0.25]]
    assert ids.tolist() == [[0, 2], [2, 1]]


def test_an_unknown_class_is_a_key_error():
    with pytest.raises(KeyError):
        class_to_x0preds(np.array([3]), {0: 0.5})


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_ids_that_equal_other_x0_are_not_mapped_twice(convert):
    # sequential replacement in place would give [0, 0]
    assert x0targs_to_classtargs(convert([0.0, 1.0]), {0.0: 1, 1.0: 0}).tolist() == [1.0, 0.0]


def test_the_nearest_x0_wins_and_the_input_stays():
    values = np.array([[0.0172, 0.30], [0.005, 5.0]], dtype=np.float32)
    before = values.copy()
    found = x0targs_to_classtargs(values, {0.3608: 2, 0.01757: 1, 0.005612: 0})
    assert found.dtype == values.dtype
    assert found.tolist() == [[1.0, 2.0], [0.0, 2.0]]
    np.testing.assert_array_equal(values, before)


@given(
    st.lists(st.floats(1e-3, 500.0), min_size=1, max_size=6, unique=True),
    st.lists(st.floats(0.0, 1e3), max_size=8),
)
def test_no_other_x0_is_nearer(known, values):
    x02id = {x0: i for i, x0 in enumerate(known)}
    found = x0targs_to_classtargs(np.array(values, dtype=np.float64), x02id)
    for value, i in zip(values, found, strict=True):
        chosen = abs(known[int(i)] - value)
        assert chosen == pytest.approx(min(abs(x0 - value) for x0 in known), rel=1e-12, abs=1e-12)
