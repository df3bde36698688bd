"""The whole of one study: one detector optimised, and what it is compared with."""

from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, field_validator, model_validator

from tomopt_tasks.config.callback_checks import check_callbacks
from tomopt_tasks.config.constraints import Constraints
from tomopt_tasks.config.detector_checks import check_detector
from tomopt_tasks.config.detector_file import DetectorFile
from tomopt_tasks.config.fit_checks import check_fit, check_names
from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.config.report_checks import check_monitors
from tomopt_tasks.config.report_settings import ReportSettings
from tomopt_tasks.config.scene_checks import check_exposures, check_muons, check_scene
from tomopt_tasks.config.target_checks import (
    check_correction,
    check_cost,
    check_inference,
    check_loss,
    check_targets,
    fill_loss,
)
from tomopt_tasks.config.version import VERSION
from tomopt_tasks.core import Config
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.inference.settings import (
    InferenceSettings,
    PocaZFillLevelSettings,
    predicted,
)
from tomopt_tasks.losses.settings import LossSettings, SpreadRangeLossSettings
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.quantities import Seed
from tomopt_tasks.scattering.settings import HighlandSettings, ScatterSettings
from tomopt_tasks.volume.scene_settings import SceneSettings
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.wrapper.settings import FitSettings


class Scenes(Config):
    """The objects to look at: to learn from, to choose and calibrate by, and to judge on once."""

    train: SceneSettings = LadleFurnaceSettings()
    """What the fit sees."""
    valid: SceneSettings = LadleFurnaceSettings(per_height=10)
    """What selection and calibration see; ``{like: train, ...}`` copies another scene."""
    test: SceneSettings = LadleFurnaceSettings(per_height=25)
    """What designs are judged on."""
    seed: Seed = 1
    """Names the random streams of the scenes; default: the seed of the study."""


Part = TypeVar("Part", Scenes, MuonSettings, FitSettings, EvaluationSettings)
Detector = TypeVar("Detector")


class _StudyParts(Config, Generic[Detector]):
    model_config = ConfigDict(validate_default=True)

    version: Literal[1] = VERSION
    """Version of the file format."""
    study: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=100)]
    """Name of the study; letters, digits, ``_``, ``-`` and ``.``"""
    seed: Seed = 1
    """Default of ``scenes.seed``, ``muons.seed``, ``fit.seed`` and ``evaluation.seed``."""
    world: World = World()
    """Passive volume and zones for panels."""
    scenes: Scenes = Scenes()
    """Objects for training, validation and test."""
    muons: MuonSettings = MuonSettings()
    """Source and number of muons."""
    transport: ScatterSettings = HighlandSettings()
    """How muons scatter on their way."""
    detectors: dict[str, Detector] = Field(min_length=1)
    """Detectors by name; the fit starts from one, all can be compared."""
    constraints: Constraints = Constraints()
    """What every detector keeps to."""
    inference: InferenceSettings = PocaZFillLevelSettings()
    """From hits to a prediction."""
    loss: LossSettings = SpreadRangeLossSettings()
    """What the fit minimises."""
    fit: FitSettings = FitSettings()
    """How the detector is optimised."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How designs are judged."""
    compare: tuple[str, ...] = ()
    """Designs to judge: names of detectors, and ``fit`` for the optimised one; empty: all."""
    report: ReportSettings = ReportSettings()
    """How the report looks."""
    notify: NotifySettings | None = None
    """Whom a run tells how it ended; null: nobody."""

    @field_validator("scenes", "muons", "fit", "evaluation", mode="after")
    @classmethod
    def _take_seed(
        cls,
        part: Part,
        info: Any,  # noqa: ANN401 - ValidationInfo cannot be checked at run time
    ) -> Part:
        if "seed" in part.model_fields_set or "seed" not in info.data:
            return part
        return part.model_copy(update={"seed": info.data["seed"]})

    @field_validator("evaluation", mode="after")
    @classmethod
    def _complete_evaluation(
        cls,
        evaluation: EvaluationSettings,
        info: Any,  # noqa: ANN401 - ValidationInfo cannot be checked at run time
    ) -> EvaluationSettings:
        inference = info.data.get("inference")
        voxels = inference is not None and predicted(inference) != "number"
        if voxels and "correction" not in evaluation.model_fields_set:
            evaluation = evaluation.model_copy(update={"correction": "none"})
        if evaluation.exposures or "muons" not in info.data:
            return evaluation
        n_muons = info.data["muons"].per_volume
        exposures = sorted({max(n_muons // part, 1) for part in (8, 4, 2, 1)})
        return evaluation.model_copy(update={"exposures": tuple(exposures)})

    @field_validator("loss", mode="after")
    @classmethod
    def _fill_loss(
        cls,
        loss: LossSettings,
        info: Any,  # noqa: ANN401 - ValidationInfo cannot be checked at run time
    ) -> LossSettings:
        if not {"inference", "world"} <= set(info.data):
            return loss
        return fill_loss(loss, info.data["inference"], info.data["world"])

    @field_validator("compare", mode="after")
    @classmethod
    def _fill_compare(
        cls,
        compare: tuple[str, ...],
        info: Any,  # noqa: ANN401 - ValidationInfo cannot be checked at run time
    ) -> tuple[str, ...]:
        if compare or not {"detectors", "fit"} <= set(info.data):
            return compare
        fit: FitSettings = info.data["fit"]
        others = [name for name in info.data["detectors"] if name != fit.start]
        start = [fit.start] if fit.start in info.data["detectors"] else []
        return (*start, *(["fit"] if fit.phases else []), *others)

    @field_validator("report", mode="after")
    @classmethod
    def _fill_title(
        cls,
        report: ReportSettings,
        info: Any,  # noqa: ANN401 - ValidationInfo cannot be checked at run time
    ) -> ReportSettings:
        if report.title or "study" not in info.data:
            return report
        return report.model_copy(update={"title": info.data["study"]})


class StudyFile(_StudyParts[DetectorFile]):
    """A study as it is written, after bases, overrides and detector files were merged."""


class Study(_StudyParts[DetectorSettings]):
    """A study with every default and every panel filled in: what stages and keys are made from."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, detector in self.detectors.items():
            check_detector(detector, self.world, self.constraints.gap, ("detectors", name))
        for split in ("train", "valid", "test"):
            scene = getattr(self.scenes, split)
            check_scene(scene, self.world, ("scenes", split))
            check_targets(scene, self.inference, split)
        check_inference(self.inference, self.world, trained=bool(self.fit.phases))
        if self.fit.phases:
            check_loss(self.inference, self.loss, self.scenes.train, self.world)
            check_cost(self.loss, self.constraints)
        check_correction(self.inference, self.evaluation)
        train = ("train",) if self.fit.phases else ()
        check_muons(self.muons, self.world, (*train, "valid", "test"))
        check_names(self.fit, self.compare, self.detectors)
        if self.fit.phases:
            n_volumes = self.scenes.train.n_volumes
            learned = self.inference.kind == "learned"
            check_fit(self.fit, self.detectors, self.world, n_volumes, learned=learned)
            check_callbacks(self.fit, self.loss, self.inference)
        check_monitors(self.report, self.fit, self.detectors)
        check_exposures(self.evaluation.exposures, self.muons.per_volume)
        return self

    @classmethod
    def from_volume(
        cls,
        volume: Any,  # noqa: ANN401 - a Volume; torch is imported when it is there
        wrapper: Any = None,  # noqa: ANN401
        **parts: Any,  # noqa: ANN401
    ) -> "Study":
        """The study of what a notebook has built; see ``config.from_volume.study_from_volume``."""
        from tomopt_tasks.config.from_volume import study_from_volume  # noqa: PLC0415

        return study_from_volume(volume, wrapper, **parts)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Designs to compare with: all in ``compare`` but the start and the result of the fit."""
        return tuple(name for name in self.compare if name not in ("fit", self.fit.start))
