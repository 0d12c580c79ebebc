"""Where studies are kept; to know it needs nothing that trains."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = Path("runs")
"""Where studies are kept when nothing else is said: store, data cache, checkpoints, reports."""


def default_store_url(runs: Path) -> str:
    """EINSEARCH_STORE, or a SQLite file in the runs folder."""
    return os.environ.get("EINSEARCH_STORE") or f"sqlite:///{runs / 'einsearch.db'}"
