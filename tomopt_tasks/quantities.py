"""Number types with a unit: plain numbers are SI (m, GeV, rad, s), strings carry a unit.

``"10 cm"``, ``"5 GeV"``, ``"1 / m2"`` and ``"70 deg"`` are parsed by pint and checked for their
dimension; arithmetic is decimal, so ``"35 cm"`` is exactly ``0.35``. pint is imported when the
first string is parsed: settings with plain numbers need pydantic only. c = 1: momentum and energy
are both in GeV, and ``"5 GeV/c"`` is welcome.
"""

import re
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_UNITS = (
    "tera- = 1e12 = T-",
    "giga- = 1e9 = G-",
    "mega- = 1e6 = M-",
    "kilo- = 1e3 = k-",
    "centi- = 1e-2 = c-",
    "milli- = 1e-3 = m-",
    "micro- = 1e-6 = µ- = μ- = u-",
    "nano- = 1e-9 = n-",
    "metre = [length] = m = meter",
    "second = [time] = s",
    "minute = 60 s = min",
    "hour = 3600 s = h",
    "hertz = 1 / s = Hz",
    "radian = [angle] = rad",
    "degree = 0.01745329251994329576923690768488612713443 rad = deg = °",
    "electronvolt = [energy] = eV",
    "light = 1 = c",
    "gram = [mass] = g",
    "percent = 0.01 = %",
)
_USUAL = {
    ("m", "m"): Decimal(1),
    ("cm", "m"): Decimal("0.01"),
    ("mm", "m"): Decimal("0.001"),
    ("m2", "m2"): Decimal(1),
    ("/m2", "1/m2"): Decimal(1),
    ("GeV", "GeV"): Decimal(1),
    ("MeV", "GeV"): Decimal("0.001"),
    ("s", "s"): Decimal(1),
}
"""What most studies write, so that they are read without pint; a test holds it to pint."""
_NAMES = {
    "m": ("a length", "10 cm"),
    "m2": ("an area", "6 m2"),
    "m3": ("a volume", "0.012 m3"),
    "1/m": ("an inverse length", "10000 / m"),
    "1/m2": ("a cost per area", "1 / m2"),
    "rad": ("an angle", "70 deg"),
    "GeV": ("an energy or a momentum", "5 GeV"),
    "s": ("a time", "10 s"),
    "Hz": ("a rate", "160 Hz"),
    "1": ("a number without unit", "0.9"),
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WORD = r"(?:[^\W\d_]+|[°%])(?:(?:\^|\*\*)?\d)?"
_TEXT = re.compile(rf"\s*({_NUMBER})\s*(/?\s*{_WORD}(?:\s*[*/]\s*{_WORD})*)?\s*")
_POWER = re.compile(r"([^\W\d])\^?(\d)")


@cache
def _registry() -> Any:  # noqa: ANN401
    import pint  # noqa: PLC0415 - a quarter of a second, and only strings need it

    registry: Any = pint.UnitRegistry(None, non_int_type=Decimal)
    for line in _UNITS:
        registry.define(line)
    return registry


@cache
def parse_quantity(text: str, unit: str) -> float:
    """The number that ``text`` means in ``unit``.

    Args:
        text: a number followed by a unit, e.g. ``"10 cm"``.
        unit: where to convert it to, e.g. ``"m"``; ``"1"`` for a pure number.

    Raises:
        ValueError: ``text`` is no quantity, has an unknown unit or another dimension.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError("no quantity")
    number, written = Decimal(found.group(1)), found.group(2) or ""
    factor = _USUAL.get((written.replace(" ", ""), unit))
    if factor is not None:
        return float(number * factor)
    try:
        return float(_registry().Quantity(number, _units(written)).to(_units(unit)).magnitude)
    except AttributeError as error:  # pint's unknown unit
        raise ValueError(f"unknown unit {written.strip()!r}") from error
    except TypeError as error:  # pint's wrong dimension
        raise ValueError("wrong dimension") from error


def in_si(value: Any) -> float:  # noqa: ANN401
    """The number that a plain number or a quantity of any known dimension means in SI.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    for unit in _NAMES if isinstance(value, str) else ():
        with suppress(ValueError):
            return parse_quantity(value, unit)
    raise ValueError(f"got {value!r}")


def _units(text: str) -> Any:  # noqa: ANN401
    """The units for ``m2``, ``m^2``, ``m**2`` or ``/ m2``."""
    text = _POWER.sub(r"\1**\2", text.strip())
    text = f"1 {text}" if text.startswith("/") else text
    return _registry().parse_units("" if text == "1" else text)


class Unit:
    """Annotation of a float: also accepts a string with a unit, converted to ``symbol``."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def __repr__(self) -> str:
        return f"Unit({self.symbol!r})"

    def parse(self, value: Any) -> Any:  # noqa: ANN401
        """A float for a number or a string with a unit; a sentence for anything else."""
        kind, example = _NAMES.get(self.symbol, (f"a value in {self.symbol}", f"1 {self.symbol}"))
        reason = ""
        if isinstance(value, str) and not _is_number(value):
            try:
                return parse_quantity(value, self.symbol)
            except ValueError as error:
                reason = f" ({error})" if "unit" in str(error) else ""
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        in_unit = "" if self.symbol == "1" else f" in {self.symbol}"
        raise PydanticCustomError(
            "quantity",
            "is not {kind}{reason}; write a number{in_unit} or, for example, {example}",
            {"kind": kind, "in_unit": in_unit, "example": f'"{example}"', "reason": reason},
        )

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        number = handler(schema)
        _, example = _NAMES.get(self.symbol, ("", f"1 {self.symbol}"))
        text = {"type": "string", "examples": [example]}
        if self.symbol == "1":
            text = {"type": "string", "examples": ["90 %"], "pattern": r"^[^%]*\d\s*%\s*$"}
        return {"anyOf": [number, text], "x-unit": self.symbol}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Length = Annotated[float, Unit("m")]
"""Any sign [m]."""

PositiveLength = Annotated[float, Field(gt=0), Unit("m")]
"""[m]; > 0."""

NonNegativeLength = Annotated[float, Field(ge=0), Unit("m")]
"""[m]; >= 0."""

Area = Annotated[float, Field(gt=0), Unit("m2")]
"""[m2]; > 0."""

PositiveVolume = Annotated[float, Field(gt=0), Unit("m3")]
"""[m3]; > 0."""

InverseLength = Annotated[float, Field(gt=0), Unit("1/m")]
"""[1/m]; > 0; the resolution of a panel."""

CostPerArea = Annotated[float, Field(gt=0), Unit("1/m2")]
"""[1/m2]; > 0; units of budget for a square metre."""

Angle = Annotated[float, Unit("rad")]
"""Any sign [rad]."""

Momentum = Annotated[float, Field(gt=0), Unit("GeV")]
"""[GeV], c = 1; > 0."""

Energy = Annotated[float, Field(gt=0), Unit("GeV")]
"""[GeV]; > 0."""

Time = Annotated[float, Field(gt=0), Unit("s")]
"""[s]; > 0."""

Rate = Annotated[float, Field(gt=0), Unit("Hz")]
"""[Hz]; > 0."""

Number = Annotated[float, Unit("1")]
"""Without unit, any sign."""

PositiveNumber = Annotated[float, Field(gt=0), Unit("1")]
"""Without unit; > 0."""

Fraction = Annotated[float, Field(ge=0, le=1), Unit("1")]
"""0 to 1; ``"90 %"`` is welcome."""

Probability = Annotated[float, Field(gt=0, le=1), Unit("1")]
"""> 0, <= 1."""

Memory = Annotated[float, Field(ge=0, lt=1), Unit("1")]
"""Weight of the past in a running mean; >= 0, < 1."""

Count = Annotated[int, Field(strict=True, ge=1)]
"""A whole number; >= 1."""

Natural = Annotated[int, Field(strict=True, ge=0)]
"""A whole number; >= 0."""

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""Names a set of random streams; 0 to 2**63 - 1."""

Flag = Annotated[bool, Field(strict=True)]
"""``true`` or ``false``, not 0 or 1."""
