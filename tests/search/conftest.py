"""Tiny studies, and executors that train in this process or only pretend to."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from einsearch.proxy.batches import require_length
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Point, Progress, Segment, SegmentResult, train_segment
from einsearch.search import backend as backend_module
from einsearch.search import study as study_module
from einsearch.search.config import StudyConfig, read_study_file
from einsearch.search.executor import Advanced, Event, Finished, Lost, Refused
from einsearch.search.study import Study
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse


@dataclass
class InProcess:
    """An executor whose segments train in this process, one a poll, the last submitted first.

    So with two slots results come in another order than they were reserved.
    """

    slots: tuple[str, ...]
    setting: Setting
    data: Path
    cache: Path
    waiting: dict[str, Segment] = field(default_factory=dict)
    trained: list[Segment] = field(default_factory=list)
    stopping: bool = False

    def start(self) -> None:
        self.corpus = load_corpus(self.data, self.cache)

    def submit(self, slot: str, segment: Segment) -> None:
        assert slot in self.slots
        assert slot not in self.waiting
        self.waiting[slot] = segment

    def poll(self, timeout: float) -> list[Event]:
        slot, segment = self.waiting.popitem()
        self.trained.append(segment)
        stop = (lambda: self.stopping) if self.stopping else (lambda: False)
        result = train_segment(segment, self.setting, self.corpus, torch.device("cpu"), should_stop=stop)
        return [Finished(slot, result)]

    def ask_to_stop(self) -> None:
        self.stopping = True

    def close(self) -> None:
        self.waiting.clear()


@dataclass
class Pretend:
    """An executor that trains nothing: a loss follows from the candidate and the FLOPs.

    luck: in what order and in which batches results come. Of the segments, the share `lost` dies with its
    worker, `broken` raises, `diverged` fails and `spoiled` cannot read its checkpoint; `crashed` is a share of the
    polls. After `refused_after` segments the disk is full. `slow`: a slot that takes a hundred times as long.
    """

    slots: tuple[str, ...]
    luck: random.Random
    lost: float = 0.0
    broken: float = 0.0
    diverged: float = 0.0
    spoiled: float = 0.0
    crashed: float = 0.0
    refused_after: int | None = None
    slow: str | None = None
    waiting: dict[str, Segment] = field(default_factory=dict)
    submitted: list[Segment] = field(default_factory=list)
    checkpoints: set[Path] = field(default_factory=set)
    stopping: bool = False

    def start(self) -> None:
        return None

    def submit(self, slot: str, segment: Segment) -> None:
        assert slot in self.slots
        assert slot not in self.waiting
        assert segment.end > segment.start
        assert not segment.start or segment.checkpoint(segment.start) in self.checkpoints
        self.waiting[slot] = segment
        self.submitted.append(segment)

    def poll(self, timeout: float) -> list[Event]:
        if self.luck.random() < self.crashed:
            raise KeyboardInterrupt
        events: list[Event] = []
        for slot in self.luck.sample(sorted(self.waiting), self.luck.randint(0, len(self.waiting))):
            events += self._outcome(slot, self.waiting.pop(slot))
        return events

    def _outcome(self, slot: str, segment: Segment) -> list[Event]:
        if self.refused_after is not None and len(self.submitted) > self.refused_after and not self.stopping:
            return [Refused(slot, "OSError: [Errno 28] No space left on device")]
        if segment.start and self.luck.random() < self.spoiled:
            return [Lost(slot, "checkpoint cannot be read", retry=True, checkpoint_gone=True)]
        fate = self.luck.random()
        if fate < self.lost:
            return [Lost(slot, "worker died with exit code -9", retry=True)]
        if fate < self.lost + self.broken:
            return [Lost(slot, "ValueError: no", retry=False)]
        diverged = fate < self.lost + self.broken + self.diverged
        cut_short = diverged or self.stopping
        end = self.luck.randint(segment.start + diverged, segment.end) if cut_short else segment.end
        if end > segment.start and not diverged:
            self.checkpoints.add(segment.checkpoint(end))
        progress = Progress(step=end, loss=1.0, flops_per_second=1.0)
        result = pretended(segment, end, "diverged" if diverged else None)
        if slot == self.slow:
            result = replace(result, seconds=100.0, busy_seconds=100.0)
        return [Advanced(slot, progress), Finished(slot, result)]

    def ask_to_stop(self) -> None:
        self.stopping = True

    def close(self) -> None:
        self.waiting.clear()


def pretended(segment: Segment, end: int, failure: str | None = None) -> SegmentResult:
    """A result whose losses fall with the steps, faster for some keys than for others."""
    talent = int(hashlib.sha256(segment.candidate.key.encode()).hexdigest()[:4], 16) / 2**16
    step_flops = flops_per_step(segment.candidate, 16, 4)  # the tiny study's context and batch
    points = tuple(
        Point(
            step=step,
            flops=step * step_flops,
            train_loss=2.0,
            validation_loss=1 + step ** -(0.1 + 0.1 * talent),
            seconds=float(step),
        )
        for step in segment.evaluate_at
        if step <= end and not failure
    )
    return SegmentResult(
        end=end,
        points=points,
        seconds=1.0,
        busy_seconds=1.0,
        evaluation_seconds=0.0,
        tokens=end - segment.start,
        checkpoint=segment.checkpoint(end) if end > segment.start and not failure else None,
        failure=failure,
        implementations=("pretended",),
        activations="feature-major",
        statistics={},
        peak_memory_bytes=0,
        machine="pretended",
    )


class NoMirror:
    """Optuna's tables take longer to make than a pretended study takes to run."""

    def __init__(self, *_: Any) -> None:
        return None

    def sync(self, *_: Any, **__: Any) -> None:
        return None

    def close(self) -> None:
        return None


@pytest.fixture
def tiny_config(tiny_study: Path) -> StudyConfig:
    return read_study_file(tiny_study)


@pytest.fixture
def open_study(tmp_path: Path) -> Callable[[StudyConfig], Study]:
    """Open a study in the store of this test, with its runs in the test's folder."""

    def open_one(config: StudyConfig) -> Study:
        return Study.open(config, store=f"sqlite:///{tmp_path}/store.db", runs=tmp_path / "runs", device="cpu")

    return open_one


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[InProcess]:
    """Studies train in this process; the list holds the executor of every run."""
    made: list[InProcess] = []

    def make(devices: list[str], setting: Setting, data: Path, cache: Path, silence: float) -> InProcess:
        made.append(InProcess(tuple(f"local-{n}" for n in range(len(devices))), setting, data, cache))
        return made[-1]

    monkeypatch.setattr(backend_module, "LocalExecutor", make)
    return made


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Pretend]]:
    """Call it to make studies pretend, with a seed for their luck; the list holds the executor of every run."""

    def install(luck: int, *, mirror: bool = False, **accidents: Any) -> list[Pretend]:
        made: list[Pretend] = []

        def make(devices: list[str], *_: Any) -> Pretend:
            slots = tuple(f"local-{n}" for n in range(len(devices)))
            checkpoints = made[-1].checkpoints if made else set()
            made.append(Pretend(slots, random.Random(luck * 1000 + len(made)), checkpoints=checkpoints, **accidents))
            return made[-1]

        monkeypatch.setattr(backend_module, "LocalExecutor", make)
        if not mirror:
            monkeypatch.setattr(study_module, "OptunaMirror", NoMirror)
        return made

    return install


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "text").mkdir()
    for n in range(3):
        (folder / "text" / f"{n}.txt").write_text(f"number {n} of some words " * 100)
    return folder


@pytest.fixture(scope="module")
def setting(place: Path) -> Setting:
    corpus = load_corpus(place / "text", place / "cache")
    protocol = Protocol(context=16, batch=4, validation_sequences=8, warmup_steps=2)
    require_length(corpus, context=protocol.context)
    return setting_for(protocol, corpus, torch.device("cpu"))


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    candidate = Candidate.of(parse("monarch"), ModelShape(width=16, depth=1, head_size=8))
    return Segment(candidate=candidate, seed=3, start=0, end=6, evaluate_at=(2, 6), folder=tmp_path / "trial")
