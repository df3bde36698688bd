"""The tests; the name of each is a sentence that may be false."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Run-time checker of the annotations under test; an int may stand for a float, as for mypy."""
