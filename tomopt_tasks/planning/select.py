"""Stages of a plan by the words that people use for them: ``fit_epoch@3``, ``test bank``."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import KINDS


@runtime_checkable
class Named(Protocol):
    """A stage, planned or known."""

    @property
    def name(self) -> str:
        """Name of the stage."""

    @property
    def label(self) -> str:
        """What it is for."""

    @property
    def key(self) -> str:
        """Where its result lies."""

    @property
    def components(self) -> Any:  # noqa: ANN401
        """Everything that its key hashes."""


Found = TypeVar("Found", bound=Named)


def select(stages: Sequence[Found], words: str) -> list[Found]:
    """The stages that a person means.

    Args:
        stages: a plan.
        words: a label (``test bank``, ``coarse epoch 2``), or a stage with all that it makes
            (``predict``), or ``fit_epoch@N`` for the epoch that makes the N-th checkpoint.

    Raises:
        UserError: nothing fits; the sentence names what would.
    """
    name, at, number = words.partition("@")
    if at:
        found = [stage for stage in stages if stage.name == name and _epoch(stage) == number]
    else:
        wanted = words.casefold()
        found = [stage for stage in stages if wanted in (stage.label.casefold(), stage.name)]
    if found:
        return found
    n_epochs = sum(stage.name == "fit_epoch" for stage in stages)
    labels = [stage.label for stage in stages if stage.name != "fit_epoch"]
    raise UserError(
        f"stage {words!r}: there is none; write a stage ({', '.join(KINDS)}), an epoch "
        f"(fit_epoch@1 to fit_epoch@{n_epochs}) or a label ({', '.join(labels)})"
    )


def _epoch(stage: Named) -> str:
    """The number of the checkpoint that an epoch makes, from 1."""
    return str(stage.components["inputs"]["epoch"] + 1) if stage.name == "fit_epoch" else ""
