"""A fit from several detectors, of which the worse ones are given up on the way."""

from itertools import pairwise
from math import ceil
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Seed


class MultiStart(Config):
    """Successive halving: after some epochs the better half goes on, and in the end the best.

    All fits see the same muons and hits. Better means a smaller loss on the validation bank, with
    the edges that designs are judged with; the test bank has no say.
    """

    random: Count = 3
    """Random detectors that a fit starts from besides the one that is named; >= 1."""
    seed: Seed = 1
    """Names the random numbers of those detectors."""
    halve_after: tuple[Count, ...] = Field(default=(10, 20), min_length=1)
    """Epochs after which the worse half is given up, ascending; counted from the start, searches
    of rates included. After the last one a single fit goes on."""

    @property
    def survivors(self) -> tuple[int, ...]:
        """Fits that go on after each halving."""
        left, found = self.random + 1, []
        for _ in self.halve_after[:-1]:
            left = ceil(left / 2)
            found.append(left)
        return (*found, 1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        steps = self.halve_after
        for index, (before, after) in enumerate(pairwise(steps), start=1):
            if after <= before:
                text = "got {after} after {before}, but epochs must be ascending; sort them"
                values = {"path": ("halve_after", index), "after": after, "before": before}
                raise PydanticCustomError("halve_after", text, values)
        if 1 in self.survivors[:-1]:
            index = self.survivors.index(1) + 1
            text = "got {n} halvings of {fits} fits, but only one is left by then; leave them out"
            values = {"path": ("halve_after", index), "n": len(steps), "fits": self.random + 1}
            raise PydanticCustomError("halve_after", text, values)
        return self
