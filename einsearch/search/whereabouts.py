"""Where studies are kept, and which process runs one; light, for commands that need no torch."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from einsearch.host import host_name

RUNS = Path("runs")
"""Where studies are kept when nothing else is said: store, data cache, checkpoints, reports."""


def default_store_url(runs: Path) -> str:
    """EINSEARCH_STORE, or a SQLite file in the runs folder."""
    return os.environ.get("EINSEARCH_STORE") or f"sqlite:///{runs / 'einsearch.db'}"


def this_process() -> str:
    """host:pid:start time, which no other process has."""
    process = psutil.Process()
    return f"{host_name()}:{process.pid}:{process.create_time():.2f}"


def is_alive(owner: str) -> bool | None:
    """Whether the process of :func:`this_process` still runs; None for one on another host."""
    host, pid, started = owner.rsplit(":", 2)
    if host != host_name():
        return None
    try:
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and f"{process.create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False
