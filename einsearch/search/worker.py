"""What a worker does, wherever it runs: train one segment after the other, and say what became of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from einsearch.errors import EinsearchError
from einsearch.proxy.checkpoint import CheckpointUnreadable
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import prepare
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
    """Trains segments on one device. load: gets the data when the first segment comes."""

    def __init__(self, device_name: str, setting: Setting, load: Callable[[], Corpus]) -> None:
        self._device = torch.device(device_name)
        self._setting = setting
        self._load = load
        self._corpus: Corpus | None = None
        self._unusable: str | None = None
        try:
            prepare(self._device)
        except RuntimeError as error:  # a GPU that cannot be opened: no segment can run here
            self._unusable = f"device {device_name} cannot be used: {error}"

    def run(
        self, segment: Segment, on_progress: Callable[[Progress], None], should_stop: Callable[[], bool] = never
    ) -> Answer:
        """Train a segment. Never raises: whatever fails, the worker is usable after."""
        if self._unusable:
            return "refused", self._unusable
        try:
            self._corpus = self._corpus or self._load()
        except EinsearchError as error:
            return "refused", str(error)
        try:
            result = train_segment(
                segment, self._setting, self._corpus, self._device, on_progress=on_progress, should_stop=should_stop
            )
        except CheckpointUnreadable as error:
            return "checkpoint gone", str(error)
        except EinsearchError as error:
            return "error", str(error)
        except OSError as error:
            # Never the candidate's fault: every other trial would meet the same disk.
            return "refused", f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 (any failure of one trial must leave the worker usable)
            traceback.print_exc()
            return "error", f"{type(error).__name__}: {error}".splitlines()[0]
        return "finished", result


def corpus_of(setting: Setting, data: Path | None, cache: Path) -> Corpus:
    """The data of a study from its source. Raises EinsearchError where it has changed since."""
    corpus = load_corpus(data, cache)
    if corpus.hash != setting.data_hash:
        raise EinsearchError(
            f"data {data or 'standard library'} changed while the study ran (hash {corpus.hash[:12]}, "
            f"not {setting.data_hash[:12]}); restore it, or start a new study"
        )
    return corpus
