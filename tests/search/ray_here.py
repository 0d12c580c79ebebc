"""A Ray cluster of this machine for tests: started once a process, where Ray is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.protocol import Setting
from einsearch.search.executor import Executor
from einsearch.search.ray_cluster import Needs, connect


def start() -> None:
    """Connect to a cluster of this machine with room for four trials."""
    pytest.importorskip("ray")
    # A busy machine takes longer than Ray's minute.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    connect(None, 4)


def on_ray(setting: Setting, place: Path, silence: float) -> Executor:
    """One slot on Ray."""
    start()
    from einsearch.search.ray_executor import RayExecutor

    corpus = load_corpus(place / "text", place / "cache")
    return RayExecutor(workers=1, needs=Needs(), setting=setting, corpus=corpus, folder=place, silence=silence)


def on_tune(setting: Setting, place: Path, silence: float) -> Executor:
    """One slot under Ray Tune."""
    start()
    from einsearch.search.tune_executor import TuneExecutor

    corpus = load_corpus(place / "text", place / "cache")
    return TuneExecutor(
        workers=1,
        needs=Needs(),
        setting=setting,
        corpus=corpus,
        folder=place,
        name="tune",
        storage=place / "scratch",
        silence=silence,
    )
