"""What the CPU image holds once its steps have run, and a study by its entry. Slow: `make test-images`."""

import json
import subprocess
from pathlib import Path

import pytest

from .image import ROOT, Build
from .test_dockerfile import pins

pytestmark = pytest.mark.slow

INSTALLED = """\
import importlib.metadata as m, json
found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in m.distributions()}
# Only now: Ray puts packages of its own on the path.
import einsearch.cli.main, optuna_dashboard, psycopg, ray, torch
from einsearch.kernels.btt import reference
from einsearch.search_spaces import __path__ as spaces
print(json.dumps(found))
"""


def enter(image: Build, home: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`docker run IMAGE WORDS` in the folder that holds the image."""
    assert image.entrypoint == ["einsearch-entry"]
    program = image.folder / "usr/local/bin" / image.entrypoint[0]
    result = subprocess.run(
        [program, *(words or image.command)],
        env={"HOME": str(home)} | image.environment,
        cwd=image.folder / "work",
        capture_output=True,
        text=True,
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def test_only_steps_that_change_the_system_were_left_out(image: Build) -> None:
    assert [step.split()[0] for step in image.skipped] == ["groupadd"]


def test_its_packages_are_the_pinned_ones(image: Build, tmp_path: Path) -> None:
    found = json.loads(enter(image, tmp_path, "python", "-c", INSTALLED).stdout)
    wanted = pins(ROOT / "requirements.txt") | pins(ROOT / "docker/requirements-cluster.txt")
    versions = {name: found[name].split("+")[0] for name in wanted}
    assert versions == wanted
    assert set(found) - set(wanted) == {"einsearch", "pip"}
    assert not [name for name in found if name.startswith("nvidia")], "the CPU image holds CUDA"


def test_without_arguments_it_prints_the_help(image: Build, tmp_path: Path) -> None:
    assert "einsearch [OPTIONS] COMMAND" in enter(image, tmp_path).stdout


def test_it_runs_a_study_and_refuses_bad_input(image: Build, tiny_study: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    result = enter(image, tmp_path, "run", str(tiny_study), "--workers", "1", "--runs", str(runs), "--quiet", "--json")
    report = json.loads(result.stdout)
    assert Path(report["report"]).is_file()
    wrong = enter(image, tmp_path, "run", "--budget", "much", check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("einsearch: ")
