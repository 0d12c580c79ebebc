"""A report may be made where nothing can be trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import einsearch
import einsearch.report

HEAVY = ("torch", "optuna", "einsearch.layers", "einsearch.proxy", "einsearch.search")
MODULES = sorted(path.stem for path in Path(einsearch.report.__file__).parent.glob("*.py") if path.stem != "__init__")


def loaded(modules):
    """The heavy modules that a fresh Python has after importing `modules`."""
    code = f"import sys, {', '.join(modules)}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_the_report_imports_nothing_that_trains():
    assert loaded([f"einsearch.report.{module}" for module in MODULES]) == []


@pytest.mark.parametrize("name", ["optuna"])
def test_that_check_can_fail(name):
    assert name in loaded([name])
