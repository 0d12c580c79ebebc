"""A small real study that is disturbed, and what has to hold of it after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from einsearch.store import Store

STUDY = """\
name: disturbed
space: space.yaml
budget: 6e9
data: text
rungs: [6.4e7, 1.28e8]
ladder:
  - {width: 16, flops: 1e9}
protocol: {context: 16, batch: 4, validation_sequences: 8, evaluations_per_octave: 1, warmup_steps: 2}
"""
"""About 1,300 steps in pieces of 50; the budget leaves room for what is lost."""

SILENCE = 15
"""Seconds without progress after which a worker is given up."""

Table = dict[tuple[str, int], tuple[str, int, tuple[tuple[int, float, float], ...]]]
"""State, rung and curve (step, training loss, validation loss) of each trial by key and seed."""


@dataclass(kw_only=True)
class Lab:
    """One study, run by real commands. backend: arguments that say where it trains. store: its URL."""

    folder: Path
    backend: tuple[str, ...]
    store: str
    environment: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """Begin or continue the study."""
        command = [sys.executable, "-m", "einsearch", "run", "study.yaml", "--deterministic", "--workers", "2"]
        command += ["--worker-timeout", str(SILENCE), "--device", "cpu", "--store", self.store, *self.backend]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | self.environment,
        )

    def end_of(self, process: subprocess.Popen[str], seconds: float = 300) -> int:
        """The exit code of a command that ends by itself."""
        try:
            self.output.append(process.communicate(timeout=seconds)[0])
        except subprocess.TimeoutExpired:
            kill_group(process)
            self.output.append(process.communicate()[0])
            raise AssertionError(f"it did not end within {seconds:.0f} s:\n{self.output[-1][-2000:]}") from None
        return process.returncode

    def finish(self) -> None:
        """Continue the study until it says that it is done."""
        code = self.end_of(self.start())
        assert code == 0, self.output[-1][-2000:]

    def look(self) -> dict[str, Any]:
        """What the books say now: counts of segments by state, and of signs of life; empty before there is a study."""
        try:
            with Store.open(self.store, create=False) as store:
                studies = store.studies()
                segments = store.segments(studies[0].id) if studies else []
        except Exception as error:  # noqa: BLE001 (the database may be down, or not made yet)
            return {"trouble": str(error)}
        states = [segment.state for segment in segments]
        return {state: states.count(state) for state in set(states)}

    def wait_for(self, done: int, process: subprocess.Popen[str], seconds: float = 240) -> None:
        """Until so many segments are booked."""
        wait_until(lambda: self.look().get("done", 0) >= done or process.poll() is not None, seconds)
        assert process.poll() is None, f"it ended too early:\n{process.communicate()[0][-2000:]}"

    def workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """The processes that train now."""
        if "ray" in self.backend:
            found = [p for p in psutil.process_iter() if _is_trainer(p, self.backend[-1])]
        else:
            driver = psutil.Process(process.pid)
            found = [p for p in driver.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        assert found, "no worker runs"
        return found

    def check(self) -> None:
        """What holds of a study that has ended, whatever happened to it."""
        with Store.open(self.store, create=False) as store:
            (study,) = [each for each in store.studies() if each.name == "disturbed"]
            assert store.audit(study.id).violations == ()
            trials, segments = store.trials(study.id), store.segments(study.id)
        assert study.state == "finished"
        assert study.reserved == 0
        assert study.spent + study.lost <= study.budget
        assert study.spent == sum(segment.flops for segment in segments if segment.state == "done")
        assert study.lost == sum(segment.flops for segment in segments if segment.state == "lost")
        assert {trial.state for trial in trials} == {"complete"}
        assert len({(trial.key, trial.seed) for trial in trials}) == len(trials)
        for trial in trials:
            done = sorted(s.start_step for s in segments if s.trial_id == trial.id and s.state == "done")
            assert len(set(done)) == len(done), "a candidate was trained twice"

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
        return "ray::Trainer" in " ".join(process.cmdline()) and address in " ".join(parent.cmdline() if parent else [])
    except psutil.NoSuchProcess:
        return False


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 for a command with all that it started here."""
    os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)
