"""The Dockerfile by hadolint and by its own rules: pinned, non-root, no secrets, nothing but the project in it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .image import FOLDER, ROOT, Build, context_files, ignored, read_stages

ARGUMENTS, STAGES = read_stages((FOLDER / "Dockerfile").read_text())
FINAL = ("cpu", "cuda")


def pins(path: Path) -> dict[str, str]:
    """Name and version of every line of a requirements file, which must all be exact."""
    found = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found[requirement.name.lower().replace("_", "-")] = specifier.version
    return found


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "hadolint"
    return subprocess.run([program, "--no-color", path], capture_output=True, text=True)


def test_hadolint_has_nothing_to_say() -> None:
    result = hadolint(FOLDER / "Dockerfile")
    assert result.returncode == 0, result.stdout


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:latest\nRUN pip install torch\n")
    assert "DL3007" in hadolint(wrong).stdout


def test_base_images_are_pinned_by_tag_and_digest() -> None:
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", ARGUMENTS["PYTHON_IMAGE"])
    names = {stage.name for stage in STAGES}
    assert {stage.base for stage in STAGES} - names == {"${PYTHON_IMAGE}"}


def test_its_python_is_one_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.match(r"python:(\d+\.\d+\.\d+)", ARGUMENTS["PYTHON_IMAGE"])
    assert version is not None
    assert version[1] in SpecifierSet(project["requires-python"])


@pytest.mark.parametrize("name", FINAL)
def test_images_run_as_a_user_by_number(name: str) -> None:
    by_name = {stage.name: stage for stage in STAGES}
    stage, steps = by_name[name], list(by_name[name].steps)
    while stage.base in by_name:
        stage = by_name[stage.base]
        steps = [*stage.steps, *steps]
    assert [s.text for s in steps if s.instruction == "USER"][-1] == "10001:10001"
    assert [s.words for s in steps if s.instruction == "ENTRYPOINT"] == [["einsearch-entry"]]


def test_every_install_takes_exact_versions_without_resolving() -> None:
    installs = [
        part
        for stage in STAGES
        for step in stage.steps
        if step.instruction == "RUN"
        for part in re.split(r"&&", step.text)
        if "pip install" in part
    ]
    assert len(installs) >= 6
    for command in installs:
        assert "--no-deps" in command
        assert "--requirement" in command or "/build/dist/*.whl" in command


def test_requirements_agree_and_hold_what_a_cluster_needs() -> None:
    base = pins(ROOT / "requirements.txt")
    cluster = pins(FOLDER / "requirements-cluster.txt")
    cuda = pins(FOLDER / "requirements-cuda.txt")
    assert not base.keys() & cluster.keys()
    assert not cuda.keys() & (base | cluster).keys()
    assert pins(FOLDER / "requirements-build.txt").items() <= base.items()
    assert {"ray", "psycopg", "psycopg-binary", "optuna-dashboard"} <= cluster.keys()
    developers = pins(ROOT / "requirements-dev.txt")
    differ = {name for name in cluster.keys() & developers.keys() if cluster[name] != developers[name]}
    assert not differ, "the tests run with other versions than the images"


@pytest.mark.parametrize("extra", ["dashboard", "postgres", "ray", "s3"])
def test_pins_are_in_the_ranges_of_the_extras(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    held = pins(ROOT / "requirements.txt") | pins(FOLDER / "requirements-cluster.txt")
    for line in project["optional-dependencies"].get(extra, []):
        requirement = Requirement(line)
        assert held[requirement.name.lower().replace("_", "-")] in requirement.specifier, line


def test_no_secret_is_in_a_layer() -> None:
    for stage in STAGES:
        for step in stage.steps:
            if step.instruction in ("ENV", "ARG"):
                assert not re.search(r"(?i)passw|token|secret|_key\b", step.text), step.text


def test_the_context_holds_the_project_and_nothing_else() -> None:
    outside = ("docker/secrets/ray_token", "runs/einsearch.db", ".git/config", "tests/conftest.py", ".venv/pyvenv.cfg")
    for path in outside:
        assert ignored(Path(path)), path
    assert ignored(Path("einsearch/__pycache__/errors.cpython-311.pyc"))
    names = {str(path.relative_to(ROOT)) for path in context_files("einsearch")}
    assert {"einsearch/py.typed", "einsearch/report/report.html.jinja"} <= names
    for stage in STAGES:
        for step in stage.steps:
            if step.instruction == "COPY" and "from" not in step.flags:
                for source in step.words[:-1]:
                    assert context_files(source)


def test_all_packages_are_copied() -> None:
    """A top-level folder that setuptools installs and the Dockerfile forgets would be missing in the image."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    needed = {"einsearch", *settings["package-dir"].values()}
    (wheel,) = [stage for stage in STAGES if stage.name == "wheel"]
    copied = {word for step in wheel.steps if step.instruction == "COPY" for word in step.words[:-1]}
    assert needed <= copied


def test_steps_run_in_a_folder(tmp_path: Path) -> None:
    """The builder that `make test-images` relies on: order of stages, arguments, paths, and a step that fails."""
    _, stages = read_stages(
        "FROM x AS one\nARG WHO=nobody\nWORKDIR /work\nCOPY docker/entry.sh ./\nRUN apt-get update\n"
        'RUN echo "${WHO}" > /work/who\nFROM one AS two\nRUN cat who entry.sh > both\nENTRYPOINT ["a", "b"]\n'
    )
    build = Build(stages=stages, folder=tmp_path, arguments={"WHO": "somebody"})
    build.target("two")
    assert (tmp_path / "work/both").read_text() == "somebody\n" + (FOLDER / "entry.sh").read_text()
    assert build.skipped == ["apt-get update"]
    assert build.entrypoint == ["a", "b"]
    _, wrong = read_stages("FROM x AS one\nWORKDIR /work\nRUN false\n")
    with pytest.raises(subprocess.CalledProcessError):
        Build(stages=wrong, folder=tmp_path, arguments={}).target("one")
