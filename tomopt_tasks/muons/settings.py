"""Where muons come from: the source, the plane that they start on, and how many."""

from math import pi
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import MUON_MASS, Config
from tomopt_tasks.input_files import InputFile
from tomopt_tasks.quantities import (
    Angle,
    Count,
    Energy,
    Flag,
    Length,
    Momentum,
    NonNegativeLength,
    Rate,
    Seed,
)


class _Spectrum(Config):
    momentum: Momentum | None = 5.0
    """Momentum of every muon [GeV]; > 0; null samples the energy spectrum."""
    energy_range: tuple[Energy, Energy] = (0.5, 500.0)
    """Lowest and highest total energy of the spectrum [GeV]; above the muon mass, ascending."""
    theta_range: tuple[Angle, Angle] = (0.0, 70.0 * pi / 180.0)
    """Smallest and largest zenith angle [rad]; 0 to 85 deg, ascending."""
    solid_angle: Flag = True
    """Weight angles by cos(theta) sin(theta); false is compat: TomOpt's flux before 2024-02-12."""

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        low, high = self.energy_range
        if not MUON_MASS < low < high:
            _refuse("energy_range", f"[{low}, {high}] GeV", "ascending and above 0.1057 GeV")
        low, high = self.theta_range
        if not 0.0 <= low < high <= 85.0 * pi / 180.0 + 1e-12:
            _refuse("theta_range", f"[{low:.4g}, {high:.4g}] rad", "ascending, within 0 to 85 deg")
        return self


def _refuse(field: str, got: str, allowed: str) -> None:
    text = "got {got}, but a range must be {allowed}; change it"
    raise PydanticCustomError("range", text, {"path": (field,), "got": got, "allowed": allowed})


class Shukla2016Settings(_Spectrum):
    """Sea-level flux of Shukla and Sankrith (arXiv:1606.06907)."""

    kind: Literal["shukla2016"] = "shukla2016"
    """Name of this source."""


class Guan2015Settings(_Spectrum):
    """Modified Gaisser flux of Guan et al. (arXiv:1509.06176)."""

    kind: Literal["guan2015"] = "guan2015"
    """Name of this source."""


class OwnFluxSettings(_Spectrum):
    """Ranges of a flux that a notebook defines; a study cannot name it."""

    kind: Literal["own"] = "own"
    """Name of this source."""


FluxSettings = Shukla2016Settings | Guan2015Settings
"""Any model of the flux."""


class TableFile(InputFile):
    """One file of a table source: CSV, Parquet or npz."""


class TableSettings(Config):
    """Muons of the user's own, e.g. from Geant4: one row a muon, with units in the header.

    Columns: ``volume`` (number of the object in its set, from 0); ``x_in``, ``y_in``, ``z_in`` and
    ``x_out``, ``y_out``, ``z_out`` with a unit of length, e.g. ``x_in [mm]``; directions ``dx_in``,
    ``dy_in``, ``dz_in`` and ``dx_out``, ``dy_out``, ``dz_out`` of any length, z upwards; ``p`` with
    a unit of energy; maybe ``event``. With the ``out`` columns the table is the muon bank; without
    any of them the muons scatter in the objects of the study as ``transport`` says.
    """

    kind: Literal["table"] = "table"
    """Name of this source."""
    rate: Rate
    """Rows of one volume that stand for a second of exposure [Hz]; > 0."""
    train: TableFile | None = None
    """Muons of the training volumes."""
    valid: TableFile | None = None
    """Muons of the validation volumes."""
    test: TableFile | None = None
    """Muons of the test volumes."""

    def only(self, split: str) -> "TableSettings":
        """The same with the file of one set alone."""
        others = {name: None for name in ("train", "valid", "test") if name != split}
        return self.model_copy(update=others)


SourceSettings = Annotated[
    Shukla2016Settings | Guan2015Settings | TableSettings, Field(discriminator="kind")
]
"""Any muon source."""


class GenerationPlane(Config):
    """The horizontal rectangle on which muons start."""

    z: Length | None = None
    """Height [m]; at or above the passive volume; null: the top of the world."""
    margin: NonNegativeLength | None = None
    """How far the plane reaches beyond the passive volume on each side in x and y [m]; >= 0;
    null: tan(15 deg) x (world.height - bottom of the passive volume + voxel), as in TomOpt."""


MAX_TRIES = 1000
"""Muons generated for each one wanted before aiming gives up, by default."""


class MuonResamplerSettings(Config):
    """Only muons whose straight line crosses the passive volume; others are drawn again."""

    kind: Literal["muon_resampler"] = "muon_resampler"
    """Name of this way to aim."""
    max_tries: Annotated[Count, Field(le=1_000_000)] = MAX_TRIES
    """Muons generated for each one wanted before the source counts as badly aimed; 1 to 1000000.
    The run ends in a sentence then; banks that come about do not depend on it, nor do their keys. A
    table ends with its rows instead."""

    @model_serializer(mode="wrap")
    def _as_flag(self, handler: Any, info: Any) -> Any:
        return True if (info.context or {}).get("key") else handler(self)


class NoAimSettings(Config):
    """All muons that start on the generation plane, wherever they fly."""

    kind: Literal["none"] = "none"
    """Name of this way not to aim."""

    @model_serializer(mode="wrap")
    def _as_flag(self, handler: Any, info: Any) -> Any:
        return False if (info.context or {}).get("key") else handler(self)


def _as_aim(value: Any) -> Any:
    """``true`` and ``false`` are short for the two kinds."""
    if isinstance(value, bool):
        return {"kind": "muon_resampler" if value else "none"}
    if isinstance(value, (dict, MuonResamplerSettings, NoAimSettings)):
        return value
    text = "is neither true nor false nor a mapping; write for example {kind: muon_resampler}"
    raise PydanticCustomError("aim", text)


_Aim = Annotated[MuonResamplerSettings | NoAimSettings, Field(discriminator="kind")]
AimSettings = Annotated[_Aim, BeforeValidator(_as_aim, json_schema_input_type=Flag | _Aim)]
"""Whether muons that miss the passive volume are drawn again, and how often."""


class MuonSettings(Config):
    """How many muons each volume sees, and which."""

    source: SourceSettings = Shukla2016Settings()
    """Spectrum in energy and angle."""
    per_volume: Count = 1000
    """Muons per volume and exposure that point at the passive volume; >= 1."""
    replicas: Count = 1
    """Independent exposures of the training volumes; epoch e uses number e mod replicas; >= 1.
    A table holds them one after the other."""
    fresh: Flag = False
    """Simulate new muons for every epoch instead of reading a stored bank."""
    plane: GenerationPlane | None = None
    """Where muons start; null: the top of the world with the default margin."""
    aim: AimSettings = MuonResamplerSettings()
    """Keep only muons whose straight line crosses the passive volume: ``true``, short for
    ``{kind: muon_resampler}``; or all: ``false``, short for ``{kind: none}``."""
    seed: Seed = 1
    """Names the random streams of the muons; default: the seed of the study."""
    train_seed: Seed | None = None
    """Names those of the training muons; null: ``seed``. With another number a fit sees other muons
    while designs are still judged on the same ones."""
    test_seed: Seed | None = None
    """Names those of the test muons; null: ``seed``. Another number judges the same fits, with the
    same calibration, on another bank."""
