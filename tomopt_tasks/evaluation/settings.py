"""How designs are judged."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, PositiveLength, Seed
from tomopt_tasks.wrapper.record_settings import RecordSettings, each_kind_once, without_default


class EvaluationSettings(Config):
    """Figures of merit on the test bank."""

    edges: Literal["hard", "smooth"] = "hard"
    """Panels end at their edge, or keep the soft response of the training."""
    calibrate_on: Literal["valid"] = "valid"
    """Bank that the correction is fitted on."""
    correction: Literal["linear", "none"] = "linear"
    """Correction of the predictions before they are judged."""
    fiducial_cuts: Annotated[tuple[PositiveLength, ...], Field(max_length=50)] = ()
    """Cuts in software that each design may choose from, or none, by its error on the validation
    bank: largest distances from the axis of the volume, along x and along y, at which a track may
    enter or leave [m]; > 0, each once; empty: no design cuts."""
    target_floor: PositiveLength | None = None
    """Judge by targets rounded down in single precision to a multiple of this [m]; > 0; compat: the
    published ladle table, where 0.1 m turns 1.3 m into 1.2 m; null: targets as they are."""
    bootstrap: Annotated[int, Field(strict=True, ge=100)] = 2000
    """Bootstrap replicates of the confidence intervals; >= 100."""
    exposures: tuple[Count, ...] = ()
    """Muons per volume at which the error is shown, ascending, the last is what the table shows;
    each <= muons.per_volume; empty: an eighth, a quarter, half and all of muons.per_volume."""
    records: tuple[RecordSettings, ...] = ()
    """What is stored of muons beside the predictions for the test bank, of each design at the
    largest exposure without a cut in software; each kind once; empty: nothing."""
    seed: Seed = 1
    """Names the random streams of hits and bootstrap; default: the seed of the study."""

    @field_validator("records")
    @classmethod
    def _check_records(cls, records: tuple[RecordSettings, ...]) -> tuple[RecordSettings, ...]:
        return each_kind_once(records)

    @model_serializer(mode="wrap")
    def _for_keys(
        self,
        dump: Any,  # noqa: ANN401 - pydantic's protocols cannot be checked at run time
        info: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        return without_default(dump(self), "records", info.context)

    @field_validator("fiducial_cuts")
    @classmethod
    def _each_once(cls, cuts: tuple[float, ...]) -> tuple[float, ...]:
        for index, cut in enumerate(cuts):
            if cut in cuts[:index]:
                text = "got {cut:g} m a second time; name each cut once"
                raise PydanticCustomError("cut", text, {"path": (index,), "cut": cut})
        return tuple(sorted(cuts))
