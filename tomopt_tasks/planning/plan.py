"""From a study to its stages: what runs in which order, from what, and under which key.

This is the one description of the data flow; the flows and the plain runner walk along it.
Nothing runs here and nothing is read but the study, so a plan costs milliseconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from tomopt_tasks.caching.closure import code_digest
from tomopt_tasks.caching.keys import Numerics, components, numerics, stage_key
from tomopt_tasks.config.constraints import scale_to_budget
from tomopt_tasks.config.starts import random_start
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import Config
from tomopt_tasks.detectors.settings import DetectorSettings
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.muons.settings import TableSettings
from tomopt_tasks.planning.inputs import (
    BankInputs,
    EpochInputs,
    EvaluateInputs,
    PredictInputs,
    Split,
    StartInputs,
    TrainInputs,
    TryInputs,
    VolumesInputs,
)
from tomopt_tasks.wrapper.settings import Parameter

KINDS = {
    "make_volumes": "volumes",
    "transport_muons": "bank",
    "start_fit": "checkpoint",
    "try_start": "checkpoint",
    "fit_epoch": "checkpoint",
    "train_model": "checkpoint",
    "predict": "predictions",
    "evaluate": "evaluation",
}
"""Name of a stage -> kind of what it stores, in pipeline order."""

PANEL_PARAMETERS: tuple[str, ...] = get_args(Parameter)
"""All that panels can learn."""

FITTED = "fit"
"""The design that the fit ends with, where a study names designs to compare."""


@dataclass(frozen=True)
class Stage:
    """One unit of work whose result is a function of ``key``."""

    name: str
    """What runs: a function of ``stages.py``."""
    label: str
    """What it is for, unique in a study: "train volumes", "coarse epoch 3"."""
    inputs: Config
    """What it reads of the study."""
    parents: Mapping[str, str]
    """Role -> key of the stage that plays it."""
    components: Mapping[str, Any]
    """Everything that the key hashes."""
    key: str
    """Where its result lies."""
    older: Mapping[str, str] = field(default_factory=dict)
    """Module -> digest of the code that made it, where that is accepted though it is not the code
    of this process; else empty."""

    @property
    def kind(self) -> str:
        """Kind of the stored result."""
        return KINDS[self.name]


def plan_study(
    study: Study, numbers: Numerics | None = None, reference: str | None = None
) -> list[Stage]:
    """All stages of a study in an order in which they can run.

    Args:
        study: a validated study.
        numbers: see ``Numerics``; default: those of this process.
        reference: the design that others are paired with; default: the best baseline.
    """
    baselines = (reference,) if reference else study.baselines
    return _Planner(study, numbers or numerics(), baselines).plan()


class _Planner:
    def __init__(self, study: Study, numbers: Numerics, baselines: tuple[str, ...]) -> None:
        self.study = study
        self.numbers = numbers
        self.baselines = baselines
        self.stages: list[Stage] = []
        self.banks: dict[tuple[Split, int], dict[str, Stage]] = {}

    def plan(self) -> list[Stage]:
        fit = self.study.fit
        n_epochs = sum(phase.total_epochs for phase in fit.phases)
        replicas: dict[Split, int] = {"train": self._replicas(n_epochs), "valid": 1, "test": 1}
        volumes = {split: self._volumes(split) for split, count in replicas.items() if count}
        for split, count in replicas.items():
            for replica in range(count):
                self._bank(split, replica, count, volumes[split])
        fitted, done = self._begin() if fit.phases else ({}, 0)
        for epoch, (index, phase_epoch) in list(enumerate(self._epochs()))[done:]:
            bank = self.banks["train", epoch % replicas["train"]]
            fitted = {"checkpoint": self._epoch(index, phase_epoch, epoch, {**fitted, **bank})}
        trained = {design: self._trained(design, fitted, replicas["train"]) for design in
                   self.study.compare}  # fmt: skip
        scores: dict[str, Stage] = {}
        judged: tuple[Split, ...] = ("valid", "test")
        for design in self.study.compare:
            for split in judged:
                scores[f"{split}/{design}"] = self._predict(design, split, trained[design])
        self._evaluate(scores)
        return self.stages

    def _replicas(self, n_epochs: int) -> int:
        """Exposures of the training volumes that some epoch reads."""
        muons = self.study.muons
        return n_epochs if muons.fresh else min(muons.replicas, n_epochs)

    def _epochs(self) -> Iterator[tuple[int, int]]:
        for index, phase in enumerate(self.study.fit.phases):
            for epoch in range(phase.total_epochs):
                yield index, epoch

    def _volumes(self, split: Split) -> Stage:
        scenes = self.study.scenes
        inputs = VolumesInputs(
            world=self.study.world, scene=getattr(scenes, split), seed=scenes.seed, split=split
        )
        return self._add("make_volumes", f"{split} volumes", inputs, {})

    def _bank(self, split: Split, replica: int, count: int, volumes: Stage) -> None:
        muons = self.study.muons
        own = {"train": muons.train_seed, "test": muons.test_seed}.get(split)
        seed = muons.seed if own is None else own
        neutral: dict[str, Any] = {"replicas": 1, "fresh": False, "seed": seed}
        neutral |= {"train_seed": None, "test_seed": None}
        if isinstance(muons.source, TableSettings):
            neutral["source"] = muons.source.only(split)
        inputs = BankInputs(
            world=self.study.world,
            muons=muons.model_copy(update=neutral),
            transport=self.study.transport,
            seed=seed,
            split=split,
            replica=replica,
        )
        label = f"{split} bank {replica + 1}" if count > 1 else f"{split} bank"
        bank = self._add("transport_muons", label, inputs, {"volumes": volumes})
        self.banks[split, replica] = {"volumes": volumes, "bank": bank}

    def _begin(self) -> tuple[dict[str, Stage], int]:
        """What the fit goes on from, and the epochs that led there."""
        fit, detector = self.study.fit, self.study.detectors[self.study.fit.start]
        first = self._start(detector, "start of the fit")
        if fit.multi_start is None:
            return {"checkpoint": first}, 0
        rules, gap, world = fit.multi_start, self.study.constraints.gap, self.study.world
        candidates = [first]
        for n in range(1, rules.random + 1):
            other = random_start(detector, world, gap, rules.seed, n, "multi start")
            other = scale_to_budget(other, self.study.constraints)
            candidates.append(self._start(other, f"random start {n}"))
        entries = [[each] for each in candidates]
        places, done = [1] * len(candidates), 0
        for end, survivors in zip(rules.halve_after, rules.survivors, strict=True):
            tried = [
                self._try(place, candidates, (done, end), f"try {n}, to epoch {end}")
                for n, (place, candidates) in enumerate(zip(places, entries, strict=True), start=1)
            ]
            places, entries = list(range(1, survivors + 1)), [tried] * survivors
            done = end
        return {"checkpoint": self._try(1, entries[0], (done, done), "chosen start")}, done

    def _start(self, detector: DetectorSettings, label: str) -> Stage:
        fit = self.study.fit
        inputs = StartInputs(
            world=self.study.world,
            detector=detector,
            parameters=fit.parameters,
            model=self._learned(),
            checkpoint=fit.warm_start if detector is self.study.detectors[fit.start] else None,
            seed=fit.seed,
        )
        return self._add("start_fit", label, inputs, {})

    def _try(
        self, place: int, candidates: Sequence[Stage], epochs: tuple[int, int], label: str
    ) -> Stage:
        """One of the candidates goes on for some epochs."""
        count = sum(split == "train" for split, _ in self.banks)
        numbered = list(enumerate(self._epochs()))[slice(*epochs)]
        inputs = TryInputs(
            place=place,
            epochs=tuple(self._epoch_inputs(*where, epoch) for epoch, where in numbered),
            replicas=tuple(epoch % count for epoch, _ in numbered),
            inference=self.study.inference,
            loss=self.study.loss,
            edges=self.study.evaluation.edges,
            seed=self.study.fit.seed,
        )
        parents = {f"candidate/{n}": each for n, each in enumerate(candidates, start=1)}
        for replica in sorted(set(inputs.replicas)):
            bank = self.banks["train", replica]
            parents |= {"volumes": bank["volumes"], f"bank/{replica}": bank["bank"]}
        if len(candidates) > 1:
            parents |= {f"valid/{role}": each for role, each in self.banks["valid", 0].items()}
        return self._add("try_start", label, inputs, parents)

    def _epoch(
        self, index: int, phase_epoch: int, epoch: int, parents: Mapping[str, Stage]
    ) -> Stage:
        inputs = self._epoch_inputs(index, phase_epoch, epoch)
        phase = self.study.fit.phases[index]
        if phase.watch == "valid":
            seen = {f"valid/{role}": each for role, each in self.banks["valid", 0].items()}
            parents = {**parents, **seen}
        n_search = phase.total_epochs - phase.epochs
        what, number = ("search", phase_epoch + 1), ("epoch", phase_epoch + 1 - n_search)
        word, count = what if phase_epoch < n_search else number
        return self._add("fit_epoch", f"{phase.name} {word} {count}", inputs, parents)

    def _epoch_inputs(self, index: int, phase_epoch: int, epoch: int) -> EpochInputs:
        phase = self.study.fit.phases[index]
        return EpochInputs(
            phase=phase.model_copy(update={"name": "phase", "epochs": 0}),
            phase_index=index,
            epoch=epoch,
            phase_epoch=phase_epoch,
            volumes_per_step=phase.volumes_per_step,
            parameters=phase.parameters,
            inference=self.study.inference,
            loss=self.study.loss,
            seed=self.study.fit.seed,
            edges=self.study.evaluation.edges if phase.watch == "valid" else None,
        )

    def _learned(self) -> LearnedSettings | None:
        inference = self.study.inference
        return inference if isinstance(inference, LearnedSettings) else None

    def _trained(
        self, design: str, fitted: Mapping[str, Stage], n_banks: int
    ) -> Mapping[str, Stage]:
        """The checkpoint that a design is judged with, if there is anything to learn."""
        model, fit = self._learned(), self.study.fit
        if design == FITTED:
            return fitted
        if model is None:
            return {}
        phases = tuple(
            phase.model_copy(update={"name": "phase", "freeze": (*phase.freeze, *PANEL_PARAMETERS)})
            for phase in fit.phases
        )
        inputs = TrainInputs(
            world=self.study.world,
            detector=self._still(design),
            phases=phases,
            n_banks=n_banks,
            inference=model,
            loss=self.study.loss,
            seed=fit.seed,
        )
        banks = [self.banks["train", replica] for replica in range(n_banks)]
        parents = {f"bank {i}": each["bank"] for i, each in enumerate(banks) if i > 0}
        return {
            "checkpoint": self._add(
                "train_model", f"model for {design}", inputs, {**banks[0], **parents}
            )
        }

    def _still(self, design: str) -> DetectorSettings:
        """A design that nothing moves, so that its gap has no say."""
        return self.study.detectors[design].model_copy(update={"gap": 0.0})

    def _predict(self, design: str, split: Split, trained: Mapping[str, Stage]) -> Stage:
        judged = self.study.evaluation
        detector = None if design == FITTED else self._still(design)
        inputs = PredictInputs(
            world=self.study.world,
            detector=detector,
            inference=self.study.inference,
            edges=judged.edges,
            exposures=judged.exposures,
            fiducial_cuts=judged.fiducial_cuts,
            records=judged.records if split == "test" else (),
            seed=judged.seed,
            split=split,
        )
        parents = {**self.banks[split, 0], **trained}
        return self._add("predict", f"{design} on {split}", inputs, parents)

    def _evaluate(self, scores: Mapping[str, Stage]) -> Stage:
        inputs = EvaluateInputs(
            evaluation=self.study.evaluation.model_copy(update={"records": ()}),
            designs=self.study.compare,
            baselines=self.baselines,
        )
        return self._add("evaluate", "evaluation", inputs, scores)

    def _add(self, name: str, label: str, inputs: Config, parents: Mapping[str, Stage]) -> Stage:
        keys = {role: parent.key for role, parent in parents.items()}
        parts = components(name, inputs, keys, code_digest(name), self.numbers)
        self.stages.append(Stage(name, label, inputs, keys, parts, stage_key(parts)))
        return self.stages[-1]
