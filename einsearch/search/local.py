"""Worker processes on this machine: one a core, or some a GPU."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path

from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Segment
from einsearch.search.executor import SILENCE, Advanced, Event, Lost, ending
from einsearch.search.failed_starts import FailedStarts
from einsearch.search.local_worker import IGNORED, serve

_COMING_UP = 120.0
"""Seconds more than `silence` that a new process may take to its first sign of life: it imports torch."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    up: bool = False
    busy: bool = False
    heard_at: float = 0.0


class LocalExecutor:
    """Spawned processes that each train one segment at a time on one device.

    devices: the torch device of each worker (`cpu`, `cuda:0`, ...). A worker that dies, or gives no sign of life
    for `silence` seconds (more while it comes up), is replaced and its segment reported Lost. Workers end by
    themselves when this process is gone. Raises EinsearchError from poll where workers fail to come up again and again.
    """

    def __init__(
        self, devices: list[str], setting: Setting, data: Path | None, cache: Path, silence: float = SILENCE
    ) -> None:
        self._devices = {f"local-{n}": device for n, device in enumerate(devices)}
        self._setting = setting
        self._data = data
        self._cache = cache
        self._silence = silence
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[str, _Worker] = {}
        self._failed_starts = FailedStarts("its error stands above; mend that")

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(self._devices)

    def start(self) -> None:
        # Workers ignore the signal with which multiprocessing would end them at exit.
        atexit.register(self.close)
        for slot in self._devices:
            if slot not in self._workers:
                self._workers[slot] = self._spawn(slot)

    def pid(self, slot: str) -> int | None:
        """The process of a slot's worker."""
        return self._workers[slot].process.pid

    def _spawn(self, slot: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve,
            args=(theirs, self._devices[slot], self._memory(slot), self._setting, self._data, self._cache),
            name=f"einsearch-{slot}",
            daemon=True,
        )
        # A signal to the whole process group may come before the worker could say that it ignores it. The
        # tracker of multiprocessing would unblock them again as it starts, so it starts first.
        ensure_running()
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        theirs.close()
        return _Worker(process, ours)

    def _memory(self, slot: str) -> float | None:
        """The part of its GPU's memory for a worker: they share alike."""
        device = self._devices[slot]
        sharing = list(self._devices.values()).count(device)
        return 1 / sharing if device.startswith("cuda") and sharing > 1 else None

    def submit(self, slot: str, segment: Segment) -> None:
        worker = self._workers[slot]
        if worker.busy:
            raise ValueError(f"slot {slot} is busy")
        worker.busy, worker.heard_at = True, time.monotonic()
        try:
            worker.connection.send(segment)
        except OSError:
            # Dead already: poll finds its sentinel and reports the segment as lost.
            return

    def poll(self, timeout: float) -> list[Event]:
        ready = wait(
            [w.connection for w in self._workers.values()] + [w.process.sentinel for w in self._workers.values()],
            timeout,
        )
        events: list[Event] = []
        for slot, worker in list(self._workers.items()):
            if worker.connection in ready or worker.process.sentinel in ready:
                events += self._drain(slot, worker)
            patience = self._silence if worker.up else self._silence + _COMING_UP
            if worker.busy and time.monotonic() - worker.heard_at > patience:
                worker.process.kill()
                worker.process.join()
                events += self._replace(slot, f"worker gave no sign of life for {patience:g} s")
            elif not worker.process.is_alive():
                events += self._drain(slot, worker)
                if not worker.up and (worker.process.exitcode or 0) > 0:  # it raised: no signal ended it
                    self._failed_starts.failed(slot, f"its process ended with exit code {worker.process.exitcode}")
                events += self._replace(slot, f"worker died with exit code {worker.process.exitcode}")
        return events

    def _drain(self, slot: str, worker: _Worker) -> list[Event]:
        events: list[Event] = []
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                worker.up, worker.heard_at = True, time.monotonic()
                if message == "up":
                    self._failed_starts.came_up(slot)
                    continue
                if message[0] == "advanced":
                    events.append(Advanced(slot, message[1]))
                else:
                    worker.busy = False
                    events.append(ending(slot, message))
        except (EOFError, OSError):
            # The process is gone, or is about to be: its sentinel says so.
            worker.process.join(timeout=5)
        return events

    def _replace(self, slot: str, reason: str) -> list[Event]:
        worker = self._workers[slot]
        worker.connection.close()
        self._workers[slot] = self._spawn(slot)
        return [Lost(slot, reason, retry=True)] if worker.busy else []

    def ask_to_stop(self) -> None:
        for worker in self._workers.values():
            try:
                worker.connection.send("stop")
            except OSError:
                continue  # dead: poll reports it

    def close(self) -> None:
        atexit.unregister(self.close)
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()
            worker.connection.close()
        self._workers.clear()
