"""Reading studies and detectors: files in, frozen settings out; one sentence if wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tomopt_tasks.config.compose import Override, compose, with_bases
from tomopt_tasks.config.constraints import Constraints
from tomopt_tasks.config.detector_checks import check_detector
from tomopt_tasks.config.detector_file import DetectorFile
from tomopt_tasks.config.document import Document
from tomopt_tasks.config.input_files import admit_input_files
from tomopt_tasks.config.messages import located, sentence
from tomopt_tasks.config.own_parts import admit_own_parts
from tomopt_tasks.config.paths import Path, get_value
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.resolve import Resolved, resolve_detector
from tomopt_tasks.config.schema import Schema, schema_at
from tomopt_tasks.config.study import Study, StudyFile
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.volume.settings import World

_MISSING = object()
_ADAPTER: TypeAdapter[Any] = TypeAdapter(DetectorFile)


def load_study(path: FilePath | str, overrides: Sequence[Override] = ()) -> Study:
    """The study that a file describes, with every default and every panel filled in.

    Args:
        path: a YAML file; it may extend others and name detector files.
        overrides: (place, YAML text) such as ``("fit.phases[1].epochs", "20")``, and maybe where
            that was written; applied last.

    Raises:
        UserError: one sentence with the place in the file: what is wrong, the value got, what is
            allowed and how to cure it.
    """
    return study_of(compose(FilePath(path), overrides))


def study_of(document: Document) -> Study:
    """The study that a tree describes; see ``load_study``."""
    admit_own_parts(document)
    admit_input_files(document)
    try:
        written = StudyFile.model_validate(document.data)
    except ValidationError as error:
        raise sentence(error, document) from error
    resolved = {
        name: _resolve(detector, ("detectors", name), written.world, written.constraints, document)
        for name, detector in written.detectors.items()
    }
    parts = {name: getattr(written, name) for name in StudyFile.model_fields}
    parts["detectors"] = {name: result.detector for name, result in resolved.items()}
    try:
        return Study.model_validate(parts)
    except ValidationError as error:
        raise sentence(error, document, _origins(resolved, document.data)) from error


def load_detector(
    path: FilePath | str, world: World, constraints: Constraints | None = None
) -> DetectorSettings:
    """The detector that a file describes.

    Args:
        path: a YAML file in groups or with every panel.
        world: passive volume and height, for zones and checks.
        constraints: budget and gap to keep to; None: sides and gap as written.

    Raises:
        UserError: one sentence with the place in the file.
    """
    document = with_bases(FilePath(path))
    document.data.pop("version", None)
    try:
        written = _ADAPTER.validate_python(document.data)
    except ValidationError as error:
        raise sentence(error, document, schema_of=_detector_schema) from error
    result = _resolve(written, (), world, constraints, document)
    try:
        check_detector(result.detector, world, result.detector.gap, ())
    except Problem as problem:
        raise located(Problem(result.origin(problem.path), problem.text), document) from problem
    return result.detector


def _detector_schema(path: Path, data: Any) -> Schema:  # noqa: ANN401
    """What is allowed at a place of a detector file."""
    return schema_at(("detectors", "", *path), {"detectors": {"": data}})


def _resolve(
    written: Any,  # noqa: ANN401
    path: Path,
    world: World,
    constraints: Constraints | None,
    document: Document,
) -> Resolved:
    try:
        return resolve_detector(written, world, constraints)
    except Problem as problem:
        raise located(Problem((*path, *problem.path), problem.text), document) from problem


def _origins(resolved: dict[str, Resolved], data: Any) -> Callable[[Path], Path]:  # noqa: ANN401
    """Where an entry of the resolved study was written."""

    def origin(path: Path) -> Path:
        if path[:1] == ("detectors",) and len(path) > 2 and path[1] in resolved:
            return (*path[:2], *resolved[str(path[1])].origin(path[2:]))
        inherited = ("fit", *path[3:])
        in_phase = path[:2] == ("fit", "phases") and get_value(data, path, _MISSING) is _MISSING
        if in_phase and get_value(data, inherited, _MISSING) is not _MISSING:
            return inherited
        return path

    return origin
