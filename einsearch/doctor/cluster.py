"""A Ray cluster: whether it answers, its nodes, what they run, what they see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from einsearch.doctor.finding import Finding, ok, warning, wrong
from einsearch.errors import EinsearchError
from einsearch.proxy.device import code_version
from einsearch.proxy.location import Location
from einsearch.search.ray_cluster import connect


def cluster_findings(address: str, folder: Location) -> Iterator[Finding]:
    """Of the cluster at an address. folder: where checkpoints would be written, which all nodes have to see."""
    try:
        connect(address, cores=1)
    except EinsearchError as error:
        how = "`ray start --head` on one machine, `ray start --address=HOST:6379` on the others"
        yield wrong("cluster", str(error), how)
        return
    import ray

    nodes = ray.nodes()
    alive = [node for node in nodes if node["Alive"]]
    have = ", ".join(f"{sum(node['Resources'].get(r, 0) for node in alive):g} {n}" for r, n in _AMOUNTS)
    yield ok("cluster", f"Ray {ray.__version__} at {address}: {len(alive)} nodes, {have}")
    for node in nodes:
        if not node["Alive"]:
            why = node.get("DeathReasonMessage") or "no reason given"
            yield warning(
                f"node {node['NodeManagerHostname']}",
                f"is dead: {' '.join(str(why).split())[:200]}",
                "start it again; what it trained goes on from checkpoints on other nodes",
            )
    yield from _alive(folder)


_AMOUNTS = (("CPU", "cores"), ("GPU", "GPUs"))


def _alive(folder: Location) -> Iterator[Finding]:
    """A process of each node says what it runs."""
    from einsearch.search.ray_nodes import ask_nodes

    for node in ask_nodes(folder):
        subject = f"node {node.host}"
        if node.about is None:
            yield wrong(
                subject,
                f"starts no process with einsearch: {node.trouble}",
                "install the same einsearch in the Python that runs Ray there, or take the node out",
            )
        else:
            yield from _same(subject, node.about, folder)


def _same(subject: str, about: Any, folder: Location) -> Iterator[Finding]:
    from einsearch.search.ray_worker import differences

    found = False
    for name, theirs, ours in differences(about, code_version(), torch.__version__):
        found = True
        text = f"runs {name} {theirs}, this machine {ours}: losses would not compare"
        yield wrong(subject, text, "install the same version")
    if not about.shares:
        found = True
        yield warning(
            subject,
            f"does not see {folder}: it cannot write checkpoints there",
            "give --storage with a folder that all nodes share, or s3://...",
        )
    if not found:
        yield ok(subject, f"runs the same einsearch and torch, sees {folder}")
