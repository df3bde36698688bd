"""JSON Schema of study files, for editors and for messages that offer what is allowed."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from tomopt_tasks.config.compose import REMOVABLE
from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.study import StudyFile
from tomopt_tasks.own import PART

Schema = dict[str, Any]


@cache
def _study_schema() -> Schema:
    return StudyFile.model_json_schema(mode="validation")


def json_schema() -> Schema:
    """JSON Schema of a study file, with units, bounds, defaults and descriptions.

    It knows the keys that are read before validation too: ``extends``, a scene's ``like`` and a
    detector's ``file``.
    """
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= _study_schema() | {"title": "Study"}
    schema["required"] = ["version"]  # the rest may come from the file that is extended
    definitions = {name: dict(definition) for name, definition in schema["$defs"].items()}
    text = {"type": "string", "minLength": 1}
    schema["properties"] = schema["properties"] | {
        "extends": text | {"description": "Study file to start from, relative to this one."}
    }
    forms = schema["properties"]["detectors"]["additionalProperties"]["oneOf"]
    detectors = schema["properties"]["detectors"] | {"additionalProperties": {"anyOf": forms}}
    schema["properties"]["detectors"] = detectors  # a file may hold either form
    for name in ("GroupedDetector", "DetectorSettings"):
        file = text | {"description": "Detector file to start from, relative to this one."}
        definitions[name] = _with_key(definitions[name], "file", file)
    for name in scene_definitions(schema):
        like = {"enum": ["train", "valid", "test"], "description": "Scene to start from."}
        definitions[name] = _with_key(definitions[name], "like", like)
    for name, definition in definitions.items():
        if name.startswith("Own"):
            definitions[name] = _as_written(definition)
    schema["$defs"] = definitions
    result: Schema = _any_of(_removable(schema))
    return result


def _as_written(definition: Schema) -> Schema:
    """A part of the user's own as people write it: ``my_module:MyPart`` beside its options."""
    kind = definition["properties"]["kind"]
    written = {"type": "string", "pattern": f"^(?:{PART.pattern})$"}
    about = {key: kind[key] for key in ("description", "title") if key in kind}
    properties = definition["properties"] | {"kind": {"anyOf": [{"const": "own"}, written]} | about}
    return definition | {"properties": properties, "additionalProperties": True}


def _removable(node: Any) -> Any:  # noqa: ANN401
    """Null where a file may take an inherited entry away."""
    if isinstance(node, list):
        return [_removable(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: _removable(value) for key, value in node.items()}
    for name, mapping in result.get("properties", {}).items():
        inner = mapping.get("additionalProperties") if name in REMOVABLE else None
        if isinstance(inner, dict):
            result["properties"][name] = mapping | {
                "additionalProperties": {"anyOf": [inner, {"type": "null"}]}
            }
    return result


def _any_of(node: Any) -> Any:  # noqa: ANN401
    """``anyOf`` for ``oneOf``: a part may take its ``kind`` from another file."""
    if isinstance(node, list):
        return [_any_of(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in node.items()}


def scene_definitions(schema: Schema) -> list[str]:
    """Names of the definitions of all families of objects."""
    train = schema["$defs"]["Scenes"]["properties"]["train"]
    return [ref.rpartition("/")[2] for ref in _references(train)]


def _with_key(definition: Schema, key: str, value: Schema) -> Schema:
    """A definition that also allows a key which brings the required ones with it."""
    properties = definition["properties"] | {key: value}
    changed = definition | {"properties": properties}
    required = changed.pop("required", None)
    return (
        changed | {"anyOf": [{"required": required}, {"required": [key]}]} if required else changed
    )


def _references(node: Schema) -> Iterator[str]:
    if "$ref" in node:
        yield node["$ref"]
    for inner in (*node.get("oneOf", ()), *node.get("anyOf", ()), *node.get("allOf", ())):
        yield from _references(inner)


def schema_at(path: Path, data: Any, root: Schema | None = None) -> Schema:  # noqa: ANN401
    """The schema of one place of a file, its alternatives chosen by what is written there.

    Args:
        path: place in the file; where nothing is known of it the result is empty.
        data: the file as written.
        root: schema of the whole file; default: that of a study.
    """
    root = root or _study_schema()
    node = _choose(root, data, root)
    for step in path:
        data = data[step] if _has(data, step) else None
        if isinstance(step, int):
            entries = node.get("prefixItems", ())
            inner = entries[step] if step < len(entries) else node.get("items")
        else:
            inner = node.get("properties", {}).get(step, node.get("additionalProperties"))
        if not isinstance(inner, dict):
            return {}
        node = _choose(inner, data, root)
    return node


def _choose(node: Schema, data: Any, root: Schema) -> Schema:  # noqa: ANN401
    """Follow references, and in alternatives the one whose keys or type fit the data best."""
    if "$ref" in node:
        target = root["$defs"][node["$ref"].rpartition("/")[2]]
        return _choose(target, data, root) | {k: v for k, v in node.items() if k != "$ref"}
    options = node.get("oneOf") or node.get("anyOf")
    if not options:
        return node
    kind = data.get("kind") if isinstance(data, dict) else None
    mapping = node.get("discriminator", {}).get("mapping", {})
    if kind in mapping:
        return _choose({"$ref": mapping[kind]}, data, root)
    chosen = max((_choose(each, data, root) for each in options), key=lambda s: _fit(s, data))
    return chosen | {k: v for k, v in node.items() if k not in ("oneOf", "anyOf")}


def _fit(schema: Schema, data: Any) -> int:  # noqa: ANN401
    if isinstance(data, dict):
        return sum(key in schema.get("properties", ()) for key in data)
    if isinstance(data, list):
        nested = bool(data) and isinstance(data[0], list)
        items = schema.get("items", {})
        return int(schema.get("type") == "array") + int(nested and "prefixItems" in items)
    return int(schema.get("type") in ("number", "integer", "string"))


def _has(data: Any, step: str | int) -> bool:  # noqa: ANN401
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)
