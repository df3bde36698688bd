"""What a prediction records of its muons, named by ``kind`` in a study."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config

MaxMuons = Annotated[int, Field(strict=True, ge=1, le=100_000)]


class ScatterRecordSettings(Config):
    """The points of closest approach inside the passive volume."""

    kind: Literal["scatter_record"] = "scatter_record"
    """Name of this record."""
    max_muons: MaxMuons = 10_000
    """Muons to record at most, 1 to 100 000: spread evenly over the volumes, the first of each."""


class HitRecordSettings(Config):
    """The measured hits of all muons that are kept."""

    kind: Literal["hit_record"] = "hit_record"
    """Name of this record."""
    max_muons: MaxMuons = 10_000
    """Muons to record at most, 1 to 100 000: spread evenly over the volumes, the first of each."""


_Any = ScatterRecordSettings | HitRecordSettings
RecordSettings = Annotated[_Any, Field(discriminator="kind")]
"""Any record that a study can name."""

RECORDS: Mapping[str, type[Config]] = {
    part.model_fields["kind"].default: part for part in get_args(_Any)
}
"""Kind -> settings, of every record."""

Kinded = tuple[Any, ...]


def each_kind_once(parts: Kinded) -> Kinded:
    """A list of parts of which no kind stands twice.

    Raises:
        PydanticCustomError: at the kind of the second one.
    """
    kinds = [part.kind for part in parts]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            text = 'got "{kind}" a second time; name each kind once'
            raise PydanticCustomError("kind", text, {"path": (index, "kind"), "kind": kind})
    return parts


def without_default(
    dumped: dict[str, Any], name: str, context: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What enters a key: an entry that came later leaves keys as they were where it is not used."""
    if (context or {}).get("key") and not dumped[name]:
        del dumped[name]
    return dumped
