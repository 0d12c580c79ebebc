"""What Ray Tune runs: a trainable whose steps are segments, and the board on which trainables post news."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Progress, Segment
from einsearch.search.ray_cluster import Needs
from einsearch.search.ray_worker import About, Text, about_process
from einsearch.search.worker import Worker

_NEWS_EVERY = 1.0
"""Seconds between two exchanges with the board."""


class Board:
    """An actor by which the driver reaches trainables, which hear nothing else while they train."""

    def __init__(self) -> None:
        self._news: dict[str, tuple[About, Progress | None]] = {}
        self._stop = False

    def post(self, slot: str, about: About, progress: Progress | None) -> bool:
        """Post progress; returns whether to stop."""
        self._news[slot] = about, progress
        return self._stop

    def news(self) -> dict[str, tuple[About, Progress | None]]:
        """Since the last call."""
        found, self._news = self._news, {}
        return found

    def stop(self) -> None:
        self._stop = True


class SegmentTrainable(tune.Trainable):
    """One trial of a study. A step trains the segment of the config; between steps the trial is paused.

    The checkpoint that matters is the study's own; that of Tune names it.
    """

    def setup(
        self,
        config: dict[str, Any],
        setting: Setting,
        text: Text,
        marker: Path | None,
        needs: Needs,
        board: Any,
    ) -> None:
        self._worker = Worker(needs.devices(setting.device), setting, text.corpus, memory=needs.memory)
        if self._worker.unusable:
            raise RuntimeError(self._worker.unusable)  # another node may be better
        self._about, self._board = about_process(marker), board

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The process serves the next trial; its data stays."""
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        segment, slot = self.config["segment"], self.config["slot"]
        assert isinstance(segment, Segment)
        post = _Post(self._board, slot, self._about)
        answer = self._worker.run(segment, post.note, post.should_stop)
        result: dict[str, Any] = {"answer": answer, "slot": slot, "about": self._about}
        if answer[0] == "finished":
            done = answer[1]
            result |= {"steps": done.end, "tokens": done.tokens, "train_seconds": done.seconds}
            if done.points:
                last = done.points[-1]
                result |= {"flops": last.flops, "validation_loss": last.validation_loss, "train_loss": last.train_loss}
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Where the study's own checkpoint lies."""
        segment = self.config["segment"]
        Path(checkpoint_dir, "einsearch.json").write_text(json.dumps({"folder": str(segment.folder)}), encoding="utf-8")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the segment says from which checkpoint it goes on."""


class _Post:
    """Tells the board of a segment's progress, and hears from it whether to stop."""

    def __init__(self, board: Any, slot: str, about: About) -> None:
        self._board, self._slot, self._about = board, slot, about
        self._progress: Progress | None = None
        self._answer: Any = None
        self._stop = False
        self._asked_at = 0.0

    def note(self, progress: Progress) -> None:
        self._progress = progress

    def should_stop(self) -> bool:
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            self._stop, self._answer = ray.get(self._answer), None
        if self._answer is None and time.monotonic() - self._asked_at > _NEWS_EVERY:
            self._asked_at = time.monotonic()
            self._answer = self._board.post.remote(self._slot, self._about, self._progress)
        return self._stop


def quiet_tune() -> None:
    """Tune leaves signals to the driver, and says nothing that the study says itself."""
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
