"""What passes between a study and Ray Tune: submitted segments one way, their events the other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from einsearch.errors import EinsearchError
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.executor import Event, Lost, ending
from einsearch.search.failed_starts import FailedStarts
from einsearch.search.ray_worker import About, line_of, require_same

_NOT_CREATED = "The actor died because of an error raised in its creation task"
"""How Ray begins the text of an error that a constructor raised."""


@dataclass(slots=True)
class Work:
    """A segment that was submitted. trial: Tune's name of the trial that runs it. actor: the one that has to, once it
    is up. about: None until it gave news of the segment."""

    slot: str
    segment: Segment
    trial: str | None = None
    actor: Any = None
    heard_at: float = field(default_factory=time.monotonic)
    about: About | None = None
    progress: Progress | None = None
    killed: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """Of the Tune trial: what loggers show, and the segment."""
        candidate = self.segment.candidate
        shown = {"key": candidate.key, "structure": candidate.label, "width": candidate.shape.width}
        return shown | {"seed": self.segment.seed, "segment": self.segment, "slot": self.slot}


class Desk:
    """Between the driver's thread and Tune's. trials: of Tune by folder of the study's trial. abouts: of slots."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.events: queue.SimpleQueue[Event | EinsearchError] = queue.SimpleQueue()
        self.work: dict[str, Work] = {}
        self.trials: dict[str, str] = {}
        self.abouts: dict[str, About] = {}
        self.closed = False

    def __reduce__(self) -> tuple[type[Desk], tuple[()]]:
        """Tune pickles the state of its experiment; ours is in the store."""
        return Desk, ()

    def __deepcopy__(self, memo: Any) -> Desk:
        return self

    def new(self, trial: str) -> dict[str, Any] | None:
        """The config of a submitted segment whose study trial Tune does not know yet."""
        with self.lock:
            for work in self.work.values():
                name = str(work.segment.folder)
                if work.trial is None and name not in self.trials:
                    work.trial = self.trials[name] = trial
                    return work.config
        return None

    def next_of(self, trial: str) -> dict[str, Any] | None:
        """The config with which a paused trial goes on."""
        with self.lock:
            for work in self.work.values():
                if work.trial is None and self.trials.get(str(work.segment.folder)) == trial:
                    work.trial = trial
                    return work.config
        return None

    def end(self, trial: str, event: Callable[[Work], Event]) -> None:
        """The segment that a trial trains has ended; event: made of it."""
        with self.lock:
            work = next((work for work in self.work.values() if work.trial == trial), None)
            if work is not None:
                del self.work[work.slot]
                self.events.put(event(work))

    def on(self, trial: str, actor: Any) -> None:
        """The actor of a trial, from which news is awaited from now on."""
        with self.lock:
            for work in self.work.values():
                if work.trial == trial and work.actor is not actor:
                    work.actor, work.heard_at = actor, time.monotonic()

    def begin_again(self, trial: str) -> str | None:
        """The segment that a trial should train waits for another trial; returns its slot, if there is one."""
        with self.lock:
            work = next((work for work in self.work.values() if work.trial == trial), None)
            if work is None:
                return None
            work.trial = work.actor = None
            return work.slot

    def forget(self, trial: str) -> None:
        """A trial of Tune's that failed: its study trial goes on as a new one."""
        with self.lock:
            self.trials = {name: known for name, known in self.trials.items() if known != trial}


class StudySearcher(Searcher):
    """Suggests what the study submits, when it does."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        return Searcher.FINISHED if self._desk.closed else self._desk.new(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the scheduler hears of it first."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's store has all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study's store has all state."""


class StudyScheduler(FIFOScheduler):
    """Pauses a trial after each segment, and resumes it with the next one when the study submits it."""

    def __init__(self, desk: Desk, setting: Setting) -> None:
        super().__init__()
        self._desk, self._setting = desk, setting
        self._failed_starts = FailedStarts()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self._desk.abouts[result["slot"]] = result["about"]
        self._failed_starts.came_up(result["slot"])
        try:
            require_same(result["about"], self._setting)
        except EinsearchError as error:
            self._desk.events.put(error)
        self._desk.end(trial.trial_id, lambda work: ending(work.slot, result["answer"]))
        return str(TrialScheduler.PAUSE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        said = _error_of(trial)
        if said.startswith(_NOT_CREATED):
            self._never_began(trial, said)
        line = line_of(said)
        self._desk.end(trial.trial_id, lambda work: Lost(work.slot, work.killed or f"worker died: {line}", retry=True))
        self._desk.forget(trial.trial_id)

    def _never_began(self, trial: Trial, said: str) -> None:
        """Nothing was trained, so nothing is lost."""
        slot = self._desk.begin_again(trial.trial_id)
        if slot is not None:
            try:
                self._failed_starts.failed(slot, said)
            except EinsearchError as error:
                self._desk.events.put(error)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        trials = tune_controller.get_trials()
        for trial in trials:
            if not trial.is_finished() and trial.temporary_state.ray_actor is not None:
                self._desk.on(trial.trial_id, trial.temporary_state.ray_actor)
        if self._desk.closed:
            for trial in trials:
                if not trial.is_finished():
                    tune_controller.stop_trial(trial)
            return None
        for trial in trials:
            if trial.status == Trial.PENDING:
                return trial
            if trial.status == Trial.PAUSED and (config := self._desk.next_of(trial.trial_id)) is not None:
                trial.set_config(config)
                return trial
        return None


def _error_of(trial: Trial) -> str:
    """The text of the error that has just ended a trial, from the file where Tune adds up those of it."""
    file = Path(trial.error_file or "")
    said = file.read_text(encoding="utf-8") if file.is_file() else ""
    return said.rpartition("Failure # ")[2].partition("\n")[2] or "its process ended"
