"""Progress of a run: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from itertools import islice
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from einsearch.cli.tables import leader_table
from einsearch.report.ranking import rank
from einsearch.search.config import write_flops
from einsearch.search.driver import Driver
from einsearch.search.state import Running
from einsearch.search.study import Study

_LEADERS = 5
_REDRAW_EVERY = 0.5
_SHARE = 0.02
"""Of the driver's time, for ranking and drawing."""

_MOST_RUNNING = 20
_LINE_EVERY = 10.0


class LiveDisplay:
    """Budget spent, running trials with loss and FLOP/s, the leaders so far."""

    def __init__(self, out: Console, study: Study) -> None:
        self._live = Live(console=out, auto_refresh=False, transient=True)
        self._study = study
        self._draw_at = 0.0
        self.closing = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, driver: Driver) -> None:
        self.closing = _closing(driver)
        began = time.monotonic()
        if began < self._draw_at:
            return
        self._live.update(self._picture(driver), refresh=True)
        drawn = time.monotonic()
        self._draw_at = drawn + max(_REDRAW_EVERY, (drawn - began) / _SHARE)

    def _picture(self, driver: Driver) -> Group:
        used, budget = driver.used_flops, driver.state.study.budget
        counts = _counts(driver)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=float(budget), completed=float(used), width=40),
            Text(f"{write_flops(used)} of {write_flops(budget)} FLOPs, {driver.seconds:.0f} s; {counts}"),
        )
        running = Table(header_style="bold", box=None, pad_edge=False)
        for name in ("worker", "structure", "width", "step", "loss", "GFLOP/s"):
            running.add_column(name, justify="left" if name in ("worker", "structure") else "right")
        for slot, run in islice(driver.state.running.items(), _MOST_RUNNING):
            running.add_row(slot, *_row(run))
        if (more := len(driver.state.running) - _MOST_RUNNING) > 0:
            running.add_row(f"and {more} more")
        parts: list[Table | Text] = [head, Text(""), running, Text("")]
        if leaders := rank(driver.state.curves, frontier=driver.state.frontier, limit=_LEADERS):
            parts.append(leader_table(leaders))
        if driver.stopping:
            parts.append(Text("stopping: waiting for checkpoints (Ctrl-C again to drop the work in flight)"))
        return Group(*parts)


class PlainDisplay:
    """One line every ten seconds, and one for every trial that reaches the top rung or fails."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._line_at = 0.0
        self._told = 0
        self.closing = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, driver: Driver) -> None:
        self.closing = _closing(driver)
        self._tell_ended(driver)
        now = time.monotonic()
        if now - self._line_at < _LINE_EVERY:
            return
        self._line_at = now
        share = driver.used_flops / driver.state.study.budget
        running = "; ".join(
            f"{structure} width {width} step {step} loss {loss}"
            for structure, width, step, loss, _ in map(_row, islice(driver.state.running.values(), _MOST_RUNNING))
        )
        if (more := len(driver.state.running) - _MOST_RUNNING) > 0:
            running += f"; and {more} more"
        self._out.print(f"{driver.seconds:5.0f} s  {share:6.1%} of budget  {_counts(driver)}  {running}")

    def _tell_ended(self, driver: Driver) -> None:
        ended = driver.state.ended
        for curve in map(driver.state.curve, ended[self._told :]):
            trial = curve.trial
            name = f"{trial.label} width {trial.facts['width']}"
            if trial.state == "failed":
                self._out.print(f"{driver.seconds:5.0f} s  failed: {name}: {trial.reason}")
            elif curve.points and not trial.reused_from:
                loss = curve.points[-1].validation_loss
                self._out.print(
                    f"{driver.seconds:5.0f} s  done: {name}: loss {loss:.4f} at {write_flops(trial.flops_done)} FLOPs"
                )
        self._told = len(ended)


def _closing(driver: Driver) -> str:
    """Where the time of this run went."""
    return f"Workers: {driver.worker_time}. Driver: {driver.engine_seconds:.1f} s of CPU in {driver.seconds:.0f} s."


def _counts(driver: Driver) -> str:
    counts = driver.state.counts
    tried = sum(count for (kind, _), count in counts.items() if kind == "search")
    return f"{tried} candidates tried, {counts['search', 'complete']} at the top rung"


def _row(run: Running) -> tuple[str, str, str, str, str]:
    progress = run.progress
    step = progress.step if progress else run.segment.start_step
    return (
        run.trial.label,
        str(run.trial.facts["width"]),
        f"{step}/{run.target}",
        f"{progress.loss:.3f}" if progress else "-",
        f"{progress.flops_per_second / 1e9:.1f}" if progress else "-",
    )
