"""The symbolic part works without torch: it starts fast, and a machine without torch can plan."""

import pkgutil
import subprocess
import sys

import einsearch.space

MODULES = [f"einsearch.space.{module.name}" for module in pkgutil.iter_modules(einsearch.space.__path__)]


def loads_torch(statement: str) -> bool:
    """Whether a fresh interpreter has torch after the statement."""
    code = f"import sys; {statement}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {"True\n": True, "False\n": False}[done.stdout]


def test_the_space_imports_no_torch() -> None:
    assert len(MODULES) > 8
    assert not loads_torch(f"import {', '.join(MODULES)}")


def test_the_package_alone_imports_no_torch() -> None:
    assert not loads_torch("import einsearch; einsearch.load_space('paper'); einsearch.parse('btt')")


def test_the_check_can_fail() -> None:
    assert loads_torch("import einsearch.layers.linear")
