"""The shell scripts: shellcheck, secrets that only their owner reaches, and passwords that leak nowhere."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .image import FOLDER

SCRIPTS = ("entry.sh", "make-secrets.sh", "slurm.sbatch")
SHELL = "/bin/sh"


def shellcheck(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([Path(sys.executable).parent / "shellcheck", path], capture_output=True, text=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    result = shellcheck(FOLDER / name)
    assert result.returncode == 0, result.stdout


def test_shellcheck_would_say_something(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.sh"
    wrong.write_text("#!/bin/sh\nrm -rf $1/*\n")
    assert "SC2086" in shellcheck(wrong).stdout


def test_secrets_are_random_kept_and_out_of_reach_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = [SHELL, FOLDER / "make-secrets.sh", folder]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == {"postgres_password", "ray_token"}
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in made.values())
    assert len(set(made.values())) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in folder.iterdir())
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    assert [line.split()[0] for line in again.stdout.splitlines()] == ["kept", "kept"]
    assert not any(text in first.stdout + again.stdout for text in made.values())


class Entry:
    """Runs the entry script with a home of its own, and programs that say how they were called."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        for name in ("einsearch", "ray"):
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\nenv | sort\n')
            (programs / name).chmod(0o755)
        self.path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHELL, FOLDER / "entry.sh", *words],
            env={"PATH": self.path, "HOME": str(self.home)} | environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path)


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ((), "einsearch "),
        (("run", "--budget", "1e9"), "einsearch run --budget 1e9"),
        (("einsearch", "status"), "einsearch status"),
        (("ray", "start", "--head"), "ray start --head"),
        (("sh", "-c", "echo other"), "other"),
    ],
)
def test_entry_runs_einsearch_or_what_is_named(entry: Entry, words: tuple[str, ...], called: str) -> None:
    assert entry.run(*words).stdout.splitlines()[0] == called


def test_entry_asks_for_token_authentication_unless_told_otherwise(entry: Entry) -> None:
    assert "RAY_AUTH_MODE=token" in entry.run("status").stdout.splitlines()
    assert "RAY_AUTH_MODE=disabled" in entry.run("status", RAY_AUTH_MODE="disabled").stdout.splitlines()


def test_entry_hands_the_password_to_the_client_library_alone(entry: Entry, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("pa:ss\\word 1\nsecond line\n")
    for _ in range(2):
        result = entry.run("run", EINSEARCH_DB_PASSWORD_FILE=str(secret))
        assert result.returncode == 0
        assert "ss\\word" not in result.stdout + result.stderr
    pgpass = entry.home / ".pgpass"
    assert pgpass.read_text() == "*:*:*:*:pa\\:ss\\\\word 1\n"
    assert stat.S_IMODE(pgpass.stat().st_mode) == 0o600
    assert list(entry.home.iterdir()) == [pgpass]


@pytest.mark.parametrize("content", [None, ""])
def test_entry_refuses_a_secret_that_is_missing_or_empty(entry: Entry, tmp_path: Path, content: str | None) -> None:
    secret = tmp_path / "password"
    if content is not None:
        secret.write_text(content)
    result = entry.run("run", EINSEARCH_DB_PASSWORD_FILE=str(secret))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"einsearch-entry: EINSEARCH_DB_PASSWORD_FILE={secret} ")
    assert len(result.stderr.splitlines()) == 1


def test_entry_joins_the_cluster_before_a_driver_begins(entry: Entry) -> None:
    result = entry.run("run", EINSEARCH_RAY_HEAD="head:6379")
    assert result.stderr.splitlines()[0].startswith("ray start --address=head:6379 --num-cpus=0 --num-gpus=0")
    assert result.stdout.splitlines()[0] == "einsearch run"


def directives() -> dict[str, str]:
    lines = (FOLDER / "slurm.sbatch").read_text().splitlines()
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH "))


def test_slurm_signals_the_script_alone_and_in_time() -> None:
    asked = directives()
    assert (asked["ntasks-per-node"], asked["open-mode"]) == ("1", "append")
    match = re.fullmatch(r"B:USR1@(\d+)", asked["signal"])
    assert match is not None
    assert int(match[1]) >= 300


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "SLURM_JOB_ID: submit this file with sbatch"),
        ({"SLURM_JOB_ID": "7"}, "EINSEARCH_STORAGE: export EINSEARCH_STORAGE, a folder or URI for checkpoints"),
        ({"SLURM_JOB_ID": "7", "EINSEARCH_STORAGE": "/s"}, "slurm.sbatch: einsearch is not on PATH; name a file"),
    ],
)
def test_slurm_says_what_is_missing(environment: dict[str, str], line: str) -> None:
    command = ["/bin/bash", FOLDER / "slurm.sbatch"]
    result = subprocess.run(command, env={"PATH": "/usr/bin:/bin"} | environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert line in result.stderr
