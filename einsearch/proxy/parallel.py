"""One trial on several devices of a machine: a process for each, gradients averaged by torch.distributed."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import prepare
from einsearch.proxy.gradients import first_line
from einsearch.proxy.protocol import Setting
from einsearch.proxy.ranks import Ranks
from einsearch.proxy.trainer import Progress, Segment, SegmentResult, ignore, never, train_segment

_PATIENCE = timedelta(minutes=10)
"""For a process that waits for the others; the first one may be measuring implementations."""


def train_in_parallel(
    segment: Segment,
    setting: Setting,
    corpus: Corpus,
    devices: Sequence[torch.device],
    *,
    on_progress: Callable[[Progress], None] = ignore,
    should_stop: Callable[[], bool] = never,
) -> SegmentResult:
    """As :func:`einsearch.proxy.trainer.train_segment`, with a process for each device.

    The batch is divided among them, so the losses are those of one process up to rounding. A GPU is named once for
    each process (NCCL), a CPU as often as there shall be processes (gloo).

    Raises EinsearchError where the batch has no equal parts, for mixtures, and where a process fails; what
    train_segment raises, and OSError, of any process.
    """
    Ranks(0, len(devices)).require_batch(setting.protocol.batch)
    if segment.candidate.mixture is not None:
        raise EinsearchError("a mixture of experts trains on one device; its routers balance whole batches")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="einsearch-") as folder:
        pipes = [context.Pipe() for _ in devices]
        processes = [
            context.Process(
                target=_serve,
                args=(Ranks(rank, len(devices)), folder, theirs, segment, setting, corpus, device),
                daemon=True,
            )
            for rank, (device, (_, theirs)) in enumerate(zip(devices, pipes, strict=True))
        ]
        for process in processes:
            process.start()
        for _, theirs in pipes:
            theirs.close()
        try:
            return _result(pipes[0][0], on_progress, should_stop)
        finally:
            for process in processes:
                process.join(timeout=5)
                process.kill()
            for ours, _ in pipes:
                ours.close()


def _result(
    first: Connection, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
) -> SegmentResult:
    """What the first process says."""
    told = False
    while True:
        if not told and should_stop():
            told = True
            first.send("stop")
        if not first.poll(0.2):
            continue
        try:
            kind, content = first.recv()
        except (EOFError, OSError):
            raise EinsearchError("a process of a parallel trial died; its segment is lost") from None
        if kind == "finished":
            found: SegmentResult = content
            return found
        if kind == "failed":
            failure: Exception = content
            raise failure
        on_progress(content)


def _serve(
    ranks: Ranks,
    folder: str,
    connection: Connection,
    segment: Segment,
    setting: Setting,
    corpus: Corpus,
    device: torch.device,
) -> None:
    """One of the processes."""
    prepare(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{Path(folder) / 'rendezvous'}",
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=_PATIENCE,
    )
    try:
        result = train_segment(
            segment,
            setting,
            corpus,
            device,
            on_progress=(lambda progress: connection.send(("advanced", progress))) if ranks.rank == 0 else ignore,
            should_stop=connection.poll if ranks.rank == 0 else never,
            ranks=ranks,
        )
        connection.send(("finished", result))
    except (EinsearchError, OSError) as error:
        connection.send(("failed", error))
    except RuntimeError as error:
        connection.send(("failed", EinsearchError(f"{type(error).__name__}: {first_line(error)}")))
    finally:
        dist.destroy_process_group()
