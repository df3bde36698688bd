"""Stage keys: a sha256 over everything that a stage's result depends on, and nothing else.

A key chains from the study: inputs, the keys of the parents, the code that the stage runs, and the
numerics. So all keys are known before anything runs. What depends on time, host, path, thread count
or worker is provenance: it goes into the run's manifest, never into a key.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from math import isfinite
from typing import Any

from tomopt_tasks.caching.device import compiled, resolved_device
from tomopt_tasks.core import Config

SCHEMA_VERSION = 1
"""Raised by hand when the meaning of stored stages changes although their code does not."""


class Numerics(Config):
    """What decides the bits beside inputs and code."""

    torch: str
    """Version of torch, major.minor."""
    dtype: str = "float64"
    """Type of the numbers of the physics."""
    device: str = "cpu"
    """Resolved device type: cpu or cuda, never 'auto'."""
    compiled: bool = False
    """Whether the physics runs in compiled kernels."""


def numerics() -> Numerics:
    """The numerics of this process, from the installed metadata: torch is not imported."""
    version = ".".join(metadata.version("torch").split("+")[0].split(".")[:2])
    return Numerics(torch=version, device=resolved_device(), compiled=compiled())


def canonical_json(value: Any) -> str:  # noqa: ANN401
    """One text per value: sorted keys, no spaces, tuples as lists, -0.0 as 0.0.

    Raises:
        TypeError: the value holds something that JSON has no word for.
        ValueError: the value holds a NaN or an infinity.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:  # noqa: ANN401
    """The sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def components(
    stage: str,
    inputs: Config,
    parents: Mapping[str, str],
    code: str,
    numbers: Numerics,
) -> dict[str, Any]:
    """Everything that a key hashes, by name, so that a miss can be explained.

    Args:
        stage: name of the stage.
        inputs: the part of the study that the stage reads.
        parents: role -> key of the stage that plays it.
        code: digest of the definitions that the stage runs.
        numbers: see ``Numerics``.
    """
    return {
        "stage": stage,
        "schema": SCHEMA_VERSION,
        "inputs": inputs.model_dump(mode="json", context={"key": True}),
        "parents": dict(sorted(parents.items())),
        "code": code,
        "numerics": numbers.model_dump(mode="json"),
    }


def stage_key(parts: Mapping[str, Any]) -> str:
    """The key of a stage from its ``components``."""
    order = ("stage", "schema", "inputs", "parents", "code", "numerics")
    values = [parts[name] for name in order]
    try:  # components are plain JSON, so that the text of most is canonical as it is
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        text = "-0.0"
    return digest(values) if "-0.0" in text else hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                msg = f"a mapping in a key needs names as its keys, got {name!r}"
                raise TypeError(msg)
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, float):
        if not isfinite(value):
            msg = f"{value} cannot enter a key; keys hold finite numbers only"
            raise ValueError(msg)
        return value or 0.0
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    msg = f"{type(value).__name__} cannot enter a key: its text would differ between processes"
    raise TypeError(msg)
