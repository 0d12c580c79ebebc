"""The study of mixtures: it runs, goes on where it stopped, and its pages say what its results say."""

import copy
import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from einsearch.errors import EinsearchError

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "mixtures"


@pytest.fixture(scope="module")
def study() -> SimpleNamespace:
    """The modules of the study, which is run from the root of the checkout and is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("design", "figure", "run", "tables")
        return SimpleNamespace(**{name: import_module(f"studies.mixtures.{name}") for name in names})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for n in range(4):
        (folder / f"{n}.txt").write_text(f"document {n}: " + "to be or not to be " * 100)
    return folder


@pytest.fixture(scope="module")
def small(study: SimpleNamespace, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the results of the small version."""
    path = tmp_path_factory.mktemp("study") / "results.json"
    study.run.carry_out(study.design.SMALL, path, text, path.parent / "cache")
    return path


@pytest.fixture
def results() -> dict[str, Any]:
    """Those of the study as they are recorded."""
    found: dict[str, Any] = json.loads((STUDY / "results.json").read_text())
    return found


def test_small_version_trains_every_kind(study: SimpleNamespace, small: Path) -> None:
    design, runs = study.design.SMALL, json.loads(small.read_text())["runs"]
    assert [(run["kind"], run["level"], run["rate"]) for run in runs] == [
        (run.kind, run.level, run.rate) for run in design.runs()
    ]
    assert {run["kind"] for run in runs} == set(study.design.KINDS)
    for run in runs:
        assert (run["failure"] is None) == (run["rate"] == design.common_rate)
        assert (run["validation_loss"] is None) == (run["failure"] is not None)
        assert run["step_flops"] * run["steps"] == pytest.approx(design.flops, abs=run["step_flops"])
        assert ("router_entropy" in run["statistics"]) == run["kind"].endswith("moe")
        assert run["active_parameters"] < run["parameters"] or not run["kind"].endswith("moe")


def test_it_continues_where_it_stopped(
    study: SimpleNamespace, small: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads(small.read_text())
    stopped = copy.deepcopy(whole)
    lost = stopped["runs"].pop(0)
    study.run.write(small, stopped)
    again = study.run.carry_out(study.design.SMALL, small, text, small.parent / "cache")
    assert "11 runs done, 1 to do" in capsys.readouterr().out
    assert again["runs"][:-1] == whole["runs"][1:]
    for name in ("kind", "validation_loss", "statistics", "parameters"):
        assert again["runs"][-1][name] == lost[name]


def test_results_of_another_design_are_not_continued(study: SimpleNamespace, small: Path, text: Path) -> None:
    other = replace(study.design.SMALL, flops=50_000_000)
    with pytest.raises(EinsearchError, match="is of another design and cannot be continued; remove it"):
        study.run.carry_out(other, small, text, small.parent / "cache")


def test_tables_and_figure_come_of_the_small_version(study: SimpleNamespace, small: Path) -> None:
    results = study.run.read(small)
    tables = {name: table(results) for name, table in study.tables.TABLES.items()}
    assert "**1 diverged**" in tables["rates"]
    assert tables["compute"].count("\n| ") == 9
    assert study.figure.render(results).startswith(b"<?xml")


def run_of(kind: str, seed: int, loss: float | None, rate: float = 1.0, rise: float = 0.0) -> dict[str, Any]:
    return {
        "kind": kind,
        "level": 7,
        "rate": rate,
        "seed": seed,
        "validation_loss": loss,
        "failure": None if loss is not None else "diverged",
        "statistics": {"gradient_norm": 1.0, "greatest_gradient_norm": 2.0 + seed, "greatest_loss_rise": rise},
    }


def test_tables_by_hand(study: SimpleNamespace) -> None:
    runs = [run_of("dense", seed, 2.0 + 0.1 * seed) for seed in range(3)]
    runs += [run_of("btt", seed, 1.9 + 0.1 * seed, rise=0.31) for seed in reversed(range(3))]
    runs += [run_of("btt", 0, 1.0, rate=2.0), run_of("btt", 1, None, rate=2.0)]
    results = {"design": {"levels": [3, 7], "rates": [1.0, 2.0], "common_rate": 1.0}, "runs": runs}
    tables = study.tables
    assert tables.best_rate(results, "btt") == 1.0, "a rate at which a seed diverged is not the best"
    assert tables.best_rate(results, "btt-moe") is None
    rates = tables.rates(results).splitlines()
    assert rates[2] == "| 1 | 2.100 ± 0.100 |  | 2.000 ± 0.100, 3 spiked |  |"
    assert rates[3] == "| 2 |  |  | 1.000, **1 diverged** |  |"
    assert "| BTT | 1 | 2.000 ± 0.100 | −0.100 ± 0.000 | 1.00 ± 0.00 | 4.0 | 3 of 3 |" in tables.best(results)
    assert tables.gradients(results).splitlines()[2] == "| 1 | 1.00, 4.0 |  | 1.00, 4.0 |  |"


def test_pages_hold_the_recorded_tables(study: SimpleNamespace, results: dict[str, Any]) -> None:
    for page in study.run.PAGES:
        written = page.read_text(encoding="utf-8")
        assert study.tables.with_tables(written, results) == written, "run `python -m studies.mixtures.run --tables`"
        assert set(re.findall(r"<!-- study: (\w+) -->", written)) <= set(study.tables.TABLES)


def test_a_page_with_other_numbers_is_noticed(study: SimpleNamespace, results: dict[str, Any]) -> None:
    page = "<!-- study: best -->\n| kind |\n<!-- end -->\n"
    assert study.tables.with_tables(page, results) != page


def test_recorded_results_are_complete(study: SimpleNamespace, results: dict[str, Any]) -> None:
    design = study.design.FULL
    assert results["design"] == json.loads(json.dumps(design.to_json()))
    done = [tuple(run[name] for name in study.design.Run.__dataclass_fields__) for run in results["runs"]]
    assert sorted(done) == sorted(tuple(getattr(run, name) for name in run.__slots__) for run in design.runs())
    for run in results["runs"]:
        assert run["step_flops"] == design.step_flops(run["kind"], run["width"])
        assert run["steps"] * run["step_flops"] == pytest.approx(design.flops, rel=0.01)


def test_python_of_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "mixtures.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
