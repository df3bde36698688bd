"""``tomopt check``: the laws that every part obeys, tried on one of the user's own."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.commands import laws
from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.commands.fit_laws import CallbackLaws, InferenceLaws
from tomopt_tasks.config.document import parse_value
from tomopt_tasks.core import UserError
from tomopt_tasks.inference.settings import OwnInferenceSettings
from tomopt_tasks.losses.settings import OwnLossSettings
from tomopt_tasks.own import OwnPart, digest_of, own_class, source_of
from tomopt_tasks.volume.passives import AbsPassiveGenerator
from tomopt_tasks.volume.scene_settings import OwnSceneSettings
from tomopt_tasks.wrapper.callback_settings import OwnCallbackSettings

Options = Sequence[tuple[str, str]]


def family_of(made: Any) -> str:  # noqa: ANN401 - what a user's module holds under the name
    """What a class looks like: a scene, an inference, a callback, or a loss."""
    if isinstance(made, type) and issubclass(made, Callback):
        return "callback"
    if isinstance(made, type) and issubclass(made, AbsPassiveGenerator):
        return "scene"
    if hasattr(made, "add_scatters"):
        return "inference"
    called = getattr(made, "__call__", None)  # noqa: B004 - its arguments are asked for
    try:
        arguments = set(inspect.signature(called).parameters) if called is not None else set()
    except (TypeError, ValueError):
        arguments = set()
    return "scene" if {"world", "rng"} & arguments else "loss"


def check(
    part: str,
    family: str | None,
    options: Options,
    voxels: bool,  # noqa: FBT001
) -> Iterator[tuple[str, str]]:
    """Law -> what breaks it, empty if it holds.

    Args:
        part: module and class.
        family: scene, inference, loss or callback; None: what the class looks like.
        options: its options, as text.
        voxels: it is about radiation lengths of voxels; otherwise about one number a volume.

    Raises:
        UserError: the part is not trusted, not found, or cannot be made.
    """
    values = {name: parse_value(text, f"--set {name}") for name, text in options}
    own = OwnPart(part=part, sha256=digest_of(source_of(part)), options=values)
    for law, holds in _laws(own, family or family_of(own_class(own)), voxels=voxels).items():
        try:
            yield law, holds()
        except Exception as error:  # noqa: BLE001 - whatever the user's code does is the answer
            yield law, f"{type(error).__name__}: {error}"


def _laws(own: OwnPart, family: str, *, voxels: bool) -> Mapping[str, laws.Law]:
    written: dict[str, Any] = own.model_dump()
    grids: dict[str, Any] = {"scene": {"target": "voxels"}, "inference": {"predicts": "voxels"}}
    more = grids.get(family, {}) if voxels else {}
    if family == "scene":
        return laws.scene_laws(OwnSceneSettings(**written, **more))
    if family == "inference":
        return InferenceLaws(OwnInferenceSettings(**written, **more)).laws()
    if family == "callback":
        return CallbackLaws(OwnCallbackSettings(**written), voxels=voxels).laws()
    return laws.loss_laws(OwnLossSettings(**written), voxels=voxels)


def answer(part: str, family: str | None, options: Options, *, voxels: bool) -> Answer:
    """The laws for programs; exit code 2 if some law is broken."""
    found = dict(check(part, family, options, voxels=voxels))
    known = [{"law": law, "holds": not why, "why": why} for law, why in found.items()]
    lines = [f"{'NO' if why else 'ok'}  {law}" for law, why in found.items()]
    return Answer({"part": part, "laws": known}, lines, code=2 if any(found.values()) else 0)


def report(part: str, family: str | None, options: Options, *, voxels: bool) -> list[str]:
    """One line a law.

    Raises:
        UserError: some law is broken.
    """
    found = dict(check(part, family, options, voxels=voxels))
    broken = [f"{law} ({why})" for law, why in found.items() if why]
    if broken:
        raise UserError(f"{part} breaks {len(broken)} of {len(found)} laws: {'; '.join(broken)}")
    return [f"ok  {law}" for law in found]
