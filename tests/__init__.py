"""The tests; the name of each is a sentence that may be false."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run-time checker of the annotations under test; an int may stand for a float, as for mypy.

    ``Self`` is known inside a decorated class only, and jaxtyping decorates functions: a function
    that names it is left to mypy.
    """
    try:
        return _beartype(function)
    except BeartypeDecorHintPep673Exception:
        return function
