"""What a person fills in to start a run from a form: bounds that hold before anything runs.

The types carry their JSON Schema, so that a form shows them and a server refuses a bad value
before a run exists. The study itself is validated when the run begins.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import Config

StudyPath = Annotated[str, Field(pattern=r"\.ya?ml$", max_length=500)]
DetectorPath = Annotated[str, Field(pattern=r"\.ya?ml$", max_length=500)]
CampaignPath = Annotated[str, Field(pattern=r"\.ya?ml$", max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Value = str | int | float | bool | list[Any] | None
"""What an entry of a study can be changed to; text is read as YAML."""

Changes = Annotated[dict[str, Value], Field(max_length=200)]
Stages = Annotated[list[Name], Field(max_length=200)]
Jobs = Annotated[int, Field(ge=1, le=1024)]


class Quick(Config):
    """The entries of a study that are changed most; empty: as the study says."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Seed of scenes, muons, fit and evaluation, unless the study names them one by one; >= 0."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Epochs of the last phase of the fit; 1 to 100 000."""
    muons_per_volume: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Muons that each volume is seen with; 1 to 100 000 000."""
    area: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Area of panels that all designs share [m2]; > 0."""


AS_WRITTEN = Quick()
"""Changes nothing."""


def study_from(
    path: str, changes: Mapping[str, Value] | None, quick: Quick | None = None
) -> tuple[Study, dict[str, str]]:
    """The study that a form asks for, and all changes as a command line takes them.

    Args:
        path: the study file.
        changes: place in the file -> other value.
        quick: the entries with a field of their own; they win.

    Raises:
        UserError: one sentence with the place in the file.
    """
    words = as_text(changes)
    study = load_study(path, list(words.items()))
    more = _places(quick or AS_WRITTEN, study)
    if not more:
        return study, words
    words |= more
    return load_study(path, list(words.items())), words


def as_text(changes: Mapping[str, Value] | None) -> dict[str, str]:
    """Changes as YAML text: strings are YAML already, and JSON is."""
    return {
        place: value if isinstance(value, str) else json.dumps(value)
        for place, value in (changes or {}).items()
    }


def _places(quick: Quick, study: Study) -> dict[str, str]:
    last = max(len(study.fit.phases) - 1, 0)
    places = {
        "seed": quick.seed,
        f"fit.phases[{last}].epochs": quick.epochs,
        "muons.per_volume": quick.muons_per_volume,
        "constraints.area": quick.area,
    }
    return {place: json.dumps(value) for place, value in places.items() if value is not None}
