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

PATIENCE = 60.0
"""Seconds in which a node has to start a process."""


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
    yield from _alive(alive, folder)


_AMOUNTS = (("CPU", "cores"), ("GPU", "GPUs"))


def _alive(nodes: list[dict[str, Any]], folder: Location) -> Iterator[Finding]:
    """A process of each node says what it runs."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from einsearch.search.ray_worker import about_process, marker_in

    marker = marker_in(folder)
    if marker is not None:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    ask = ray.remote(num_cpus=0, max_retries=0)(about_process)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = ask.options(scheduling_strategy=there).remote(marker)
    try:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=PATIENCE)
        for node in nodes:
            subject = f"node {node['NodeManagerHostname']}"
            try:
                about = ray.get(asked[node["NodeID"]], timeout=0)
            except (RayError, TimeoutError) as error:
                why = " ".join(str(error).split())[:200]
                yield wrong(
                    subject,
                    f"starts no process with einsearch: {why}",
                    "install the same einsearch in the Python that runs Ray there, or take the node out",
                )
                continue
            yield from _same(subject, about, folder)
    finally:
        if marker is not None:
            marker.unlink(missing_ok=True)


def _same(subject: str, about: Any, folder: Location) -> Iterator[Finding]:
    found = False
    for name, theirs, ours in (("einsearch", about.code, code_version()), ("torch", about.torch, torch.__version__)):
        if theirs.partition("+")[0] != ours.partition("+")[0] or (name == "einsearch" and theirs != ours):
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
