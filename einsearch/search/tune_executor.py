"""Workers under Ray Tune: it asks the study what to train, places, pauses, resumes and logs."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.location import Location
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.executor import SILENCE, Advanced, Event
from einsearch.search.ray_cluster import Needs
from einsearch.search.ray_worker import About, Text, end, marker_in
from einsearch.search.tune_desk import Desk, StudyScheduler, StudySearcher, Work
from einsearch.search.tune_worker import Board, SegmentTrainable, quiet_tune

_CLOSING = 30.0
"""Seconds that Tune has to end its trials."""


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
        self._desk = Desk()
        self._processes: dict[str | None, About] = {}
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
        # Beside this process, so that no other node takes it along; its calls are made again where it died.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = (
            ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Board)
            .options(scheduling_strategy=here)
            .remote()
        )
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
            self._desk.work[slot] = Work(slot=slot, segment=segment)

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
                    self._processes[work.about.actor] = work.about
                    work.heard_at = now
                    if work.progress is not None:
                        events.append(Advanced(slot, work.progress))
                elif work.actor is not None and now - work.heard_at > self._silence:
                    work.heard_at, work.killed = now, f"worker gave no sign of life for {self._silence:g} s"
                    self._kill(work.actor)
        return events

    def _kill(self, actor: Any) -> None:
        """End an actor's process, also one that is stopped or hangs and does not hear Ray."""
        about = self._processes.get(actor._actor_id.hex())
        if about is not None:
            end(about)
        else:
            ray.kill(actor, no_restart=True)

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
