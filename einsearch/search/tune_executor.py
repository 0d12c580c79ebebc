"""Workers under Ray Tune: its searcher and its scheduler ask the study; Tune places, pauses, resumes and logs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.location import Location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.executor import SILENCE, Advanced, Event, Lost, ending
from einsearch.search.ray_cluster import Needs
from einsearch.search.ray_worker import About, Text, end_process, marker_in, require_same
from einsearch.search.tune_worker import Board, SegmentTrainable, quiet_tune

_CLOSING = 30.0
"""Seconds that Tune has to end its trials."""


@dataclass(slots=True)
class _Work:
    """A segment that was submitted; trial: Tune's name of the trial that runs it."""

    slot: str
    segment: Segment
    trial: str | None = None
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


class _Desk:
    """Between the driver's thread and Tune's: submitted work one way, events the other."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.events: queue.SimpleQueue[Event | EinsearchError] = queue.SimpleQueue()
        self.work: dict[str, _Work] = {}
        self.trials: dict[str, str] = {}
        self.abouts: dict[str, About] = {}
        self.closed = False

    def __reduce__(self) -> tuple[type[_Desk], tuple[()]]:
        """Tune pickles the state of its experiment; ours is in the store."""
        return _Desk, ()

    def __deepcopy__(self, memo: Any) -> _Desk:
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

    def end(self, trial: str, event: Callable[[_Work], Event]) -> None:
        """The segment that a trial trains has ended; event: made of it."""
        with self.lock:
            work = next((work for work in self.work.values() if work.trial == trial), None)
            if work is not None:
                del self.work[work.slot]
                self.events.put(event(work))

    def forget(self, trial: str) -> None:
        """A trial of Tune's that failed: its study trial goes on as a new one."""
        with self.lock:
            self.trials = {name: known for name, known in self.trials.items() if known != trial}


class StudySearcher(Searcher):
    """Suggests what the study submits, when it does."""

    def __init__(self, desk: _Desk) -> None:
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

    def __init__(self, desk: _Desk, setting: Setting) -> None:
        super().__init__()
        self._desk, self._setting = desk, setting

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self._desk.abouts[result["slot"]] = result["about"]
        try:
            require_same(result["about"], self._setting)
        except EinsearchError as error:
            self._desk.events.put(error)
        self._desk.end(trial.trial_id, lambda work: ending(work.slot, result["answer"]))
        return str(TrialScheduler.PAUSE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        said = " ".join(str(trial.get_error() or "its process ended").split())[:200]
        self._desk.end(trial.trial_id, lambda work: Lost(work.slot, work.killed or f"worker died: {said}", retry=True))
        self._desk.forget(trial.trial_id)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        trials = tune_controller.get_trials()
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


class _Pace(tune.Callback):
    """Tune's loop does not wait while no trial trains: it would take a core from the workers."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if not any(trial.status == Trial.RUNNING for trial in trials):
            time.sleep(0.05)


class TuneExecutor:
    """Ray Tune as the place to train. Ray has to be connected; arguments are those of RayExecutor.

    name, storage: of Tune's experiment, its logs and its own checkpoints. callbacks: of Tune, as its loggers.
    """

    def __init__(
        self,
        *,
        workers: int,
        needs: Needs,
        setting: Setting,
        corpus: Corpus,
        folder: Location,
        name: str,
        storage: Path,
        callbacks: tuple[Any, ...] = (),
        silence: float = SILENCE,
    ) -> None:
        self._slots = tuple(f"tune-{n}" for n in range(workers))
        self._needs, self._setting, self._corpus = needs, setting, corpus
        self._name, self._storage, self._callbacks = name, storage, callbacks
        self._silence = silence
        self._marker = marker_in(folder)
        self._desk = _Desk()
        self._board: Any = None
        self._question: Any = None
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        return self._slots

    def about(self, slot: str) -> About | None:
        """Who trained on a slot last."""
        return self._desk.abouts.get(slot)

    def start(self) -> None:
        if self._thread is not None:
            return
        quiet_tune()
        if self._marker is not None:
            self._marker.parent.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
        self._board = ray.remote(num_cpus=0)(Board).remote()
        self._thread = threading.Thread(target=self._fit, name="tune", daemon=True)
        self._thread.start()

    def _fit(self) -> None:
        """Tune's own loop, in a thread of its own."""
        try:
            self._tuner().fit()
        except Exception as error:  # noqa: BLE001 (whatever ends Tune has to reach the driver's thread)
            self._desk.events.put(EinsearchError(f"Ray Tune ended: {' '.join(str(error).split())[:300]}"))

    def _tuner(self) -> tune.Tuner:
        needs = self._needs
        trainable = tune.with_resources(
            tune.with_parameters(
                SegmentTrainable,
                setting=self._setting,
                text=Text.of(self._corpus),
                marker=self._marker,
                needs=needs,
                board=self._board,
            ),
            {"cpu": needs.cpus, "gpu": needs.gpus},
        )
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(self._desk),
                scheduler=StudyScheduler(self._desk, self._setting),
                num_samples=-1,
                max_concurrent_trials=None,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=self._name, storage_path=str(self._storage), callbacks=[_Pace(), *self._callbacks], verbose=0
            ),
        )

    def submit(self, slot: str, segment: Segment) -> None:
        with self._desk.lock:
            if slot in self._desk.work:
                raise ValueError(f"slot {slot} is busy")
            self._desk.work[slot] = _Work(slot=slot, segment=segment)

    def poll(self, timeout: float) -> list[Event]:
        events: list[Event] = []
        try:
            found = self._desk.events.get(timeout=timeout)
            while True:
                if isinstance(found, EinsearchError):
                    raise found
                events.append(found)
                found = self._desk.events.get_nowait()
        except queue.Empty:
            return [*self._news(), *events]

    def _news(self) -> list[Event]:
        """Progress since the last time; trainables without any are killed, and Tune reports their trials."""
        now = time.monotonic()
        if self._question is None and now - self._asked_at > 1:
            self._question, self._asked_at = self._board.news.remote(), now
        news: dict[str, tuple[About, Progress | None]] = {}
        if self._question is not None and ray.wait([self._question], timeout=0)[0]:
            news, self._question = ray.get(self._question), None
        events: list[Event] = []
        with self._desk.lock:
            for slot, work in self._desk.work.items():
                if slot in news and news[slot] != (work.about, work.progress):
                    work.about, work.progress = news[slot]
                    self._desk.abouts[slot] = work.about
                    work.heard_at = now
                    if work.progress is not None:
                        events.append(Advanced(slot, work.progress))
                elif work.about is not None and now - work.heard_at > self._silence:
                    work.heard_at, work.killed = now, f"worker gave no sign of life for {self._silence:g} s"
                    there = NodeAffinitySchedulingStrategy(work.about.node, soft=False)
                    end_process.options(scheduling_strategy=there).remote(work.about.pid, work.about.started)
        return events

    def ask_to_stop(self) -> None:
        self._board.stop.remote()

    def close(self) -> None:
        self._desk.closed = True
        if self._thread is not None:
            self._thread.join(timeout=_CLOSING)
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)


def loggers(names: tuple[str, ...], project: str) -> tuple[Any, ...]:
    """Callbacks of Tune by name. Raises EinsearchError where a package is missing."""
    made: list[Any] = []
    for name in names:
        try:
            if name == "wandb":
                from ray.air.integrations.wandb import WandbLoggerCallback

                made.append(WandbLoggerCallback(project=project))
            else:
                from ray.air.integrations.mlflow import MLflowLoggerCallback

                made.append(MLflowLoggerCallback(experiment_name=project))
        except (ImportError, RuntimeError) as error:
            raise EinsearchError(f"logger {name} needs its package ({error}): pip install {name}") from None
    return tuple(made)
