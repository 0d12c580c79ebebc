"""The store is light: a worker or a report may import it without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import einsearch

HEAVY = (
    "torch",
    "optuna",
    "numpy",
    "einsearch.space",
    "einsearch.layers",
    "einsearch.proxy",
    "einsearch.search",
)


def loaded(code):
    """The heavy modules that a fresh Python has after running the code."""
    code += f"\nimport sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(einsearch.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_the_store_imports_nothing_heavy(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    assert loaded(f"from einsearch.store import Store; Store.open({url!r}).close()") == []


@pytest.mark.parametrize("name", ["numpy"])
def test_that_check_can_fail(name):
    assert loaded(f"import {name}") == [name]
