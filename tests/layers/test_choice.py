"""The measured choice of implementations: it is measured once, remembered, and can be forced."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from einsearch.errors import EinsearchError
from einsearch.layers import choice
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.layers.linear import EinsumLinear
from einsearch.space.operator import operator
from einsearch.space.parse import parse

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EINSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(tokens, activations) of every measurement."""
    calls: list[tuple[int, str]] = []
    real = choice.measure

    def counted(operator, tokens, names, **place):  # type: ignore[no-untyped-def]
        calls.append((tokens, place["activations"]))
        return real(operator, tokens, names, **place)

    monkeypatch.setattr(choice, "measure", counted)
    return calls


def fastest(text: str, tokens: int, activations: str = "row-major", d: int = 64) -> str:
    return choice.fastest(operator(parse(text), d, d), tokens, activations=activations, device=CPU)  # type: ignore[arg-type]


def test_a_case_is_measured_once(measured: list[tuple[int, str]], fresh_cache: Path) -> None:
    first = fastest("btt", 256)
    assert first in IMPLEMENTATIONS
    assert [fastest("btt", tokens) for tokens in (256, 250, 300)] == [first] * 3  # 256 to a power of two
    assert measured == [(256, "row-major")]
    fastest("btt", 1000)
    fastest("btt", 256, "feature-major")
    assert measured[1:] == [(1024, "row-major"), (256, "feature-major")]
    (cases,) = json.loads((fresh_cache / "implementations.json").read_text()).values()
    assert len(cases) == 3
    for held in cases.values():
        assert held["implementation"] in held["milliseconds"]
        assert all(value > 0 for value in held["milliseconds"].values())


def test_what_is_remembered_is_used(measured: list[tuple[int, str]], fresh_cache: Path) -> None:
    fastest("btt", 64)
    file = fresh_cache / "implementations.json"
    file.write_text(file.read_text().replace('"implementation": "', '"implementation": "remembered '))
    assert fastest("btt", 64).startswith("remembered ")
    assert len(measured) == 1


def test_the_fastest_is_chosen_and_ties_go_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(**seconds: float) -> Callable[..., dict[str, float]]:
        return lambda operator, tokens, names, **place: {name: seconds[name.replace("-", "_")] for name in names}

    monkeypatch.setattr(choice, "measure", timed(reference=1.0, feature_major=0.95, merged=0.92))
    assert fastest("btt", 16) == "reference"
    monkeypatch.setattr(choice, "measure", timed(reference=1.0, feature_major=0.5, merged=0.3))
    assert fastest("btt", 32) == "merged"


def test_a_wrong_implementation_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = IMPLEMENTATIONS["feature-major"]
    assert right.feature_major is not None
    wrong = replace(right, feature_major=lambda x, factors, recipe: 1.01 * right.feature_major(x, factors, recipe))  # type: ignore[misc]
    monkeypatch.setitem(IMPLEMENTATIONS, "feature-major", wrong)
    with pytest.raises(EinsearchError, match=r"^implementation feature-major differs from reference by 1.0e-02 on .*"):
        fastest("btt", 64)


def test_dense_needs_no_measurement(measured: list[tuple[int, str]]) -> None:
    assert fastest("dense", 256) == "reference"
    assert fastest("dense", 256, "feature-major") == "feature-major"
    assert measured == []


def test_merging_is_not_tried_where_it_costs_far_more(fresh_cache: Path) -> None:
    fastest("btt", 4, d=1024)
    (cases,) = json.loads((fresh_cache / "implementations.json").read_text()).values()
    assert all("merged" not in held["milliseconds"] for held in cases.values())


def test_tune_leaves_what_was_forced() -> None:
    model = nn.Sequential(EinsumLinear(16, 16, "btt"), EinsumLinear(16, 16, "btt", implementation="merged"))
    x = torch.randn(3, 16)
    before = model(x)
    chosen = choice.tune(model, tokens=32)
    assert chosen.keys() == {"0", "1"}
    assert chosen["1"] == "merged"
    assert [layer.implementation for layer in model] == list(chosen.values())
    torch.testing.assert_close(model(x), before)


def test_several_processes_agree(fresh_cache: Path) -> None:
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from einsearch.layers.choice import fastest\n"
        "from einsearch.space.operator import operator\nfrom einsearch.space.parse import parse\n"
        "found = [fastest(operator(parse(s), 64, 64), 128, activations='feature-major', device=torch.device('cpu'))"
        " for s in ('btt', 'low-rank', 'kronecker')]\nprint(*found)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    outputs = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(outputs) == 1
    (cases,) = json.loads((fresh_cache / "implementations.json").read_text()).values()
    assert len(cases) == 3


def test_a_cache_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    fresh_cache.mkdir()
    (fresh_cache / "implementations.json").write_text("[1")
    with pytest.raises(EinsearchError, match=r"^measured choices in .* cannot be read: .*; remove the file$"):
        choice.require_cache()
    (tmp_path / "file").touch()
    monkeypatch.setenv("EINSEARCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(EinsearchError, match="set EINSEARCH_CACHE to a folder that can be written"):
        choice.require_cache()
