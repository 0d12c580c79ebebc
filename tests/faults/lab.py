"""A small real study that is disturbed, and what has to hold of it after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from einsearch.errors import EinsearchError
from einsearch.store import SegmentRow, Store

if TYPE_CHECKING:
    from ..postgresql import Server

STUDY = """\
name: disturbed
space: space.yaml
budget: 6e9
data: text
rungs: [6.4e7, 1.28e8]
ladder:
  - {width: 16, flops: 6e8}
protocol: {context: 16, batch: 4, validation_sequences: 8, evaluations_per_octave: 1, warmup_steps: 2}
"""
"""Some 700 steps in pieces of 50; the budget leaves room for what is lost."""

SILENCE = 15
"""Seconds without progress after which a worker is given up."""

CORES = 2
"""Of each node that trains: room for all workers."""

_BEGINNING = 240
"""Seconds in which a study has to get to work: a busy machine takes long to start Ray's processes."""

_TRAINERS = ("ray::Trainer", "ray::SegmentTrainable", "ray::ResourceTrainable")
"""How the processes of Ray and of Ray Tune call themselves that train."""

Table = dict[tuple[str, int], tuple[str, int, tuple[tuple[int, float, float], ...]]]
"""State, rung and curve (step, training loss, validation loss) of each trial by key and seed."""


@dataclass(kw_only=True)
class Lab:
    """One study, run by real commands.

    backend: arguments that say where it trains. store: its URL. cluster: of Ray, where it trains on one. server: of
    PostgreSQL, where its store is on one; nobody else uses it while the lab does.
    """

    folder: Path
    backend: tuple[str, ...]
    store: str
    cluster: Any = None
    server: Server | None = None
    environment: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """Begin or continue the study."""
        command = [sys.executable, "-m", "einsearch", "run", "study.yaml", "--deterministic", "--workers", "2"]
        command += ["--worker-timeout", str(SILENCE), "--device", "cpu", *self.backend]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | self.environment | {"EINSEARCH_STORE": self.store},
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End what a test that failed has left."""
        for process in self.processes:
            if process.poll() is None:
                kill_group(process)
                process.communicate()

    def end_of(self, process: subprocess.Popen[str], expected: int = 0, seconds: float = 300) -> None:
        """A command ends by itself, with this exit code."""
        try:
            self.output.append(process.communicate(timeout=seconds)[0])
        except subprocess.TimeoutExpired:
            kill_group(process)
            self.output.append(process.communicate()[0])
            raise AssertionError(f"it did not end within {seconds:.0f} s{self.story()}") from None
        assert process.returncode == expected, f"exit code {process.returncode}, not {expected}{self.story()}"

    def finish(self) -> None:
        """Continue the study until it says that it is done."""
        self.end_of(self.start())

    def story(self) -> str:
        """What the books and the last command say, for a failure's message."""
        said = "\n".join(self.output[-1].splitlines()[-25:]) if self.output else "nothing"
        return f"; segments: {self.look()}, lost: {self.losses()}\nthe last command said:\n{said}"

    def segments(self) -> list[SegmentRow]:
        """Of the study, by now; none before there is one, and while the database is down."""
        try:
            with Store.open(self.store, create=False) as store:
                studies = store.studies()
                return store.segments(studies[0].id) if studies else []
        except EinsearchError:
            return []

    def look(self) -> dict[str, int]:
        """Counts of segments by state."""
        states = [segment.state for segment in self.segments()]
        return {state: states.count(state) for state in sorted(set(states))}

    def losses(self) -> list[str]:
        """Why segments were lost."""
        return [segment.reason or "" for segment in self.segments() if segment.state == "lost"]

    def wait_for(self, done: int, process: subprocess.Popen[str]) -> None:
        """Until so many segments are booked."""
        self._wait(process, lambda look: look.get("done", 0) >= done, f"{done} segments done")

    def wait_for_work(self, process: subprocess.Popen[str]) -> None:
        """Until some segment is under way."""
        self._wait(process, lambda look: "reserved" in look, "a segment reserved")

    def _wait(self, process: subprocess.Popen[str], enough: Callable[[dict[str, int]], bool], what: str) -> None:
        deadline = time.monotonic() + _BEGINNING
        while not enough(self.look()):
            if process.poll() is not None or time.monotonic() > deadline:
                why = "it ended too early" if process.poll() is not None else f"{_BEGINNING} s passed"
                kill_group(process)
                self.output.append(process.communicate()[0])
                raise AssertionError(f"{why} while waiting for {what}{self.story()}")
            time.sleep(0.2)

    def trainers(self) -> list[psutil.Process]:
        """The processes of this lab's cluster that train, or could."""
        return [p for p in psutil.process_iter() if _is_trainer(p, self.cluster.address)]

    def workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """The processes that train for a command."""
        if self.cluster is not None:
            found = self.trainers()
        else:
            driver = psutil.Process(process.pid)
            found = [p for p in driver.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        assert found, f"no worker runs{self.story()}"
        return found

    @contextmanager
    def held(self, process: subprocess.Popen[str]) -> Iterator[psutil.Process]:
        """A worker that has work and does not get on with it: one that was between two segments has got the next.

        On Ray one whose process says that it trains: under Tune there may be others, that nobody waits for.
        """
        worker: psutil.Process | None = None

        def found() -> bool:
            nonlocal worker
            assert process.poll() is None, self.story()
            for worker in self.workers(process):
                worker.suspend()
                if self.cluster is None or ".train" in " ".join(worker.cmdline()):
                    return True
                worker.resume()
            return False

        wait_until(found, 120, "no worker trains")
        assert worker is not None
        try:
            time.sleep(2)
            yield worker
        finally:
            with suppress(psutil.NoSuchProcess):
                worker.resume()

    def check(self) -> None:
        """What holds of a study that has ended, whatever happened to it."""
        with Store.open(self.store, create=False) as store:
            (study,) = store.studies()
            assert store.audit(study.id).violations == ()
            trials, segments = store.trials(study.id), store.segments(study.id)
        assert study.state == "finished"
        assert study.reserved == 0
        assert study.spent + study.lost <= study.budget
        assert study.spent == sum(segment.flops for segment in segments if segment.state == "done")
        assert study.lost == sum(segment.flops for segment in segments if segment.state == "lost")
        assert {trial.state for trial in trials} == {"complete"}, [trial.reason for trial in trials]
        assert len({(trial.key, trial.seed) for trial in trials}) == len(trials)
        for trial in trials:
            done = sorted(s.start_step for s in segments if s.trial_id == trial.id and s.state == "done")
            assert len(set(done)) == len(done), "a candidate was trained twice"
        assert not any("Secret" in output for output in self.output), "a password was printed"
        if self.cluster is not None:
            wait_until(lambda: not self.trainers(), 60, "workers outlive the study")

    def table(self) -> Table:
        """The final results."""
        with Store.open(self.store, create=False) as store:
            (study,) = store.studies()
            return {
                (c.trial.key, c.trial.seed): (
                    c.trial.state,
                    c.trial.rung,
                    tuple((p.step, float(p.train_loss or 0), float(p.validation_loss or 0)) for p in c.points),
                )
                for c in store.curves(study.id)
            }


def _is_trainer(process: psutil.Process, address: str) -> bool:
    """Whether a process trains on the Ray cluster with this address: its parent is a raylet of it."""
    try:
        parent = process.parent()
        if parent is None or not any(name in " ".join(process.cmdline()) for name in _TRAINERS):
            return False
        return process.status() != psutil.STATUS_ZOMBIE and f"--gcs-address={address}" in parent.cmdline()
    except psutil.NoSuchProcess:
        return False


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 for a command with all that it started here, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{otherwise}, {seconds:.0f} s later"
        time.sleep(0.1)
