"""Numbers as people read them."""

from __future__ import annotations

import math


def flops_text(flops: float) -> str:
    """FLOPs with three digits and a power of ten.

    >>> flops_text(4 * 10**12), flops_text(277777777777)
    ('4e12', '2.78e11')
    """
    if flops == 0:
        return "0"
    mantissa, exponent = f"{flops:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def exact_flops(flops: int) -> str:
    """The same where that is exact, else all digits: for a command line that repeats a study."""
    short = flops_text(flops)
    return short if float(short) == flops else str(flops)


def count_text(count: int) -> str:
    """A count in groups of three.

    >>> count_text(14576)
    '14,576'
    """
    return f"{count:,}"


def speed_text(tokens_per_second: float | None) -> str:
    return "not measured" if tokens_per_second is None else count_text(round(tokens_per_second))


def percent_text(share: float) -> str:
    """A share of 1 in percent: one decimal below ten, and never a 0 for something.

    >>> percent_text(0.256), percent_text(0.0312), percent_text(0.00001), percent_text(0.0)
    ('26 %', '3.1 %', '< 0.1 %', '0 %')
    """
    percent = 100 * share
    if percent == 0 or percent >= 9.95:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def duration_text(seconds: float) -> str:
    """Wall-clock time in its two greatest units.

    >>> duration_text(42), duration_text(125), duration_text(7500)
    ('42 s', '2 min 5 s', '2 h 5 min')
    """
    whole = math.floor(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def superscript(exponent: int) -> str:
    """An exponent raised: `10` + superscript(11) is 10¹¹."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
