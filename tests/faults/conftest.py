"""Laboratories: every place to train with every store."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import TINY_SPACE
from tests.faults.lab import CORES, STUDY, Lab, Table

if TYPE_CHECKING:
    from ..postgresql import Server

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
def cluster(own_cache: None) -> Iterator[Any]:
    """Three nodes on this machine: a head that trains nothing, two others with room for two trials each.

    So either of these can be killed, and the other one holds all workers. Faults leave three nodes.
    """
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_raylet_start_wait_time_s", "180")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=CORES)
        yield made
        made.shutdown()


@pytest.fixture(scope="session")
def restartable_server() -> Iterator[Server]:
    """A PostgreSQL server of these tests alone, one of which at a time uses it and may stop it."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL: pip install 'einsearch[postgres]'")
    from ..postgresql import binaries, running_server

    if binaries() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    with running_server() as server:
        yield server


@pytest.fixture
def postgresql_database(restartable_server: Server) -> Iterator[str]:
    """The URL of an empty database."""
    with restartable_server.database() as url:
        yield url


@pytest.fixture
def make_lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeLab]:
    """A study in the folder of this test."""
    made: list[Lab] = []

    def make(backend: str, store: str) -> Lab:
        write_study(tmp_path)
        lab = Lab(folder=tmp_path, backend=("--backend", backend), store=f"sqlite:///{tmp_path}/runs/einsearch.db")
        if backend != "local":
            lab.cluster = request.getfixturevalue("cluster")
            lab.backend += ("--address", lab.cluster.address)
            lab.environment = {"RAY_AUTH_MODE": os.environ["RAY_AUTH_MODE"]}
        if store == "postgresql":
            lab.store = request.getfixturevalue("postgresql_database")
            lab.server = request.getfixturevalue("restartable_server")
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.close()
