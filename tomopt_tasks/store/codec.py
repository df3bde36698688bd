"""Nested training state <-> a JSON skeleton and one packed buffer per dtype; every bit survives.

No pickle: a tree holds dicts, lists, tuples, None, bool, int, float, str and torch tensors, and
anything else raises. Floats are written as hex, so that NaN payloads, -0.0 and infinities survive;
bfloat16 and float8 are stored as the integers with the same bits. Tensors come back on the CPU,
without gradients, and parameters come back as tensors: copy them into live ones. torch is imported
only where a tree holds a tensor.
"""

import math
import struct
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tomopt_tasks.core import UserError
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import MAX_DEPTH

MAX_NODES = 2_000_000
MAX_AXES = 32
EXACT_INT = 2**53

TENSOR_DTYPES: Mapping[str, str] = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e5m2": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2fnuz": "uint8",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint64": "uint64",
    "uint32": "uint32",
    "uint16": "uint16",
    "uint8": "uint8",
    "bool": "bool",
    "complex128": "complex128",
    "complex64": "complex64",
}
"""torch dtype -> Zarr data type of the buffer with the same bits."""

ITEM_BYTES: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1, "complex128": 16, "complex64": 8,
}  # fmt: skip
"""Zarr data type -> bytes per item."""


class Encoded(NamedTuple):
    """A tree in two halves."""

    skeleton: Any
    """JSON value; the order of dict keys is part of it."""
    buffers: dict[str, bytes]
    """torch dtype -> the bytes of all tensors of this dtype, in order of appearance."""


def encode(tree: object) -> Encoded:
    """Take a tree apart.

    Raises:
        UserError: something in the tree is of another type; the message holds the path to it.
    """
    encoder = _Encoder()
    skeleton = encoder.node(tree, "tree", 0)
    return Encoded(skeleton, {name: b"".join(parts) for name, parts in encoder.parts.items()})


def decode(skeleton: object, buffers: Mapping[str, bytes | memoryview]) -> Any:  # noqa: ANN401
    """Put a tree together again.

    Raises:
        Damage: the skeleton is malformed, too big, or points outside its buffers.
    """
    return _decoded(_Decoder(buffers), skeleton)


def _decoded(decoder: "_Decoder", skeleton: object) -> Any:  # noqa: ANN401
    try:
        return decoder.node(skeleton, 0)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        if isinstance(error, Damage):
            raise
        msg = f"its skeleton is malformed ({type(error).__name__}: {error})"
        raise Damage(msg) from error


class TensorShape(NamedTuple):
    """What an outline shows in the place of a tensor."""

    dtype: str
    shape: tuple[int, ...]


def outline(skeleton: object, buffers: Mapping[str, bytes | memoryview]) -> Any:  # noqa: ANN401
    """Like `decode`, checks included, but with a `TensorShape` for each tensor: without torch.

    Raises:
        Damage: as `decode`.
    """
    return _decoded(_Outliner(buffers), skeleton)


class _Encoder:
    def __init__(self) -> None:
        self.parts: dict[str, list[bytes]] = {}
        self.counts: dict[str, int] = {}
        self.torch: Any = sys.modules.get("torch")  # not imported: then nothing is a tensor

    def node(self, value: object, where: str, depth: int) -> Any:  # noqa: ANN401
        if depth > MAX_DEPTH:
            msg = f"{where} is nested more than {MAX_DEPTH} deep; flatten the state"
            raise UserError(msg)
        if type(value) in (dict, OrderedDict):
            return self.mapping(value, where, depth)  # type: ignore[arg-type]
        if type(value) is list:
            return [self.node(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        if type(value) is tuple:
            items = [self.node(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
            return {"$": "u", "v": items}
        if self.torch is not None and isinstance(value, self.torch.Tensor):
            return self.tensor(value, where)
        return _scalar(value, where)

    def mapping(self, value: Mapping[Any, Any], where: str, depth: int) -> Any:  # noqa: ANN401
        if all(type(name) is str for name in value) and "$" not in value:
            return {name: self.node(v, f"{where}.{name}", depth + 1) for name, v in value.items()}
        names = [self.node(name, f"{where}: key {name!r}", depth + 1) for name in value]
        items = [self.node(v, f"{where}[{name!r}]", depth + 1) for name, v in value.items()]
        return {"$": "d", "k": names, "v": items}

    def tensor(self, value: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
        name = str(value.dtype).removeprefix("torch.")
        plain = type(value) in (self.torch.Tensor, self.torch.nn.Parameter)
        strided = value.layout is self.torch.strided and value.device.type != "meta"
        if name not in TENSOR_DTYPES or not plain or not strided or value.is_quantized:
            msg = (
                f"{where} is a {type(value).__name__} of {value.dtype}, {value.layout} on "
                f"{value.device}; the store keeps plain dense tensors: convert it first"
            )
            raise UserError(msg)
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        offset = self.counts.get(name, 0)
        self.counts[name] = offset + flat.numel()
        self.parts.setdefault(name, []).append(flat.view(self.torch.uint8).numpy().tobytes())
        return {"$": "t", "d": name, "s": list(value.shape), "o": offset}


def _scalar(value: object, where: str) -> Any:  # noqa: ANN401
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if abs(value) < EXACT_INT else {"$": "i", "v": hex(value)}
    if type(value) is float:
        if math.isnan(value):
            return {"$": "n", "v": struct.pack(">d", value).hex()}
        return {"$": "f", "v": value.hex()}
    msg = (
        f"{where} is a {type(value).__module__}.{type(value).__name__}, which the store does not "
        "keep; use dicts, lists, tuples, numbers, strings, None and torch tensors"
    )
    raise UserError(msg)


class _Decoder:
    def __init__(self, buffers: Mapping[str, bytes | memoryview]) -> None:
        self.buffers = {name: memoryview(buffer) for name, buffer in buffers.items()}
        self.nodes = 0

    def node(self, value: Any, depth: int) -> Any:  # noqa: ANN401
        self.nodes += 1
        if depth > MAX_DEPTH + 1 or self.nodes > MAX_NODES:
            msg = f"its skeleton is nested deeper than {MAX_DEPTH} or has over {MAX_NODES} nodes"
            raise Damage(msg)
        if isinstance(value, list):
            return [self.node(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return self.plain(value)
        if "$" not in value:
            return {name: self.node(item, depth + 1) for name, item in value.items()}
        return self.tagged(value, depth)

    def plain(self, value: object) -> object:
        if isinstance(value, float):  # floats are always hex; a bare one was not written by us
            msg = "its skeleton holds a bare float"
            raise Damage(msg)
        return value

    def tagged(self, value: dict[str, Any], depth: int) -> Any:  # noqa: ANN401
        match value["$"]:
            case "f":
                return float.fromhex(value["v"])
            case "i":
                return int(value["v"], 16)
            case "n":
                return struct.unpack(">d", bytes.fromhex(value["v"]))[0]
            case "u":
                return tuple(self.node(item, depth + 1) for item in value["v"])
            case "d":
                names = [self.node(name, depth + 1) for name in value["k"]]
                items = [self.node(item, depth + 1) for item in value["v"]]
                return dict(zip(names, items, strict=True))
            case "t":
                return self.tensor(value["d"], value["s"], value["o"])
        msg = f"its skeleton has an unknown tag {value['$']!r}"
        raise Damage(msg)

    def tensor(self, name: Any, shape: Any, offset: Any) -> Any:  # noqa: ANN401  (untrusted)
        """A tensor whose buffer was found to hold it."""
        import torch  # noqa: PLC0415  (a plan must start without it)

        start, stop = self.span(name, shape, offset)
        dtype = getattr(torch, name)
        if start == stop:
            return torch.empty(shape, dtype=dtype)
        raw = bytearray(self.buffers[name][start:stop])
        return torch.frombuffer(raw, dtype=torch.uint8).view(dtype).reshape(shape)

    def span(self, name: Any, shape: Any, offset: Any) -> tuple[int, int]:  # noqa: ANN401
        """First byte of a tensor in its buffer, and the one after its last."""
        sizes = [offset, *shape]
        if name not in TENSOR_DTYPES or len(shape) > MAX_AXES:
            msg = f"its skeleton has a tensor of dtype {name!r} with {len(shape)} axes"
            raise Damage(msg)
        if any(type(n) is not int or n < 0 or n > EXACT_INT for n in sizes):
            msg = f"its skeleton has a tensor of shape {shape} at {offset}"
            raise Damage(msg)
        item = ITEM_BYTES[TENSOR_DTYPES[name]]
        count = math.prod(shape)
        buffer = self.buffers.get(name, memoryview(b""))
        if (offset + count) * item > buffer.nbytes:
            msg = f"its skeleton has a tensor of shape {shape} that ends outside its buffer"
            raise Damage(msg)
        return offset * item, (offset + count) * item


class _Outliner(_Decoder):
    def tensor(self, name: Any, shape: Any, offset: Any) -> TensorShape:  # noqa: ANN401
        self.span(name, shape, offset)
        return TensorShape(name, tuple(shape))
