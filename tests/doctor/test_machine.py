"""What the doctor finds on a machine."""

import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from einsearch.doctor.finding import Finding
from einsearch.doctor.machine import machine_findings
from einsearch.proxy.device import usable_cores


def by_subject(runs: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in machine_findings(runs)}


def test_this_machine(tmp_path: Path) -> None:
    found = by_subject(tmp_path / "not" / "yet")
    assert list(found) == ["versions", "devices", "memory", "disk", "optional parts"]
    assert torch.__version__ in found["versions"].text
    assert str(tmp_path) in found["disk"].text
    assert "wrong" not in {finding.state for finding in found.values()}


def test_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, memory = namedtuple("usage", "free"), namedtuple("memory", "available")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**8))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory((usable_cores() << 29) - 1))
    found = by_subject(tmp_path)
    assert (found["disk"].state, found["memory"].state) == ("warning", "warning")
    assert found["memory"].mend.startswith(f"give --workers {max(1, usable_cores() - 1)}")
    assert "clean STUDY --checkpoints" in found["disk"].mend


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the system: root may write everywhere."""
    monkeypatch.setattr("os.access", lambda *_: False)
    assert by_subject(tmp_path)["disk"].state == "wrong"


def test_a_driver_without_cuda_in_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert by_subject(tmp_path)["devices"].state == "warning"
