"""Where stages compute, resolved before any key is made: a key never holds "auto"."""

import os

from tomopt_tasks.core import UserError

DEVICE = "TOMOPT_DEVICE"
"""Environment variable: auto or a device type; a work queue sets it for its runs."""

DEVICES = ("cpu",)
"""Device types that the stages run on."""


def resolved_device() -> str:
    """The device type of this process: the best one that the stages run on, or the one asked for.

    Raises:
        UserError: the environment asks for one that they do not run on.
    """
    asked = os.environ.get(DEVICE, "").strip() or "cpu"
    if asked == "auto":
        return DEVICES[-1]
    if asked not in DEVICES:
        raise UserError(
            f"{DEVICE}={asked}: stages run on {', '.join(DEVICES)} only; set one of these, or auto"
        )
    return asked
