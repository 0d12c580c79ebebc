"""The command line, called in this process or run as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from einsearch.cli.main import main
from tests.ray_head import Head, running_head


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run a command with its `runs` in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EINSEARCH_STORE", raising=False)

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["einsearch", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            # A command that measures speed prepares this process as it would a worker.
            torch.utils.deterministic.fill_uninitialized_memory = True
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray cluster of this machine with a job server and room for two trials; none of the tests stops it."""
    pytest.importorskip("ray")
    with running_head() as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a command as a process, in a session of its own as a terminal would."""

    def begin(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        unset = ("EINSEARCH_STORE", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
        environment = {name: value for name, value in os.environ.items() if name not in unset} | (environment or {})
        return subprocess.Popen(
            [sys.executable, "-m", "einsearch", *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )

    return begin
