"""This machine: versions, devices, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import torch

import einsearch
from einsearch.doctor.finding import Finding, ok, warning, wrong
from einsearch.proxy.device import describe, devices, usable_cores

EXTRAS = {"ray": "ray", "postgres": "psycopg", "dashboard": "optuna-dashboard"}
"""Optional parts by the package that shows them."""

_LITTLE_DISK = 2 << 30
_LITTLE_MEMORY = 1 << 29
"""Bytes for each worker process: one with torch takes about 300 MB before it trains."""


def machine_findings(runs: Path) -> Iterator[Finding]:
    """Versions, devices, memory, the disk below the folder of runs, optional parts."""
    python = platform.python_version()
    yield ok("versions", f"einsearch {einsearch.__version__}, Python {python}, torch {torch.__version__}")
    yield _devices()
    yield _memory()
    yield _disk(runs)
    found = {extra: _version(package) for extra, package in EXTRAS.items()}
    has = ", ".join(f"{extra} ({EXTRAS[extra]} {version})" for extra, version in found.items() if version)
    without = ", ".join(extra for extra, version in found.items() if not version)
    text = f"installed: {has or 'none'}" + (f"; not installed: {without}" if without else "")
    yield ok("optional parts", text)


def _devices() -> Finding:
    found = ", ".join(describe(device) for device in devices())
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        return warning(
            "devices",
            f"{found}; there is an NVIDIA driver, and this torch is built without CUDA",
            "install a CUDA build of torch: https://pytorch.org/get-started/locally",
        )
    return ok("devices", found)


def _memory() -> Finding:
    free, cores = psutil.virtual_memory().available, usable_cores()
    text = f"{free / 2**30:.1f} GiB free for {cores} workers"
    if free < cores * _LITTLE_MEMORY:
        fitting = max(1, free // _LITTLE_MEMORY)
        return warning("memory", text, f"give --workers {fitting}, or end other programs")
    return ok("memory", text)


def _disk(runs: Path) -> Finding:
    place = runs.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return wrong("disk", f"{place} is not writable", "make it writable, or give another folder as --runs")
    if free < _LITTLE_DISK:
        return warning("disk", text, "free some space: `einsearch clean STUDY --checkpoints` removes checkpoints")
    return ok("disk", text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
