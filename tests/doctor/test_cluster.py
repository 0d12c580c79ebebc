"""What the doctor finds of a real Ray cluster."""

from dataclasses import replace
from pathlib import Path

import pytest

from einsearch.doctor.cluster import _same, cluster_findings
from einsearch.search import ray_cluster

pytest.importorskip("ray")


def test_nothing_answers() -> None:
    (found,) = cluster_findings("127.0.0.1:1", Path("/tmp"))
    assert found.state == "wrong"
    assert found.text.startswith("no Ray cluster answers at 127.0.0.1:1 (")
    assert "ray start --head" in found.mend


def test_a_node_that_is_as_this_machine(tmp_path: Path) -> None:
    from tests.search.ray_here import start

    start()
    cluster, node = cluster_findings("auto", tmp_path)
    assert (cluster.state, node.state) == ("ok", "ok")
    assert "1 nodes, 4 cores, 0 GPUs" in cluster.text
    assert node.text == f"runs the same einsearch and torch, sees {tmp_path}"
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_differ(tmp_path: Path) -> None:
    from einsearch.search.ray_worker import about_process
    from tests.search.ray_here import start

    start()
    about = about_process(None)
    assert [found.state for found in _same("node a", replace(about, code="0.0.1+abc"), tmp_path)] == ["wrong"]
    assert [found.state for found in _same("node a", replace(about, torch="2.0.0+cu1"), tmp_path)] == ["wrong"]
    assert [found.state for found in _same("node a", replace(about, shares=False), tmp_path)] == ["warning"]
    assert ray_cluster.connect("auto", 1) is False
