"""Numbers as people read them."""

import doctest

import pytest

from einsearch.report import text


def test_the_examples():
    assert doctest.testmod(text).failed == 0


@pytest.mark.parametrize(
    ("flops", "short"), [(0, "0"), (1, "1e0"), (123456, "1.23e5"), (999_999, "1e6"), (10**36, "1e36")]
)
def test_flops(flops, short):
    assert text.flops_text(flops) == short


def test_a_command_line_never_rounds():
    assert text.exact_flops(4 * 10**12) == "4e12"
    assert text.exact_flops(277_777_777_777) == "277777777777"


def test_something_is_never_nothing():
    assert text.percent_text(1e-9) == "< 0.1 %"
    assert text.percent_text(0.0996) == "10 %"
    assert text.speed_text(None) == "not measured"
    assert text.duration_text(59.6) == "1 min 0 s"
