"""Quantities: what a string with a unit means, and what is refused."""

import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tomopt_tasks import quantities
from tomopt_tasks.quantities import (
    Angle,
    Area,
    Count,
    Flag,
    Length,
    Momentum,
    Probability,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("10 cm", "m", 0.1),
        ("35 cm", "m", 0.35),  # exactly: 35 * 0.01 in binary is 0.35000000000000003
        ("0.1 mm", "m", 1e-4),
        ("1 µm", "m", 1e-6),
        ("-3 cm", "m", -0.03),
        ("10cm", "m", 0.1),
        ("1e2 cm", "m", 1.0),
        (".5 m", "m", 0.5),
        ("2 metre", "m", 2.0),
        ("6 m2", "m2", 6.0),
        ("6 m^2", "m2", 6.0),
        ("6 m**2", "m2", 6.0),
        ("6 m²", "m2", 6.0),
        ("600 cm2", "m2", 0.06),
        ("1 / m2", "1/m2", 1.0),
        ("1/cm2", "1/m2", 1e4),
        ("10000 / m", "1/m", 1e4),
        ("1e4/m", "1/m", 1e4),
        ("70 deg", "rad", math.radians(70)),
        ("70°", "rad", math.radians(70)),
        ("5 mrad", "rad", 5e-3),
        ("5 GeV", "GeV", 5.0),
        ("500 MeV", "GeV", 0.5),
        ("5 GeV/c", "GeV", 5.0),
        ("10 min", "s", 600.0),
        ("90 %", "1", 0.9),
        ("2.7 g/cm3", "kg/m3", 2700.0),
    ],
)
def test_a_string_with_a_unit_means_one_number(text, unit, value):
    assert parse_quantity(text, unit) == value


NO_LENGTHS = """10 kg|10 furlong|10||cm|10,5 cm|1 m + 2 cm|1/10 m|3 (m)|10 m m|nan m|inf m|ten cm
10 cm 3|10 __import__|__import__('os')|5 m**99|10 Cm|10 m2|10 deg|10 GeV"""


@pytest.mark.parametrize("text", re.split(r"[|\n]", NO_LENGTHS))
def test_a_string_that_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match=r"no quantity|unknown unit|wrong dimension"):
        parse_quantity(text, "m")


@given(st.decimals(-1000, 1000, places=3, allow_nan=False))
def test_centimetres_are_the_decimal_number_divided_by_a_hundred(number):
    assert parse_quantity(f"{number} cm", "m") == float(number / 100)


@pytest.mark.parametrize("value", [True, None, "0.1", [1.0], {"m": 1}, float("nan"), "1e999 m"])
def test_a_length_is_a_number_or_a_string_with_a_unit(value):
    class_ = TypeAdapter(Length, config={"allow_inf_nan": False})
    with pytest.raises(ValidationError):
        class_.validate_python(value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Area, [0, "-1 m2", "1 m"]),
        (Momentum, [0, "0 GeV", "1 m"]),
        (Probability, [0, 1.1, "101 %"]),
        (Count, [0, 1.5, "3", True]),
        (Flag, [1, "yes"]),
    ],
    ids=["area", "momentum", "probability", "count", "flag"],
)
def test_bounds_and_types_hold(kind, values):
    for value in values:
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(value)


def test_angles_are_no_plain_numbers_with_unit():
    assert TypeAdapter(Angle).validate_python("90 deg") == math.pi / 2
    with pytest.raises(ValidationError, match="is not an angle; write a number in rad or, for ex"):
        TypeAdapter(Angle).validate_python("50 %")


def test_settings_need_neither_torch_nor_pint():
    packages = ("muons", "scattering", "volume", "detectors")
    packages += ("inference", "losses", "wrapper", "evaluation")
    lines = [f"import tomopt_tasks.{package}.settings" for package in packages]
    check = "assert not {'torch', 'pint', 'prefect', 'ruamel'} & set(sys.modules), sys.modules"
    code = "\n".join(["import sys", *lines, check])
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("written", "unit"), sorted(quantities._USUAL))
def test_what_is_read_without_pint_is_what_pint_reads(written, unit, monkeypatch):
    numbers = ("1", "0.35", "-12.5", "1e-3", "80", "0.0125", "333.3333333333333333")
    short = [quantities.parse_quantity.__wrapped__(f"{n} {written}", unit) for n in numbers]
    monkeypatch.setattr(quantities, "_USUAL", {})
    assert [quantities.parse_quantity.__wrapped__(f"{n} {written}", unit) for n in numbers] == short
