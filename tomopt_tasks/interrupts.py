"""Stop a run between two steps: the first signal asks, the second one does not wait."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has.

    Attributes:
        signum: the signal.
        at_once: whether it stopped in the middle of a step.
    """

    def __init__(self, signum: int, *, at_once: bool) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.at_once = at_once

    @property
    def exit_code(self) -> int:
        """What a shell expects: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signum


_asked: list[int] = []
_left: set[int] = set()


def asked() -> bool:
    """Whether to stop after the present step."""
    return bool(_asked)


def stop_if_asked() -> None:
    """Called where nothing is lost by stopping.

    Raises:
        Stopped: somebody has asked for it.
    """
    if _asked:
        raise Stopped(_asked[0], at_once=False)


@contextmanager
def left_alone(signum: int) -> Iterator[None]:
    """Inside, `deferred` leaves a signal to whoever handles it already."""
    _left.add(signum)
    try:
        yield
    finally:
        _left.discard(signum)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM wait for `stop_if_asked`; a second one raises where it falls.

    Outside the main thread nothing changes, since signals do not arrive there; nor for a signal
    that is ignored, as Ctrl-C is in the background of a script.
    """
    _asked.clear()
    heard = [
        number
        for number in SIGNALS
        if number not in _left and signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        before = {number: signal.signal(number, _ask) for number in heard}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _asked.clear()


def _ask(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if _asked:
        raise Stopped(signum, at_once=True)
    _asked.append(signum)
    again = "Ctrl-C again" if signum == signal.SIGINT else "a second signal"
    words = f"\nfinishing the present step; {again} stops at once\n"
    with suppress(OSError):
        os.write(2, words.encode())  # a handler may have interrupted a print
