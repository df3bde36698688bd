import json
import math
import struct
from collections import OrderedDict

import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.store import codec
from tomopt_tasks.store.errors import Damage

ODD_NAN = struct.unpack(">d", bytes.fromhex("fff8000000abcdef"))[0]


def edge_tree():
    """Everything that a state may hold and that usually loses bits."""
    rng = stream(1, "edge")
    noise = torch.randn(4, 3, generator=rng)
    payloads = torch.tensor([0x7FC12345, -1, 0x7F800001], dtype=torch.int32).view(torch.float32)
    return {
        "bf16": noise.bfloat16(),
        "f16": noise.half(),
        "f8": noise.to(torch.float8_e4m3fn),
        "f8_e5m2": noise.to(torch.float8_e5m2),
        "f64": noise.double().t(),  # not contiguous
        "scalar": torch.tensor(2**60),
        "u16": torch.tensor([65535], dtype=torch.uint16),
        "step": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "mask": noise > 0,
        "complex": torch.complex(noise, noise).conj(),
        "payloads": payloads,
        "zeros": torch.tensor([0.0, -0.0]),
        "parameter": torch.nn.Parameter(noise),
        "floats": [-0.0, 0.0, math.inf, -math.inf, 0.1, 5e-324, ODD_NAN],
        "ints": [0, -1, 2**53, -(2**200)],
        "text": "nul \0, lone \ud800, ü",
        "betas": (0.9, 0.999),
        "nothing": None,
        "flags": [True, False, 1, 0],
        "state": {0: {"step": torch.tensor(1.0)}, 1: {}, (1, "a"): (), None: []},
        "$": "t",
        "ordered": OrderedDict(b=1, a=2),
        "rng": rng.get_state(),
    }


def through(tree):
    encoded = codec.encode(tree)
    text = json.dumps(encoded.skeleton, allow_nan=False)
    return codec.decode(json.loads(text), encoded.buffers)


def bits(tensor):
    return bytes(tensor.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy())


def assert_same(one, other):
    """Equal to the bit: types, order of keys, dtypes, shapes, NaN payloads, signs of zero."""
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert bits(one) == bits(other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert [type(name) for name in one] == [type(name) for name in other]
        for name, value in one.items():
            assert_same(value, other[name])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, float):
        assert struct.pack("d", one) == struct.pack("d", other)
    else:
        assert type(one) is type(other)
        assert one == other


def test_every_bit_of_the_edge_tree_survives():
    assert_same(edge_tree(), through(edge_tree()))


def test_equal_trees_give_equal_bytes():
    assert codec.encode(edge_tree()) == codec.encode(edge_tree())


@pytest.mark.parametrize("dtype", sorted(codec.TENSOR_DTYPES))
def test_every_dtype_survives(dtype):
    raw = torch.arange(1, 65, dtype=torch.uint8)
    if dtype == "bool":
        raw = raw % 2
    tensor = raw.view(getattr(torch, dtype))
    assert_same({"x": tensor, "y": tensor[1:]}, through({"x": tensor, "y": tensor[1:]}))


def test_optimiser_state_goes_on_with_the_same_bits():
    def fresh():
        layer = torch.nn.Linear(3, 1)
        with torch.no_grad():
            layer.weight.fill_(0.1)
            layer.bias.fill_(0.2)
        return layer, torch.optim.Adam(layer.parameters(), lr=0.01, amsgrad=True)

    def train(layer, adam, steps):
        for step in steps:
            adam.zero_grad()
            x = torch.randn(5, 3, generator=stream(1, "x", step))
            layer(x).square().mean().backward()
            adam.step()

    layer, adam = fresh()
    train(layer, adam, range(5))
    state = through({"layer": layer.state_dict(), "adam": adam.state_dict()})
    train(layer, adam, range(5, 10))
    resumed, other = fresh()
    resumed.load_state_dict(state["layer"])
    other.load_state_dict(state["adam"])
    train(resumed, other, range(5, 10))
    assert_same(dict(layer.state_dict()), dict(resumed.state_dict()))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        lambda: None,
        torch.Size([1]),
        torch.float32,
        torch.empty(2, device="meta"),
        torch.eye(2).to_sparse(),
    ],
    ids=["object", "set", "bytes", "function", "Size", "dtype", "meta", "sparse"],
)
def test_anything_else_is_refused_with_its_path(value):
    with pytest.raises(UserError, match=r"tree\.opt\[1\]"):
        codec.encode({"opt": [0, value]})


def test_runaway_nesting_is_refused():
    tree = []
    for _ in range(100):
        tree = [tree]
    with pytest.raises(UserError, match="nested"):
        codec.encode(tree)


def tensor_node(dtype="float32", shape=(2,), offset=0):
    return {"$": "t", "d": dtype, "s": list(shape), "o": offset}


@pytest.mark.parametrize(
    "skeleton",
    [
        tensor_node(shape=(3,)),
        tensor_node(offset=1),
        tensor_node(offset=-1),
        tensor_node(shape=(-2,)),
        tensor_node(shape=(2**40, 2**40)),
        tensor_node(shape=(0, 2**60)),
        tensor_node(shape=(1,) * 40),
        tensor_node(shape=(1.0,)),
        tensor_node(shape="12"),
        tensor_node(dtype="object"),
        tensor_node(dtype="save"),
        {"$": "pickle", "v": "gASV"},
        {"$": ["t"]},
        {"$": "f", "v": 1},
        {"$": "d", "k": [1, 2], "v": [1]},
        {"$": "d", "k": [[]], "v": [1]},
        {"$": "n", "v": "00"},
        {"$": "i"},
        [1.5],
    ],
    ids=str,
)
def test_crafted_skeletons_are_damage(skeleton):
    with pytest.raises(Damage):
        codec.decode(skeleton, {"float32": bytes(8)})


def test_a_deep_skeleton_is_damage():
    skeleton = []
    for _ in range(100):
        skeleton = [skeleton]
    with pytest.raises(Damage, match="nested"):
        codec.decode(skeleton, {})
