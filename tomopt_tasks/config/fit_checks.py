"""Whether a fit can run on its detector; each failure names one place."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import get_args

from tomopt_tasks.config.constraints import SAME
from tomopt_tasks.config.document import nearest
from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.detectors.settings import DetectorSettings, PanelSettings, learnable
from tomopt_tasks.volume.settings import World
from tomopt_tasks.wrapper.schedule_settings import OneCycleSettings
from tomopt_tasks.wrapper.settings import (
    FitSettings,
    Parameter,
    Phase,
    Tie,
)

UNSEARCHED = ("mu", "sig", "norm")
"""Parameters whose rates no search finds."""

MODEL = "model"
"""Name of the optimiser of a network."""

PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)


def check_names(
    fit: FitSettings, compare: Sequence[str], detectors: Mapping[str, DetectorSettings]
) -> None:
    """The start and all compared designs exist.

    Raises:
        Problem: at the first name that nothing has.
    """
    if "fit" in detectors:
        text = 'the name "fit" means the optimised detector; rename this one'
        raise Problem(("detectors", "fit"), text)
    if fit.phases and fit.start not in detectors:
        _unknown(("fit", "start"), fit.start, list(detectors), "detectors")
    known = [*detectors, *(["fit"] if fit.phases else [])]
    for i, name in enumerate(compare):
        if name == "fit" and not fit.phases:
            text = 'got "fit", but the study has no phases; add fit.phases or remove it'
            raise Problem(("compare", i), text)
        if name not in known:
            _unknown(("compare", i), name, known, "designs")
        if name in compare[:i]:
            raise Problem(("compare", i), f'got "{name}" a second time; remove it')


def check_fit(
    fit: FitSettings,
    detectors: Mapping[str, DetectorSettings],
    world: World,
    n_volumes: int,
    *,
    learned: bool = False,
) -> None:
    """Names of parameters and groups, rates, ties and steps of every phase.

    Args:
        fit: with complete phases.
        detectors: by name; the fit starts from one of them.
        world: for the middle plane of mirrored panels.
        n_volumes: training volumes.
        learned: there is a network that learns, too.

    Raises:
        Problem: at the place of the first entry that is wrong.
    """
    start = detectors[fit.start]
    groups = {panel.group: learnable(panel) for panel in start.panels}
    rated: set[str] = set()
    for index, phase in enumerate(fit.phases):
        path: Path = ("fit", "phases", index)
        _check_keys(phase, groups, path, learned=learned)
        _check_optimisers(phase, groups, rated, path)
        if learned:
            _check_model(phase, path)
        _check_numbers(phase, path)
        if phase.volumes_per_step > n_volumes:
            raise Problem(
                (*path, "volumes_per_step"),
                f"got {phase.volumes_per_step}, but scenes.train has {n_volumes} volumes, so no "
                "step would be complete; lower it or add volumes",
            )
    n_epochs = sum(phase.total_epochs for phase in fit.phases)
    if fit.multi_start is not None and fit.multi_start.halve_after[-1] > n_epochs:
        raise Problem(
            ("fit", "multi_start", "halve_after"),
            f"got {fit.multi_start.halve_after[-1]}, but the phases have {n_epochs} epochs; halve "
            "earlier",
        )
    if fit.phases:
        _check_ties(fit.phases[0], start, ("detectors", fit.start))
        _check_late_ties(fit.phases, groups)
        _check_mirror(fit.phases[0], start, world)


Learners = Mapping[str, tuple[str, ...]]
"""Group -> what its panels can learn."""


def _check_keys(phase: Phase, groups: Learners, path: Path, *, learned: bool) -> None:
    network = [MODEL] if learned else []
    common = dict.fromkeys(name for names in groups.values() for name in names)
    single = [f"{name}.{g}" for name in common for g, names in groups.items() if name in names]
    names = [*network, *common, *single]
    schedule = phase.schedule
    cycles = schedule.per_parameter if isinstance(schedule, OneCycleSettings) else {}
    for key in phase.optimiser:
        _known((*path, "optimiser", key), key, names)
    for key in cycles:
        _known((*path, "schedule", "per_parameter", key), key, names)
    for i, key in enumerate(phase.freeze):
        _known((*path, "freeze", i), key, names)
    for group in phase.parameters.groups:
        _known((*path, "parameters", "groups", group), group, list(groups))
    if any("mu" in names for names in groups.values()):
        for i, callback in enumerate(phase.callbacks):
            if callback.kind == "panel_centring":
                text = 'got "panel_centring", but heat maps have no common centre; leave it out'
                raise Problem((*path, "callbacks", i, "kind"), text)


def _known(path: Path, name: str, names: Sequence[str]) -> None:
    if name not in names:
        _unknown(path, name, names, "names")


def _check_optimisers(phase: Phase, groups: Learners, rated: set[str], path: Path) -> None:
    """Each moving parameter has an optimiser, and each optimiser a rate by now."""
    for group, parameters in groups.items():
        for parameter in parameters:
            keys = (f"{parameter}.{group}", parameter)
            if _rule(phase, parameter, group) != "frozen" and not any(
                key in phase.optimiser for key in keys
            ):
                raise Problem(
                    (*path, "optimiser"),
                    f'nothing moves {parameter} of "{group}", which is not frozen; add '
                    f"{keys[1]} or freeze it",
                )
    _check_rates(phase, groups, rated, path)


def _check_rates(phase: Phase, groups: Learners, rated: set[str], path: Path) -> None:
    for key, optimiser in phase.optimiser.items():
        if key == MODEL:
            continue
        searchable = key.partition(".")[0] not in UNSEARCHED
        if optimiser.rate is not None or (searchable and phase.find_rates is not None):
            rated.add(key)
        if key not in rated and _moves(phase, key, groups) and phase.epochs > 0:
            text = "has no rate, and no search " + (
                "has found one before; add rate or find_rates"
                if searchable
                else "finds one for a heat map; add rate"
            )
            raise Problem((*path, "optimiser", key), text)


def _check_model(phase: Phase, path: Path) -> None:
    """Something trains the network, at a rate that is written down."""
    if MODEL in phase.freeze:
        return
    if MODEL not in phase.optimiser:
        text = "nothing trains the network of inference.kind learned; add for example "
        raise Problem((*path, "optimiser"), text + "model: {kind: adam, rate: 0.01}")
    if phase.optimiser[MODEL].rate is None and phase.epochs > 0:
        text = "has no rate, and no search finds one for a network; add rate"
        raise Problem((*path, "optimiser", MODEL), text)


def _check_numbers(phase: Phase, path: Path) -> None:
    """No position decays to the origin, and a schedule acts on every optimiser."""
    schedule = phase.schedule
    cycled = isinstance(schedule, OneCycleSettings) and schedule.momentum is not None
    for key, optimiser in phase.optimiser.items():
        here: Path = (*path, "optimiser", key)
        if getattr(optimiser, "decay", 0.0) and key.partition(".")[0] in ("xy", "z", "mu"):
            text = f"got {optimiser.decay:g}, which would pull {key} to 0, the corner of the "  # type: ignore[union-attr]
            raise Problem((*here, "decay"), text + "passive volume; leave it out")
        if schedule is not None and schedule.kind != "constant" and optimiser.kind == "rprop":
            text = f"rprop sets its steps itself, so that schedule {schedule.kind} does nothing to "
            raise Problem((*here, "kind"), text + "it; write schedule: {kind: constant}")
        if cycled and not hasattr(optimiser, "momentum"):
            text = f"{optimiser.kind} has no momentum for the schedule to change; leave out "
            raise Problem((*here, "kind"), text + "schedule.momentum or take another optimiser")


def _moves(phase: Phase, key: str, groups: Learners) -> bool:
    name, _, group = key.partition(".")
    having = [each for each, names in groups.items() if name in names and group in ("", each)]
    return any(_rule(phase, name, each) != "frozen" for each in having)


def _rule(phase: Phase, name: str, group: str) -> object:
    """The rule of a parameter; its name is one that a panel can learn."""
    return phase.rule(next(p for p in PARAMETERS if p == name), group)


def _check_ties(phase: Phase, start: DetectorSettings, path: Path) -> None:
    """Parameters that are tied from the start are equal at the start."""
    places = [
        ((*path, "layers", i, "panels", j), panel)
        for i, layer in enumerate(start.layers)
        for j, panel in enumerate(layer.panels)
    ]
    for parameter in PARAMETERS:
        tied: dict[str, list[tuple[Path, PanelSettings]]] = {}
        for here, panel in places:
            rule = phase.rule(parameter, panel.group)
            tied_to = rule.tie if isinstance(rule, Tie) and parameter in learnable(panel) else ""
            if tied_to in ("group", "all"):
                tied.setdefault(panel.group if tied_to == "group" else "", []).append((here, panel))
        for members in tied.values():
            _check_equal(parameter, members)


KEEPING = {"group": ("group", "all"), "all": ("all",), "mirror": ("mirror",)}
"""Tie -> ties of an earlier phase that leave the panels as this one needs them."""


def _check_late_ties(phases: Sequence[Phase], groups: Mapping[str, Sequence[str]]) -> None:
    """Nothing has drawn panels apart before a phase ties them: a tie keeps differences."""
    learned = [(parameter, group) for group, names in groups.items() for parameter in names]
    for (index, phase), (parameter, group) in product(enumerate(phases), learned):
        rule = phase.rule(parameter, group)  # type: ignore[arg-type]
        keeping = KEEPING.get(rule.tie, ()) if isinstance(rule, Tie) else ()
        for earlier in phases[:index] if keeping else ():
            before = earlier.rule(parameter, group)  # type: ignore[arg-type]
            kept = before == "frozen" or (isinstance(before, Tie) and before.tie in keeping)
            if earlier.epochs and not kept:
                raise Problem(
                    ("fit", "phases", index, "parameters", parameter),
                    f'ties {parameter}, but phase {earlier.name} moves those of "{group}" apart; '
                    "tie them there, too, or write tie: rigid",
                )


def _check_equal(parameter: Parameter, members: Sequence[tuple[Path, PanelSettings]]) -> None:
    """All have the value that most have."""
    values = [_values(panel, parameter) for _, panel in members]
    usual = max(range(len(values)), key=lambda i: sum(_equal(values[i], v) for v in values))
    for (path, panel), value in zip(members, values, strict=True):
        if not _equal(values[usual], value):
            other = members[usual][1]
            raise Problem(
                (*path, "span" if parameter == "side" else parameter),
                f"got {_text(panel, parameter)}, but {parameter} is tied to that of {other.name} "
                f"({_text(other, parameter)}); make them equal or untie them",
            )


def _check_mirror(phase: Phase, start: DetectorSettings, world: World) -> None:
    """Panels counted away from the passive volume face each other."""
    low, high = world.passive
    sides = {
        side: [p for layer in start.layers if layer.pos == side for p in layer.panels]
        for side in ("above", "below")
    }
    above = sorted(sides["above"], key=lambda panel: panel.z)
    below = sorted(sides["below"], key=lambda panel: -panel.z)
    for parameter in PARAMETERS:
        rule = phase.parameters.rule(parameter, below[0].group)
        if not isinstance(rule, Tie) or rule.tie != "mirror":
            continue
        path: Path = ("fit", "phases", 0, "parameters", parameter)
        if len(above) != len(below):
            raise Problem(
                path,
                f"got tie: mirror with {len(above)} panels above and {len(below)} below; make "
                "the numbers equal",
            )
        for upper, lower in zip(above, below, strict=True):
            image = _values(upper, parameter)
            image = (low + high - image[0],) if parameter == "z" else image
            if not _equal(image, _values(lower, parameter)):
                raise Problem(
                    path,
                    f"got tie: mirror, but {lower.name} ({_text(lower, parameter)}) is not the "
                    f"mirror image of {upper.name} ({_text(upper, parameter)}); move one",
                )


def _values(panel: PanelSettings, parameter: Parameter) -> tuple[float, ...]:
    return {"xy": panel.xy, "z": (panel.z,), "side": panel.span}[parameter]


def _text(panel: PanelSettings, parameter: Parameter) -> str:
    values = ", ".join(f"{value:g}" for value in _values(panel, parameter))
    return f"{values} m" if parameter == "z" else f"[{values}] m"


def _equal(one: Iterable[float], other: Iterable[float]) -> bool:
    return all(abs(a - b) <= SAME * max(1.0, abs(a)) for a, b in zip(one, other, strict=True))


def _unknown(path: Path, name: str, names: Sequence[str], what: str) -> None:
    close = nearest(name, list(names))
    cure = f'did you mean "{close}"?' if close else f"the {what} are {', '.join(names)}"
    raise Problem(path, f'got "{name}", which does not exist; {cure}')
