"""The state in the middle of a long stage, so that stopping or dying there costs minutes.

Records of the kind ``partial``; the name of each is that of the stage's result with its last 16
digits replaced by how far it got. They are dropped once the result is committed.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.interrupts import asked, stop_if_asked
from tomopt_tasks.store.errors import KeyCollision
from tomopt_tasks.store.refs import RECORD_SUFFIX
from tomopt_tasks.store.store import Store

KIND = "partial"
DIGITS = 48
"""Leading digits of the stage's key that its partial records share."""

EVERY = "TOMOPT_CHECKPOINT_EVERY"
"""Environment variable: minutes between two of them; default: 10."""

log = logging.getLogger(__name__)


class Partial:
    """The partial records of one stage.

    Args:
        store: where they are.
        key: of the stage's result.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._saved_at = time.monotonic()
        self._every = _seconds()
        self._any = True

    def latest(self) -> Any | None:  # noqa: ANN401
        """The state that got furthest, of those that verify; None: begin at the beginning."""
        keys = self._keys()
        self._any = bool(keys)
        for key in reversed(keys):
            ref = self._store.find(KIND, key)
            if ref is not None:
                return self._store.get_record(ref)
        return None

    def between_steps(self, done: int, state: Callable[[], object]) -> None:
        """Commit the state if it is time or somebody has asked to stop; then stop if asked.

        Args:
            done: how far the stage got, as a count.
            state: gives the state.

        Raises:
            Stopped: somebody has asked for it.
        """
        if time.monotonic() - self._saved_at >= self._every or asked():
            key = f"{self._key[:DIGITS]}{done:016x}"
            try:
                self._store.put_record(KIND, key, state(), {"of": self._key, "done": done})
            except KeyCollision as collision:  # another machine works on the same
                log.warning("%s", collision)
            self._any = True
            self._saved_at = time.monotonic()
            stop_if_asked()

    def clear(self) -> None:
        """The result is committed: nobody needs the way there."""
        if self._any:
            for key in self._keys():
                self._store.forget(KIND, key)

    def _keys(self) -> list[str]:
        """Sorted by how far they got."""
        names = self._store.backend.children(f"{KIND}/{self._key[:2]}")
        keys = (name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX))
        return [key for key in keys if key.startswith(self._key[:DIGITS])]


def _seconds() -> float:
    text = os.environ.get(EVERY, "10")
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:
        raise UserError(f"{EVERY}={text}: is not a number of minutes; use for example 10")
    return 60 * minutes
