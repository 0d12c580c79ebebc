"""The reference of commands is what the program says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_of_commands_is_up_to_date(tmp_path: Path) -> None:
    made = tmp_path / "commands.md"
    command = [sys.executable, "-m", "typer", "einsearch.cli.main", "utils", "docs", "--name", "einsearch"]
    subprocess.run([*command, "--output", str(made)], check=True, capture_output=True)
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == made.read_text(encoding="utf-8"), "run `make docs` and commit docs/commands.md"


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("run", "status", "resume", "report", "show", "train", "clean"):
        assert f"einsearch {command}" in readme
