"""What the nodes of a Ray cluster run, asked of a process on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from einsearch.proxy.location import Location
from einsearch.search.ray_cluster import Needs, one_line, room_on
from einsearch.search.ray_worker import About, about_process, marker_in

PATIENCE = 60.0
"""Seconds in which a node has to start a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A live node. about: what runs there; or why that is not known."""

    host: str
    about: About | None
    trouble: str = ""


def ask_nodes(folder: Location | None, needs: Needs | None = None) -> Iterator[Node]:
    """The live nodes of the cluster that this process is connected to, or those with room for a trial.

    folder: of checkpoints, that they should see; None: that does not matter.
    """
    marker = marker_in(folder) if folder is not None else None
    if marker is not None:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    ask = ray.remote(num_cpus=0, max_retries=0)(about_process)
    nodes = [n for n in ray.nodes() if n["Alive"] and (needs is None or room_on(n["Resources"], needs))]
    try:
        asked: list[Any] = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(ask.options(scheduling_strategy=there).remote(marker))
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=PATIENCE)
        for node, answer in zip(nodes, asked, strict=True):
            host = node["NodeManagerHostname"]
            try:
                yield Node(host=host, about=ray.get(answer, timeout=0.1))
            except (RayError, TimeoutError) as error:
                why = one_line(error) or f"no answer within {PATIENCE:.0f} s"
                yield Node(host=host, about=None, trouble=why)
    finally:
        if marker is not None:
            marker.unlink(missing_ok=True)
