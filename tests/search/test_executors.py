"""What every executor owes a study, over all executors, with real trainings in real processes."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.search.executor import Advanced, Event, Executor, Finished, Lost, Refused
from einsearch.search.local import LocalExecutor
from tests.search.ray_here import on_ray, on_tune

LONG = 10**6
"""Steps that no test waits for."""


def on_this_machine(setting: Setting, place: Path, silence: float) -> Executor:
    return LocalExecutor(["cpu"], setting, place / "text", place / "cache", silence)


EXECUTORS: dict[str, Callable[[Setting, Path, float], Executor]] = {
    "local": on_this_machine,
    "ray": on_ray,
    "tune": on_tune,
}
"""Makes an executor of one slot."""


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: pytest.FixtureRequest, setting: Setting, place: Path) -> Iterator[Executor]:
    """One for all tests: whatever a test did to its worker, the slot is usable after."""
    made = EXECUTORS[request.param](setting, place, 600.0)
    made.start()
    yield made
    made.close()


def free_slot(executor: Executor, seconds: float = 120.0) -> str:
    """The slot, when its worker is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if executor.slots:
            return executor.slots[0]
        assert executor.poll(0.2) == []
    raise AssertionError(f"no worker came within {seconds:.0f} s")


def pid_of(executor: Executor, segment: Segment) -> int:
    """The process of the one worker; where there is none before it has work, the segment's first step is that."""
    slot = free_slot(executor)
    if isinstance(executor, LocalExecutor):
        pid = executor.pid(slot)
        assert pid is not None
        return pid
    if executor.about(slot) is None:  # type: ignore[attr-defined]
        executor.submit(slot, replace(segment, end=1, evaluate_at=(), folder=segment.folder.with_name("first")))
        ending(executor)
    return int(executor.about(slot).pid)  # type: ignore[attr-defined]


def ending(executor: Executor, seconds: float = 120.0) -> Event:
    """The one event that ends the segment on the only slot; no second one follows it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := [event for event in executor.poll(0.2) if not isinstance(event, Advanced)]:
            (event,) = found
            assert [e for e in executor.poll(0.0) if not isinstance(e, Advanced)] == []
            return event
    raise AssertionError(f"nothing ended within {seconds:.0f} s")


def advanced(executor: Executor, seconds: float = 120.0) -> Advanced:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in executor.poll(0.2):
            assert isinstance(event, Advanced), event
            return event
    raise AssertionError(f"no sign of life within {seconds:.0f} s")


def losses(event: Event) -> list[tuple[int, float, float]]:
    assert isinstance(event, Finished), event
    assert event.result.failure is None
    return [(point.step, point.train_loss, point.validation_loss) for point in event.result.points]


def expected(segment: Segment, setting: Setting, place: Path) -> list[tuple[int, float, float]]:
    """The same, trained in this process without any cut."""
    corpus = load_corpus(place / "text", place / "cache")
    whole = replace(segment, folder=segment.folder.with_name("here"))
    result = train_segment(whole, setting, corpus, torch.device("cpu"))
    return [(point.step, point.train_loss, point.validation_loss) for point in result.points]


def test_a_segment_gives_the_losses_of_this_process_bit_for_bit(executor, segment, setting, place):
    executor.submit(free_slot(executor), segment)
    event = ending(executor)
    assert losses(event) == expected(segment, setting, place)
    assert event.result.end == 6
    assert event.result.tokens == 6 * 16 * 4
    assert event.result.checkpoint == segment.checkpoint(6)
    assert event.result.checkpoint.is_dir()


def test_a_trial_in_two_segments_is_the_trial_in_one(executor, segment, setting, place):
    found = []
    for start, end in ((0, 4), (4, 6)):
        at = tuple(step for step in segment.evaluate_at if start < step <= end)
        executor.submit(free_slot(executor), replace(segment, start=start, end=end, evaluate_at=at))
        found += losses(ending(executor))
    assert found == expected(segment, setting, place)


def test_a_missing_checkpoint_is_told_and_the_slot_stays_usable(executor, segment):
    executor.submit(free_slot(executor), replace(segment, start=4))
    event = ending(executor)
    assert isinstance(event, Lost)
    assert event.retry
    assert event.checkpoint_gone
    assert event.reason.startswith(f"checkpoint {segment.folder}/step-00000004 cannot be read: ")
    executor.submit(free_slot(executor), replace(segment, end=2, evaluate_at=(2,)))
    assert len(losses(ending(executor))) == 1


def test_a_checkpoint_that_cannot_be_written_is_refused(executor, segment):
    """Not the trial's fault: the next one would fail as well."""
    segment.folder.parent.mkdir(exist_ok=True)
    segment.folder.write_text("a file where the folder should be")
    executor.submit(free_slot(executor), segment)
    event = ending(executor)
    assert isinstance(event, Refused)
    assert "File exists" in event.reason or "Not a directory" in event.reason


def test_a_full_disk_is_refused(executor, segment):
    """A file may not grow beyond 10 kB, as on a disk without room; the weights are larger."""
    pid = pid_of(executor, segment)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (10_000, before[1]))
    executor.submit(free_slot(executor), segment)
    event = ending(executor)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert isinstance(event, Refused), event
    assert "File too large" in event.reason
    assert list(segment.folder.iterdir()) == [], "nothing half written is left"


def test_a_segment_that_raises_is_lost_for_good_and_the_slot_stays_usable(executor, segment):
    executor.submit(free_slot(executor), replace(segment, seed=-1))
    event = ending(executor)
    assert isinstance(event, Lost | Refused)
    assert not (isinstance(event, Lost) and event.retry)
    executor.submit(free_slot(executor), replace(segment, end=2, evaluate_at=(2,)))
    assert len(losses(ending(executor))) == 1


def test_a_busy_slot_takes_no_second_segment(executor, segment):
    executor.submit(free_slot(executor), segment)
    with pytest.raises(ValueError, match="is busy"):
        executor.submit(executor.slots[0], segment)
    ending(executor)


def require_lost(event: Event, slot: str) -> None:
    assert isinstance(event, Lost), event
    assert (event.slot, event.retry, event.checkpoint_gone) == (slot, True, False)
    assert " died" in event.reason
    assert "\n" not in event.reason


def test_a_killed_worker_is_lost_once_and_replaced(executor, segment):
    slot = free_slot(executor)
    executor.submit(slot, replace(segment, end=LONG))
    assert advanced(executor).progress.step > 0
    killed = pid_of(executor, segment)
    os.kill(killed, signal.SIGKILL)
    require_lost(ending(executor), slot)
    executor.submit(free_slot(executor), segment)
    assert len(losses(ending(executor))) == 2
    assert pid_of(executor, segment) != killed


def test_an_idle_worker_that_dies_is_replaced_in_silence(executor, segment):
    """The next segment, submitted before the death was noticed, is lost with it or runs in the new one."""
    slot = free_slot(executor)
    os.kill(pid_of(executor, segment), signal.SIGKILL)
    executor.submit(slot, segment)
    event = ending(executor)
    if isinstance(event, Finished):
        assert len(losses(event)) == 2
    else:
        require_lost(event, slot)


def test_a_worker_that_makes_no_progress_is_killed_and_replaced(request, executor, segment, setting, place):
    """Stopped (SIGSTOP), as on a machine that hangs: only SIGKILL still reaches it."""
    impatient = EXECUTORS[request.node.callspec.params["executor"]](setting, place, 15.0)
    impatient.start()
    try:
        stopped = psutil.Process(pid_of(impatient, segment))
        impatient.submit(free_slot(impatient), replace(segment, end=LONG))
        advanced(impatient)
        stopped.suspend()
        event = ending(impatient)
        assert isinstance(event, Lost)
        assert event.retry
        assert event.reason.endswith("gave no sign of life for 15 s")
        stopped.wait(timeout=60)
        impatient.submit(free_slot(impatient), replace(segment, folder=segment.folder.with_name("again")))
        assert len(losses(ending(impatient))) == 2
    finally:
        impatient.close()


def test_asked_to_stop_a_segment_ends_early_with_a_checkpoint(executor, segment, setting, place):
    """Last of the shared executor: who was asked to stop trains no more."""
    slot = free_slot(executor)
    executor.submit(slot, replace(segment, end=LONG))
    advanced(executor)
    executor.ask_to_stop()
    event = ending(executor)
    assert isinstance(event, Finished)
    assert 0 < event.result.end < LONG
    assert event.result.checkpoint == segment.checkpoint(event.result.end)
    corpus = load_corpus(place / "text", place / "cache")
    rest = replace(segment, start=event.result.end, end=event.result.end + 2, evaluate_at=())
    assert train_segment(rest, setting, corpus, torch.device("cpu")).failure is None
