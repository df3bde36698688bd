"""Numbers as people read them: rounded to their error, with unit-free powers of ten."""

import math

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def raised(exponent: int) -> str:
    """An exponent in superscript digits.

    >>> "10" + raised(-3)
    '10⁻³'
    """
    return str(exponent).translate(_RAISED)


def rounded(value: float, digits: int = 3) -> str:
    """Plain decimal with so many significant digits, never in exponential form.

    >>> rounded(43.217), rounded(0.71649), rounded(1234.5)
    ('43.2', '0.716', '1234')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def with_error(value: float, error: float | None) -> str:
    """Value and error, both to the second digit of the error.

    >>> with_error(31.8571, 0.8123), with_error(210.2, 12.3), with_error(4.0, None)
    ('31.86 ± 0.81', '210 ± 12', '4.00')
    """
    if not error or not math.isfinite(error):
        return rounded(value)
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def scientific(value: float, error: float | None = None) -> str:
    """Value (and error) as a multiple of a power of ten.

    >>> scientific(1.0213e-3, 4.7e-5)
    '(1.021 ± 0.047)·10⁻³'
    """
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    scale = 10.0**-power
    if error:
        return f"({with_error(value * scale, error * scale)})·10{raised(power)}"
    return f"{value * scale:.2f}·10{raised(power)}"


def interval(low: float, high: float) -> str:
    """Both ends of an interval.

    >>> interval(0.6412, 0.8071), interval(38.21, 49.4)
    ('0.641 to 0.807', '38.2 to 49.4')
    """
    return f"{rounded(low)} to {rounded(high)}"


def duration(seconds: float) -> str:
    """A time with a unit that fits.

    >>> duration(0.0123), duration(9.87), duration(200), duration(9000)
    ('12 ms', '9.9 s', '3 min 20 s', '2 h 30 min')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def percent(part: float, whole: float) -> str:
    """A share in per cent.

    >>> percent(287, 1000), percent(3, 1000), percent(0, 0)
    ('29 %', '0.3 %', '—')
    """
    if not whole:
        return "—"
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"
