"""What a worker does, wherever it runs: train one segment after the other, and say what became of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from einsearch.errors import EinsearchError
from einsearch.proxy.checkpoint import CheckpointUnreadable
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import prepare
from einsearch.proxy.gradients import first_line, is_out_of_memory
from einsearch.proxy.parallel import train_in_parallel
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment, SegmentResult, never, train_segment

Answer = (
    tuple[Literal["finished"], SegmentResult]
    | tuple[Literal["error"], str]
    | tuple[Literal["checkpoint gone"], str]
    | tuple[Literal["refused"], str]
)
"""What became of a segment. `error`: it would fail again. `refused`: every other segment would fail here as well."""


class Worker:
    """Trains segments on one device, or each on all of several.

    load: gets the data when the first segment comes. memory: the part of each GPU's memory to take; None: all.
    unusable: why no segment can run here, if that is so.
    """

    def __init__(
        self, devices: Sequence[str], setting: Setting, load: Callable[[], Corpus], *, memory: float | None = None
    ) -> None:
        self._devices = [torch.device(device) for device in devices]
        self._setting = setting
        self._load = load
        self._corpus: Corpus | None = None
        self.unusable: str | None = None
        try:
            for device in reversed(self._devices):
                if device.type == "cuda":
                    torch.cuda.init()
                prepare(device)
                if memory is not None:
                    torch.cuda.set_per_process_memory_fraction(memory, device)
        except (RuntimeError, AssertionError) as error:  # no driver, no GPU, no CUDA in torch
            self.unusable = f"device {', '.join(devices)} cannot be used: {first_line(error)}"

    def run(
        self, segment: Segment, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool] = never
    ) -> Answer:
        """Train a segment. Never raises: whatever fails, the worker is usable after."""
        if self.unusable:
            return "refused", self.unusable
        try:
            self._corpus = self._corpus or self._load()
        except EinsearchError as error:
            return "refused", str(error)
        try:
            result = self._train(segment, self._corpus, on_progress, should_stop)
        except CheckpointUnreadable as error:
            return "checkpoint gone", str(error)
        except EinsearchError as error:
            return "error", str(error)
        except OSError as error:
            # Never the candidate's fault: every other trial would meet the same disk.
            return "refused", f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 (any failure of one trial must leave the worker usable)
            traceback.print_exc()
            why = "out of memory" if is_out_of_memory(error) else type(error).__name__
            return "error", f"{why}: {first_line(error)}"
        return "finished", result

    def _train(
        self, segment: Segment, corpus: Corpus, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> SegmentResult:
        # A mixture's routers balance whole batches, so it has one device.
        if len(self._devices) > 1 and segment.candidate.mixture is None:
            return train_in_parallel(
                segment, self._setting, corpus, self._devices, on_progress=on_progress, should_stop=should_stop
            )
        return train_segment(
            segment, self._setting, corpus, self._devices[0], on_progress=on_progress, should_stop=should_stop
        )


def corpus_of(setting: Setting, data: Path | None, cache: Path) -> Corpus:
    """The data of a study from its source. Raises EinsearchError where it has changed since."""
    corpus = load_corpus(data, cache)
    if corpus.hash != setting.data_hash:
        raise EinsearchError(
            f"data {data or 'standard library'} changed while the study ran (hash {corpus.hash[:12]}, "
            f"not {setting.data_hash[:12]}); restore it, or start a new study"
        )
    return corpus
