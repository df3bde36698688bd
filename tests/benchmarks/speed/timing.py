"""Interleaved timing, and when ratios may be quoted."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

AGAIN = 1000
"""Numbers of the same work in one round; more than are reached."""
LEAST = 0.3
"""Time of one round of a step [s]."""

Took = tuple[float, float]
"""CPU and wall time [s]."""
Arm = Callable[[int], Took]
"""Does its work once, the number of the round given, and says how long it took."""


@dataclass
class Times:
    """What the calls of one arm took."""

    cpu: list[float] = field(default_factory=list)
    """[s]"""
    wall: list[float] = field(default_factory=list)
    """[s]"""

    def per(self, count: int) -> str:
        """Median and range of the CPU time of one of ``count`` [us]."""
        return spread([1e6 * cpu / count for cpu in self.cpu])


class Load:
    """The load of the machine while something is timed."""

    def __init__(self, cores: int | None = None, read: Callable[[], float] | None = None) -> None:
        self.cores = cores or os.cpu_count() or 1
        self.read = read or (lambda: os.getloadavg()[0])
        self.highest = 0.0

    def look(self) -> None:
        """Note the load of the last minute."""
        self.highest = max(self.highest, self.read())

    @property
    def fair(self) -> bool:
        """Whether the processes of the machine never outnumbered its cores."""
        return self.highest <= self.cores

    def say(self) -> str:
        """One sentence."""
        text = f"load up to {self.highest:.1f} on {self.cores} cores"
        return text if self.fair else f"{text}: too busy, no ratio is quoted; run again"


def clocked(work: Callable[[int], object], least: float = 0.0) -> Arm:
    """An arm in this process; work is done again until it has taken ``least`` [s], and averaged.

    Work of some milliseconds, done once after another process had the caches, takes up to twice the
    time that it takes in a fit, where one step follows the other.
    """

    def arm(number: int) -> Took:
        cpu, wall = time.process_time(), time.perf_counter()
        count, took = 0, (0.0, 0.0)
        while count == 0 or took[1] < least:
            work(AGAIN * number + count)
            count += 1
            took = time.process_time() - cpu, time.perf_counter() - wall
        return took[0] / count, took[1] / count

    return arm


def interleave(arms: Mapping[str, Arm], rounds: int, load: Load) -> dict[str, Times]:
    """Call all arms in turn, after one call each that is not timed.

    Every second round goes backwards, so that no arm always follows the same other.
    """
    times = {name: Times() for name in arms}
    for number in range(rounds + 1):
        order: Iterable[str] = arms if number % 2 else reversed(list(arms))
        for name in order:
            load.look()
            cpu, wall = arms[name](number)
            if number:
                times[name].cpu.append(cpu)
                times[name].wall.append(wall)
    load.look()
    return times


def ratios(of: Times, to: Times) -> list[float]:
    """CPU time of one over that of the other, round by round."""
    return [one / other for one, other in zip(of.cpu, to.cpu, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median and range with three digits."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{digits(middle)} ({digits(low)}-{digits(high)})"


def digits(value: float) -> str:
    """Three digits, or more if they stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
