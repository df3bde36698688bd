"""Format name and version on every root; JSON that is canonical, sealed by a digest, and finite."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.store.errors import Damage, NewerFormat

FORMAT = "tomopt.store"
VERSION = "1.0"
MAX_DEPTH = 64

Header = dict[str, Any]
MIGRATIONS: dict[int, Callable[[Header], Header]] = {}
"""Major version -> function that lifts a header (and body) of that version to the next one."""


def digest(data: bytes | memoryview) -> str:
    """sha256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, finite numbers."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode()


def header(role: str, **fields: object) -> Header:
    """The attributes that say what a root is and which version wrote it."""
    return {"format": FORMAT, "version": VERSION, "role": role, **fields}


def check_header(found: object, role: str, what: str) -> Header:
    """Accept this major version, lift older ones, refuse newer ones.

    Raises:
        Damage: not a header of this format, or of another role.
        NewerFormat: written by a newer major version.
    """
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("role") != role:
        msg = f"it is not a {role} of format {FORMAT}"
        raise Damage(msg)
    current = int(VERSION.partition(".")[0])
    major = _major(found.get("version"))
    if major > current:
        msg = (
            f"{what} has format version {found['version']}, newer than {VERSION} which this "
            "version of tomopt reads; upgrade tomopt or use another store"
        )
        raise NewerFormat(msg)
    for old in range(major, current):
        if old not in MIGRATIONS:
            msg = (
                f"{what} has format version {found['version']}, which tomopt no longer reads "
                f"(oldest: {current}.0); open it with an older tomopt or use another store"
            )
            raise UserError(msg)
        found = MIGRATIONS[old](found)
    return found


def _major(version: object) -> int:
    major, dot, minor = version.partition(".") if isinstance(version, str) else ("", "", "")
    if not (dot and major.isdecimal() and minor.isdecimal() and len(major) < 6):
        msg = f"format version {version!r} is not 'major.minor'"
        raise Damage(msg)
    return int(major)


def parse_json(raw: bytes | memoryview) -> Any:  # noqa: ANN401
    """JSON of untrusted bytes; NaN and runaway nesting are damage, not surprises."""
    try:
        return json.loads(bytes(raw), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        msg = f"its JSON cannot be read ({error})"
        raise Damage(msg) from error


def _no_constant(name: str) -> None:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def seal(role: str, body: Mapping[str, object], **place: object) -> bytes:
    """A readable JSON file that carries the digest of its own content.

    Args:
        role: what the file is for.
        body: what it says.
        place: where it belongs, so that it is not believed elsewhere.
    """
    sealed = header(role, body=body, **place)
    sealed["sha256"] = digest(canonical(sealed))
    return json.dumps(sealed, sort_keys=True, indent=1, allow_nan=False).encode()


def unseal(raw: bytes, role: str, what: str, **place: object) -> dict[str, Any]:
    """The body of a sealed file. The seal is the same in all versions, so it is checked first.

    Args:
        raw: the file.
        role: what it should be for.
        what: it is, in words.
        place: where it was found; a file that says another place was moved there.

    Raises:
        Damage: any bit differs from what was sealed, or it belongs elsewhere.
        NewerFormat: intact, but of a newer major version.
    """
    sealed = parse_json(raw)
    if not isinstance(sealed, dict):
        msg = "it is not a JSON object"
        raise Damage(msg)
    expected = sealed.pop("sha256", None)
    if expected != digest(canonical(sealed)):
        msg = "its digest does not match its content"
        raise Damage(msg)
    found = check_header(sealed, role, what)
    body = found.get("body")
    for name, value in place.items():
        if found.get(name, value) != value:  # the oldest files do not say it
            msg = f"it belongs to {name} {found[name]}, put under another name"
            raise Damage(msg)
    if not isinstance(body, dict):
        msg = "it has no body"
        raise Damage(msg)
    return body


def jsonable(value: object, where: str = "metrics", depth: int = 0) -> Any:  # noqa: ANN401
    """Plain JSON types: tuples become lists, numpy numbers Python ones, NaN and infinity null.

    Raises:
        UserError: something that JSON cannot hold, with the path to it.
    """
    if depth > MAX_DEPTH:
        msg = f"{where} is nested more than {MAX_DEPTH} deep; flatten it"
        raise UserError(msg)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, list | tuple):
        return [jsonable(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: jsonable(item, f"{where}.{name}", depth + 1) for name, item in value.items()}
    msg = (
        f"{where} is a {type(value).__name__}, which JSON cannot hold; use numbers, strings, "
        "lists and dicts with string keys (a tensor: call .item() or .tolist())"
    )
    raise UserError(msg)
