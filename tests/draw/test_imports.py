"""Text needs no picture library, and nothing here needs one that trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import einsearch

HEAVY = ("torch", "matplotlib", "matplotlib.pyplot", "sqlalchemy", "optuna", "plotly")
DRAW = """
from einsearch.draw.diagram import Diagram
from einsearch.draw.picture import render
from einsearch.space.parse import parse
render(Diagram.of(parse("btt"), 16, 16), "svg")
"""


def loaded(code):
    """The heavy modules that a fresh Python has after some code."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"],
        env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_to_import_it_costs_little():
    assert loaded("import einsearch.draw.file") == []


def test_a_picture_needs_no_pyplot():
    assert loaded(DRAW) == ["matplotlib"]


@pytest.mark.parametrize("name", ["plotly"])
def test_that_check_can_fail(name):
    assert name in loaded(f"import {name}")
