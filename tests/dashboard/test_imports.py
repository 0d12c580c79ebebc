"""The dashboard may run where nothing can be trained."""

import os
import subprocess
import sys
from pathlib import Path

import einsearch
import einsearch.dashboard

MODULES = sorted(path.stem for path in Path(einsearch.dashboard.__file__).parent.glob("*.py") if path.stem[0] != "_")


def has_torch(*modules):
    """Whether a fresh Python has torch after importing some modules."""
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout == "True\n"


def test_the_dashboard_needs_no_torch():
    assert not has_torch("einsearch.cli.dashboard", *(f"einsearch.dashboard.{module}" for module in MODULES))
    assert has_torch("einsearch.search.study")
