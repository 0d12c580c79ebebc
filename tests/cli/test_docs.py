"""The reference of commands is what the program says of itself."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from einsearch.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
REFRESH = runpy.run_path(str(ROOT / "docs" / "refresh.py"))
PAGES, with_outputs = REFRESH["PAGES"], REFRESH["with_outputs"]


def test_the_reference_of_commands_is_up_to_date(tmp_path: Path) -> None:
    made = tmp_path / "commands.md"
    command = [sys.executable, "-m", "typer", "einsearch.cli.main", "utils", "docs", "--name", "einsearch"]
    subprocess.run([*command, "--output", str(made)], check=True, capture_output=True)
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == made.read_text(encoding="utf-8"), "run `make docs` and commit docs/commands.md"


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"einsearch {command}" in readme


@pytest.mark.parametrize("page", PAGES)
def test_the_outputs_in_the_documentation_are_those_of_the_program(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert "```console" in text
    assert with_outputs(text) == text, "run `make docs` and commit what it wrote"


@pytest.mark.parametrize("page", PAGES)
def test_the_pictures_in_the_documentation_are_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text):
        assert (ROOT / "docs" / page).parent.joinpath(picture).is_file(), picture
