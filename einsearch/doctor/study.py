"""A study: its books, its driver, work that is stuck or lost, trials that failed, checkpoints that are gone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from einsearch.doctor.finding import Finding, ok, warning, wrong
from einsearch.errors import EinsearchError
from einsearch.proxy.location import is_there, parse_location
from einsearch.search.config import write_flops
from einsearch.search.whereabouts import is_alive
from einsearch.store import LeaseRow, SegmentRow, Store, StudyRow, TrialRow
from einsearch.store.fence import process_of
from einsearch.store.leases import LEASE_TIMEOUT

STUCK = 120.0
"""Seconds without a sign of life from which a segment is worth a look."""

_MUCH_LOST = 0.05
"""Part of the budget."""


def study_findings(store: Store, row: StudyRow) -> Iterator[Finding]:
    """What is to be said of one study."""
    subject = f"study {row.name}"
    violations = store.audit(row.id).violations
    for violation in violations:
        yield wrong(subject, f"books: {violation}", "restore a copy of the store; please report how this came about")
    row, curves, segments = store.snapshot(row.id)
    trials = [curve.trial for curve in curves]
    found = [
        *_driver(store, row, segments),
        *_stuck(subject, segments),
        *_lost(row, segments),
        *_failed(subject, trials),
        *_checkpoints(subject, trials),
    ]
    if not found and not violations:
        states = Counter(trial.state for trial in trials)
        amounts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
        used = (row.spent + row.lost) / row.budget
        yield ok(subject, f"{row.state}, {used:.0%} of {write_flops(row.budget)} FLOPs used, trials: {amounts}")
    yield from found


def is_driven(lease: LeaseRow | None) -> bool:
    """Whether a process runs the study; one on another host, which cannot be looked at, by its last sign of life."""
    if lease is None:
        return False
    alive = is_alive(lease.owner)
    return time.time() - lease.heartbeat_at < LEASE_TIMEOUT if alive is None else alive


def _driver(store: Store, row: StudyRow, segments: Iterable[SegmentRow]) -> Iterator[Finding]:
    """A study that nobody runs, although it says so."""
    lease = store.lease(row.id)
    if row.state != "running" or is_driven(lease):
        return
    left = sum(segment.state == "reserved" for segment in segments)
    text = f"it stands as running, and its {f'driver {process_of(lease.owner)}' if lease else 'driver'} ended"
    if left:
        text += f"; {left} {'segment was' if left == 1 else 'segments were'} under way and will be charged as lost"
    yield warning(f"study {row.name}", text, f"einsearch resume {row.name}")


def stuck_segments(segments: Iterable[SegmentRow], now: datetime | None = None) -> list[tuple[SegmentRow, float]]:
    """Segments under way that gave no sign of life for long, with their silence in seconds."""
    at = now or datetime.now(UTC)
    silences = [(s, (at - (s.progress_at or s.reserved_at)).total_seconds()) for s in segments if s.state == "reserved"]
    return [(segment, silence) for segment, silence in silences if silence > STUCK]


def lost_work(segments: Iterable[SegmentRow]) -> list[tuple[str, int, int]]:
    """Why work was lost: reason, segments, FLOPs; the dearest first."""
    count: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    for segment in segments:
        if segment.state == "lost":
            count[segment.reason or "unknown"] += 1
            flops[segment.reason or "unknown"] += segment.flops
    return [(reason, count[reason], cost) for reason, cost in flops.most_common()]


def _stuck(subject: str, segments: Iterable[SegmentRow]) -> Iterator[Finding]:
    for segment, silence in stuck_segments(segments):
        yield warning(
            subject,
            f"worker {segment.worker} has been silent for {silence:.0f} s at step "
            f"{segment.progress_step or segment.start_step} of {segment.end_step}",
            "the driver gives it up after --worker-timeout; look at the machine if that happens again",
        )


def _lost(row: StudyRow, segments: Iterable[SegmentRow]) -> Iterator[Finding]:
    if row.lost <= _MUCH_LOST * row.budget:
        return
    reasons = "; ".join(f"{count} times: {reason}" for reason, count, _ in lost_work(segments)[:3])
    yield warning(
        f"study {row.name}",
        f"{write_flops(row.lost)} FLOPs, {row.lost / row.budget:.0%} of the budget, were lost ({reasons})",
        f"mend the reason; `einsearch resume {row.name} --budget ...` makes up for it",
    )


def _failed(subject: str, trials: Iterable[TrialRow]) -> Iterator[Finding]:
    """Trials that failed, but for those that diverged: that is a result."""
    failed = [trial for trial in trials if trial.state == "failed" and not (trial.reason or "").startswith("diverged")]
    if not failed:
        return
    reasons = Counter(trial.reason or "unknown" for trial in failed).most_common(3)
    text = "; ".join(f"{count} times: {reason}" for reason, count in reasons)
    yield warning(
        subject,
        f"{len(failed)} {'trial' if len(failed) == 1 else 'trials'} failed ({text})",
        f"`einsearch show {failed[0].key}` says what it was and where it ran",
    )


def _checkpoints(subject: str, trials: Iterable[TrialRow]) -> Iterator[Finding]:
    """Checkpoints from which trials are to go on, and that are not there."""
    waiting = [t for t in trials if t.state in ("queued", "paused", "running") and t.step and t.checkpoint]
    gone = []
    for trial in waiting:
        try:
            if not is_there(parse_location(trial.checkpoint or "")):
                gone.append(trial.checkpoint)
        except (OSError, EinsearchError) as error:
            yield wrong(subject, f"checkpoint {trial.checkpoint} cannot be reached: {error}", "restore the connection")
            return
    if gone:
        yield warning(
            subject,
            f"{len(gone)} of {len(waiting)} checkpoints are not there, as {gone[0]}",
            "put them back, or see those trials begin anew when they go on (what they cost counts as lost)",
        )
