"""The process that trains on this machine: receives segments, answers with progress and results."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.worker import Worker, corpus_of

IGNORED = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, timeout(1) and batch systems signal the whole process group; the driver decides what it means."""

_PROGRESS_EVERY = 0.5
"""Seconds between two progress messages."""


def serve(
    connection: Connection,
    device_name: str,
    memory: float | None,
    setting: Setting,
    data: Path | None,
    cache: Path,
) -> None:
    """Train segments from `connection` until it closes. The main function of a worker process.

    memory: the part of a GPU's memory that this process may take; None: all of it.
    Messages in: a Segment, or "stop" to end the running one early. Out: "up" once,
    then ("advanced", Progress), or an Answer.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    worker = Worker((device_name,), setting, partial(corpus_of, setting, data, cache), memory=memory)
    inbox: SimpleQueue[Segment] = SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(connection, inbox, stop), daemon=True).start()
    connection.send("up")
    while True:
        connection.send(worker.run(inbox.get(), _Reporter(connection), stop.is_set))


def _listen(connection: Connection, inbox: SimpleQueue[Segment], stop: threading.Event) -> None:
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the driver is gone: nobody would hear the result
        if message == "stop":
            stop.set()
        else:
            inbox.put(message)


class _Reporter:
    """Sends progress, not too often."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent_at = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._sent_at >= _PROGRESS_EVERY:
            self._sent_at = now
            self._connection.send(("advanced", progress))
