"""What every executor owes a study, over all executors; then what is special to processes on this machine."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from einsearch.proxy.batches import require_length
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.search.executor import Advanced, Event, Executor, Finished, Lost, Refused
from einsearch.search.local import LocalExecutor
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse

EXECUTORS: dict[str, Callable[[Setting, Path, Path], Executor]] = {
    "local": lambda setting, data, cache: LocalExecutor(["cpu"], setting, data, cache),
}
"""Makes an executor of one slot."""

LONG = 10**6
"""Steps that no test waits for."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "text").mkdir()
    for n in range(3):
        (folder / "text" / f"{n}.txt").write_text(f"number {n} of some words " * 100)
    return folder


@pytest.fixture(scope="module")
def setting(place: Path) -> Setting:
    corpus = load_corpus(place / "text", place / "cache")
    protocol = Protocol(context=16, batch=4, validation_sequences=8, warmup_steps=2)
    require_length(corpus, context=protocol.context)
    return setting_for(protocol, corpus, torch.device("cpu"))


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: pytest.FixtureRequest, setting: Setting, place: Path) -> Iterator[Executor]:
    """One for all tests: whatever a test did to its worker, the slot is usable after."""
    made = EXECUTORS[request.param](setting, place / "text", place / "cache")
    made.start()
    yield made
    made.close()


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    candidate = Candidate.of(parse("monarch"), ModelShape(width=16, depth=1, head_size=8))
    return Segment(candidate=candidate, seed=3, start=0, end=6, evaluate_at=(2, 6), folder=tmp_path / "trial")


def ending(executor: Executor, seconds: float = 60.0) -> Event:
    """The one event that ends the segment on the only slot; no second one follows it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := [event for event in executor.poll(0.2) if not isinstance(event, Advanced)]:
            (event,) = found
            assert event.slot == executor.slots[0]
            assert [e for e in executor.poll(0.0) if not isinstance(e, Advanced)] == []
            return event
    raise AssertionError(f"nothing ended within {seconds:.0f} s")


def advanced(executor: Executor, seconds: float = 60.0) -> Advanced:
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
    executor.submit(executor.slots[0], segment)
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
        executor.submit(executor.slots[0], replace(segment, start=start, end=end, evaluate_at=at))
        found += losses(ending(executor))
    assert found == expected(segment, setting, place)


def test_a_missing_checkpoint_loses_the_segment_for_good_and_the_slot_stays_usable(executor, segment):
    executor.submit(executor.slots[0], replace(segment, start=4))
    event = ending(executor)
    assert isinstance(event, Lost)
    assert not event.retry
    assert event.reason.startswith(f"checkpoint {segment.folder}/step-00000004 cannot be read: ")
    executor.submit(executor.slots[0], replace(segment, end=2, evaluate_at=(2,)))
    assert len(losses(ending(executor))) == 1


def test_a_checkpoint_that_cannot_be_written_is_refused(executor, segment):
    """Not the trial's fault: the next one would fail as well."""
    segment.folder.parent.mkdir(exist_ok=True)
    segment.folder.write_text("a file where the folder should be")
    executor.submit(executor.slots[0], segment)
    event = ending(executor)
    assert isinstance(event, Refused)
    assert "File exists" in event.reason or "Not a directory" in event.reason


def test_a_full_disk_is_refused(executor, segment):
    """A file may not grow beyond 10 kB, as on a disk without room; the weights are larger."""
    if not isinstance(executor, LocalExecutor):
        pytest.skip("only a local worker has a pid here")
    pid = executor.pid(executor.slots[0])
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (10_000, before[1]))
    executor.submit(executor.slots[0], segment)
    event = ending(executor)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert isinstance(event, Refused), event
    assert "File too large" in event.reason
    assert list(segment.folder.iterdir()) == [], "nothing half written is left"


def test_a_segment_that_raises_is_lost_for_good_and_the_slot_stays_usable(executor, segment):
    executor.submit(executor.slots[0], replace(segment, seed=-1))
    event = ending(executor)
    assert isinstance(event, Lost | Refused)
    assert not (isinstance(event, Lost) and event.retry)
    executor.submit(executor.slots[0], replace(segment, end=2, evaluate_at=(2,)))
    assert len(losses(ending(executor))) == 1


def test_a_busy_slot_takes_no_second_segment(executor, segment):
    executor.submit(executor.slots[0], segment)
    with pytest.raises(ValueError, match="is busy"):
        executor.submit(executor.slots[0], segment)
    ending(executor)


def test_a_killed_worker_is_lost_once_and_replaced(executor, segment):
    if not isinstance(executor, LocalExecutor):
        pytest.skip("only a local worker has a pid here")
    slot = executor.slots[0]
    executor.submit(slot, replace(segment, end=LONG))
    assert advanced(executor).progress.step > 0
    killed = executor.pid(slot)
    os.kill(killed, signal.SIGKILL)
    assert ending(executor) == Lost(slot, "worker died with exit code -9", retry=True)
    assert executor.pid(slot) != killed
    executor.submit(slot, segment)
    assert len(losses(ending(executor))) == 2


def test_an_idle_worker_that_dies_is_replaced_in_silence(executor, segment):
    if not isinstance(executor, LocalExecutor):
        pytest.skip("only a local worker has a pid here")
    slot = executor.slots[0]
    os.kill(executor.pid(slot), signal.SIGKILL)
    executor.submit(slot, segment)  # before the death was noticed
    event = ending(executor)
    assert event == Lost(slot, "worker died with exit code -9", retry=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ignores_what_stops_its_driver_from_its_first_moment(executor, segment, number):
    if not isinstance(executor, LocalExecutor):
        pytest.skip("only a local worker has a pid here")
    slot = executor.slots[0]  # the test before left its worker starting
    os.kill(executor.pid(slot), number)
    executor.submit(slot, replace(segment, end=2, evaluate_at=(2,)))
    os.kill(executor.pid(slot), number)
    assert len(losses(ending(executor))) == 1


def test_the_first_worker_of_a_process_ignores_them_too(setting, place):
    """Where nothing was spawned yet: multiprocessing starts a process of its own before the first one."""
    code = (
        "import os, pickle, signal, sys; from einsearch.search.local import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    setting, place = pickle.load(sys.stdin.buffer)\n"
        "    executor = LocalExecutor(['cpu'], setting, place / 'text', place / 'cache')\n"
        "    executor.start()\n"
        "    [os.kill(executor.pid('local-0'), number) for number in (signal.SIGINT, signal.SIGTERM)]\n"
        "    executor.poll(3.0)\n"
        "    print(executor._workers['local-0'].process.is_alive())\n"
    )  # and it ends, although nobody closed the executor
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((setting, place)), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"True\n", b"")


def test_asked_to_stop_a_segment_ends_early_with_a_checkpoint(executor, segment, setting, place):
    """Last of the shared executor: who was asked to stop trains no more."""
    slot = executor.slots[0]
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


DRIVER = """
import sys
from pathlib import Path
from multiprocessing import freeze_support

if __name__ == "__main__":
    import pickle
    from einsearch.search.local import LocalExecutor
    setting, segment, place = pickle.loads(Path(sys.argv[1]).read_bytes())
    executor = LocalExecutor(["cpu", "cpu"], setting, place / "text", place / "cache")
    executor.start()
    executor.submit(executor.slots[0], segment)
    told = False
    while True:
        if executor.poll(0.2) and not told:
            told = True
            print(executor.pid(executor.slots[0]), executor.pid(executor.slots[1]), flush=True)
"""


@pytest.mark.slow  # tests/cli kills a whole command
def test_workers_end_when_their_driver_is_killed(segment, setting, place, tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "work").write_bytes(pickle.dumps((setting, replace(segment, end=LONG), place)))
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "work")], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    with driver.stdout:
        workers = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
        assert len(workers) == 2
        driver.kill()
        driver.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
