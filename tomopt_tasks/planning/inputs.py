"""What each stage reads of a study, and nothing beyond: these settings are hashed into its key.

Seeds are explicit, defaults are filled in, and names that a stage does not read are neutral: a
phase enters without its name and its number of epochs, so that a fit can be extended.
"""

from typing import Any, Literal

from pydantic import model_serializer

from tomopt_tasks.core import Config
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.settings import InferenceSettings
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.scattering.settings import ScatterSettings
from tomopt_tasks.volume.scene_settings import SceneSettings
from tomopt_tasks.volume.settings import World
from tomopt_tasks.wrapper.record_settings import RecordSettings, without_default
from tomopt_tasks.wrapper.settings import ParameterRules, Phase

Split = Literal["train", "valid", "test"]
"""Fits see train; calibration and selection see valid; test is judged once."""


class VolumesInputs(Config):
    """Reads of ``make_volumes``; no parents."""

    world: World
    """Box and voxels."""
    scene: SceneSettings
    """Family of objects."""
    seed: int
    """Names the streams of the scenes."""
    split: Split
    """Which bank the volumes are for."""


class BankInputs(Config):
    """Reads of ``transport_muons``; parent: volumes."""

    world: World
    """Box and voxels."""
    muons: MuonSettings
    """Source, plane, muons per volume and aim; replicas and fresh are neutral."""
    transport: ScatterSettings
    """Scatter model."""
    seed: int
    """Names the streams of the muons."""
    split: Split
    """Which volumes are exposed."""
    replica: int
    """Number of the exposure, from 0."""


class StartInputs(Config):
    """Reads of ``start_fit``; no parents."""

    world: World
    """Box that the detector stands in."""
    detector: DetectorSettings
    """Detector that the fit starts from."""
    parameters: ParameterRules
    """What learns."""
    model: LearnedSettings | None = None
    """Network that learns with the detector."""
    checkpoint: str | None = None
    """Key of a checkpoint whose parameters are taken over."""
    seed: int
    """Names the streams of the fit."""


class EpochInputs(Config):
    """Reads of ``fit_epoch``; parents: checkpoint, volumes, bank.

    Where an epoch looks at the validation volumes, ``valid/volumes`` and ``valid/bank``, too.
    """

    phase: Phase
    """Settings of the phase; name and number of epochs are neutral."""
    phase_index: int
    """Number of the phase, from 0."""
    epoch: int
    """Epochs of the fit before this one, in all phases."""
    phase_epoch: int
    """Epochs of the phase before this one; the search of rates comes first and counts."""
    volumes_per_step: int
    """Volumes that one update looks at."""
    parameters: ParameterRules
    """What learns."""
    inference: InferenceSettings
    """From scatters to predictions."""
    loss: LossSettings
    """What is minimised."""
    seed: int
    """Names the streams of the fit."""
    edges: Literal["hard", "smooth"] | None = None
    """Edges of the panels before the validation volumes; none: the epoch does not look at them."""


class TrainInputs(Config):
    """Reads of ``train_model``; parents: volumes, and the banks ``bank``, ``bank 1``, ..."""

    world: World
    """Box that the detector stands in."""
    detector: DetectorSettings
    """A design that stands still, its gap neutral."""
    phases: tuple[Phase, ...]
    """Phases of the fit with all panels frozen; their names are neutral."""
    n_banks: int
    """Exposures of the training volumes, which epochs take in turn."""
    inference: LearnedSettings
    """The network, and what it predicts."""
    loss: LossSettings
    """What is minimised."""
    seed: int
    """Names the streams of the fit."""


class TryInputs(Config):
    """Reads of ``try_start``.

    Parents: ``candidate/1`` and so on; training ``volumes`` and ``bank/0`` and so on; where there
    is a choice ``valid/volumes`` and ``valid/bank``.
    """

    place: int
    """Rank of the candidate that goes on, from 1."""
    epochs: tuple[EpochInputs, ...]
    """What it runs; none: it is only chosen."""
    replicas: tuple[int, ...]
    """Exposure that each epoch reads."""
    inference: InferenceSettings
    """From scatters to predictions."""
    loss: LossSettings
    """What candidates are ranked by."""
    edges: Literal["hard", "smooth"]
    """Edges of the panels when they are ranked."""
    seed: int
    """Names the streams of the fit."""


class PredictInputs(Config):
    """Reads of ``predict``; parents: volumes, bank, and the checkpoint of what was fitted."""

    world: World
    """Box that the detector stands in."""
    detector: DetectorSettings | None
    """A design as it is, its gap neutral; none for the one in the checkpoint."""
    inference: InferenceSettings
    """From scatters to predictions."""
    edges: Literal["hard", "smooth"]
    """Edges of the panels."""
    exposures: tuple[int, ...]
    """Muons per volume, ascending; the last is the full exposure."""
    fiducial_cuts: tuple[float, ...]
    """Cuts in software that are tried besides none [m]."""
    records: tuple[RecordSettings, ...] = ()
    """What is stored of muons; of the test bank only."""
    seed: int
    """Names the streams of the hits."""
    split: Split
    """Which bank is predicted."""

    @model_serializer(mode="wrap")
    def _for_keys(
        self,
        dump: Any,  # noqa: ANN401 - pydantic's protocols cannot be checked at run time
        info: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        return without_default(dump(self), "records", info.context)


class EvaluateInputs(Config):
    """Reads of ``evaluate``; parents: ``valid/<design>`` and ``test/<design>`` of each design."""

    evaluation: EvaluationSettings
    """How designs are judged; records are neutral."""
    designs: tuple[str, ...]
    """Names, in the order of the tables."""
    baselines: tuple[str, ...]
    """Those that the best of is the reference of the paired ratios."""
