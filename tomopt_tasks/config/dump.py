"""Writing studies and detectors as YAML that can be read again: plain SI numbers, no references."""

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from tomopt_tasks.config.study import Study
from tomopt_tasks.config.version import VERSION
from tomopt_tasks.detectors.settings import DetectorSettings

_WIDTH = 200
"""Longest line, so that a panel fits on one."""


def dump_study(study: Study) -> str:
    """The whole study with every default and every panel, all in SI; ``load_study`` reads it."""
    return _to_yaml(study.model_dump(mode="json"))


def dump_detector(detector: DetectorSettings) -> str:
    """A detector with every panel, for ``{file: ...}`` in a study; ``load_detector`` reads it."""
    return _to_yaml({"version": VERSION, **detector.model_dump(mode="json")})


class _Representer(SafeRepresenter):
    """Short mappings of plain values on one line, whatever kind a thing is first."""

    def represent_mapping(self, tag: Any, mapping: Any, flow_style: Any = None) -> MappingNode:  # noqa: ANN401
        first = ("name", "kind")
        ordered = {key: mapping[key] for key in first if key in mapping} | mapping
        node: MappingNode = super().represent_mapping(tag, ordered, flow_style)
        shallow = all(_is_plain(value) for _, value in node.value)
        node.flow_style = shallow and len(str(mapping)) < _WIDTH
        return node


def _is_plain(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return True
    return not isinstance(node, MappingNode) and all(
        isinstance(item, ScalarNode) for item in node.value
    )


def _to_yaml(tree: dict[str, Any]) -> str:
    """YAML 1.2 in the order of the tree."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = _WIDTH
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()
