"""Laboratories: every place to train with every store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_SPACE
from tests.faults.lab import STUDY, Lab, Table

MakeLab = Callable[[str, str], Lab]


def write_study(folder: Path) -> None:
    import random

    words, draw = ("alpha", "beta", "gamma", "rank", "factor", "loss", "dense", "einsum", "of"), random.Random(0)
    (folder / "text").mkdir(parents=True)
    for n in range(4):
        (folder / "text" / f"{n}.txt").write_text(" ".join(draw.choice(words) for _ in range(2000)))
    (folder / "space.yaml").write_text(TINY_SPACE)
    (folder / "study.yaml").write_text(STUDY)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Table:
    """The results where nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_study(folder)
    lab = Lab(folder=folder, backend=(), store=f"sqlite:///{folder}/runs/einsearch.db")
    lab.finish()
    lab.check()
    return lab.table()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Three nodes on this machine, one core each; the first one is the head."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_raylet_start_wait_time_s", "180")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture
def make_lab(tmp_path: Path, request: pytest.FixtureRequest) -> MakeLab:
    """A study in the folder of this test."""

    def make(backend: str, store: str) -> Lab:
        write_study(tmp_path)
        arguments: tuple[str, ...] = ("--backend", backend)
        environment = {}
        if backend != "local":
            arguments += ("--address", request.getfixturevalue("cluster").address)
            environment = {"RAY_AUTH_MODE": os.environ["RAY_AUTH_MODE"]}
        url = f"sqlite:///{tmp_path}/runs/einsearch.db"
        if store == "postgresql":
            url = request.getfixturevalue("postgresql_database")
        return Lab(folder=tmp_path, backend=arguments, store=url, environment=environment)

    return make
