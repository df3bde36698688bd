"""Whom a run tells how it ended. A study names where the address is kept, never the address."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config

Occasion = Literal["finished", "failed", "crashed", "cancelled", "best", "diverged"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


def _is_a_name(text: str) -> str:
    """Refuse anything else, and do not repeat it: it may be the secret itself."""
    if _VARIABLE.fullmatch(text) or _BLOCK.fullmatch(text):
        return text
    raise PydanticCustomError(
        "webhook",
        "is neither the name of an environment variable that holds the address of a webhook "
        "(TOMOPT_WEBHOOK) nor that of a Prefect block (slack-webhook/team); the address itself is "
        "a secret and does not belong into a study",
    )


class NotifySettings(Config):
    """A webhook, by the name of what holds its address, and when it is told."""

    webhook: Annotated[str, AfterValidator(_is_a_name), Field(max_length=200)] = "TOMOPT_WEBHOOK"
    """Environment variable that holds the address where the run runs, or a Prefect block that can
    notify, as type/name."""
    on: tuple[Occasion, ...] = ("finished", "failed", "crashed", "cancelled", "diverged")
    """What is told."""

    @property
    def is_block(self) -> bool:
        """Whether a Prefect block is named."""
        return "/" in self.webhook
