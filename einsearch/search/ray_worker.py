"""The Ray actor that trains: one a slot, on whatever node has room."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from einsearch.errors import EinsearchError
from einsearch.host import host_name
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import code_version
from einsearch.proxy.location import Location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.ray_cluster import Needs
from einsearch.search.worker import Answer, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Who trains on a slot. node, actor: Ray's names; a process that is no actor has none of these.

    started: of the process, seconds since 1970. shares: whether it sees the driver's file.
    """

    host: str
    node: str
    actor: str | None
    pid: int
    started: float
    code: str
    torch: str
    shares: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A corpus as it travels: through Ray's object store, once a node. train, validation: symbols."""

    name: str
    hash: str
    train: np.ndarray[Any, np.dtype[np.uint8]]
    validation: np.ndarray[Any, np.dtype[np.uint8]]
    train_documents: int
    validation_documents: int
    skipped: int

    @classmethod
    def of(cls, corpus: Corpus) -> Text:
        return cls(
            name=corpus.name,
            hash=corpus.hash,
            train=np.asarray(corpus.train),
            validation=np.asarray(corpus.validation),
            train_documents=corpus.train_documents,
            validation_documents=corpus.validation_documents,
            skipped=corpus.skipped,
        )

    def corpus(self) -> Corpus:
        return Corpus(
            name=self.name,
            hash=self.hash,
            path=Path(),
            train=self.train,
            validation=self.validation,
            train_documents=self.train_documents,
            validation_documents=self.validation_documents,
            skipped=self.skipped,
        )


def about_process(marker: Path | None) -> About:
    """This process of Ray's. marker: a file of the driver's that it should see."""
    own, context = psutil.Process(), ray.get_runtime_context()
    return About(
        host=host_name(),
        node=context.get_node_id(),
        actor=context.get_actor_id(),
        pid=own.pid,
        started=own.create_time(),
        code=code_version(),
        torch=torch.__version__,
        shares=marker is None or marker.is_file(),
    )


def marker_in(folder: Location) -> Path | None:
    """A file by which workers show that they see a folder; None where it is reached by a URI."""
    return folder / f".driver-{uuid.uuid4().hex[:8]}" if isinstance(folder, Path) else None


class Trainer:
    """A :class:`einsearch.search.worker.Worker` in a process of Ray's, with the devices that Ray gave it."""

    def __init__(self, setting: Setting, text: Text, marker: Path | None, needs: Needs) -> None:
        self._worker = Worker(needs.devices(setting.device), setting, text.corpus, memory=needs.memory)
        if self._worker.unusable:
            raise RuntimeError(self._worker.unusable)  # another node may be better
        self._marker = marker
        self._stop = threading.Event()
        self._progress: Progress | None = None

    @ray.method(concurrency_group="control")
    def about(self) -> About:
        return about_process(self._marker)

    def train(self, segment: Segment) -> Answer:
        self._progress = None
        return self._worker.run(segment, self._note, self._stop.is_set)

    def _note(self, progress: Progress) -> None:
        self._progress = progress

    @ray.method(concurrency_group="control")
    def progress(self) -> Progress | None:
        """The latest of the segment under way. An answer is a sign of life of the process, not of the training."""
        return self._progress

    @ray.method(concurrency_group="control")
    def stop(self) -> None:
        self._stop.set()


def actor_class() -> Any:
    """Trainer as an actor whose small methods answer while it trains."""
    return ray.remote(concurrency_groups={"control": 1})(Trainer)


@ray.remote(num_cpus=0, max_retries=0)
def end_process(pid: int, started: float) -> bool:
    """Kill a process of this node, one that cannot hear Ray any more (stopped, hung); not another with its number."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 1:
            return False
        os.kill(pid, signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def end(about: About) -> None:
    """Kill a process on its node, also one that does not hear Ray."""
    there = NodeAffinitySchedulingStrategy(about.node, soft=False)
    end_process.options(scheduling_strategy=there).remote(about.pid, about.started)


def differences(about: About, code: str, torch_version: str) -> Iterator[tuple[str, str, str]]:
    """Package, version there and version here, of those that differ so that losses would not compare."""
    if about.code != code:
        yield "einsearch", about.code, code
    # torch's local version says which devices it was built for: +cpu, +cu130.
    if about.torch.partition("+")[0] != torch_version.partition("+")[0]:
        yield "torch", about.torch, torch_version


def require_same(about: About, setting: Setting) -> None:
    """EinsearchError where a worker would train something else than the driver books."""
    for name, theirs, ours in differences(about, setting.code, setting.torch):
        raise EinsearchError(
            f"node {about.host} runs {name} {theirs}, the study is of {ours}: losses would not compare; "
            "install the same version on all nodes"
        )
    if not about.shares:
        raise EinsearchError(
            f"node {about.host} does not see the folder of checkpoints; give --storage with a folder that all nodes "
            "share, or s3://..."
        )


def line_of(said: str) -> str:
    """The text of an error of Ray's in one line, without the list of facts that follows it."""
    return " ".join((said.partition("\n\t")[0] or said).split())[:200]
