"""The process that trains: receives segments, answers with progress and results."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import torch

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import prepare
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment, train_segment

IGNORED = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, timeout(1) and batch systems signal the whole process group; the driver decides what it means."""

_PROGRESS_EVERY = 0.5
"""Seconds between two progress messages."""


def serve(connection: Connection, device_name: str, setting: Setting, data: Path | None, cache: Path) -> None:
    """Train segments from `connection` until it closes. The main function of a worker process.

    Messages in: a Segment, or "stop" to end the running one early. Out: ("advanced", Progress),
    ("finished", SegmentResult), ("error", text), ("refused", text).
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    device = torch.device(device_name)
    unusable: str | None = None
    try:
        prepare(device)
    except RuntimeError as error:  # a GPU that cannot be opened: no segment can run here
        unusable = f"device {device_name} cannot be used: {error}"
    inbox: SimpleQueue[Segment] = SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(connection, inbox, stop), daemon=True).start()
    corpus: Corpus | None = None
    while True:
        segment = inbox.get()
        if unusable:
            connection.send(("refused", unusable))
            continue
        try:
            corpus = corpus or _corpus(setting, data, cache)
        except EinsearchError as error:
            connection.send(("refused", str(error)))
            continue
        try:
            result = train_segment(
                segment,
                setting,
                corpus,
                device,
                on_progress=_Reporter(connection),
                should_stop=stop.is_set,
            )
            connection.send(("finished", result))
        except EinsearchError as error:
            connection.send(("error", str(error)))
        except OSError as error:
            # Never the candidate's fault: every other trial would meet the same disk.
            connection.send(("refused", f"{type(error).__name__}: {error}"))
        except Exception as error:  # noqa: BLE001 (any failure of one trial must leave the worker usable)
            traceback.print_exc()
            connection.send(("error", f"{type(error).__name__}: {error}".splitlines()[0]))


def _corpus(setting: Setting, data: Path | None, cache: Path) -> Corpus:
    corpus = load_corpus(data, cache)
    if corpus.hash != setting.data_hash:
        raise EinsearchError(
            f"data {data or 'standard library'} changed while the study ran (hash {corpus.hash[:12]}, "
            f"not {setting.data_hash[:12]}); restore it, or start a new study"
        )
    return corpus


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
