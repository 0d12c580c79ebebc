"""What is special to worker processes of this machine."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import torch

from einsearch.errors import EinsearchError
from einsearch.search.executor import Advanced, Finished, Refused
from einsearch.search.local import LocalExecutor

LONG = 10**6
"""Steps that no test waits for."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ignores_what_stops_its_driver_from_its_first_moment(segment, setting, place, number):
    executor = LocalExecutor(["cpu"], setting, place / "text", place / "cache")
    executor.start()
    try:
        (slot,) = executor.slots
        os.kill(executor.pid(slot), number)
        executor.submit(slot, replace(segment, end=2, evaluate_at=(2,)))
        os.kill(executor.pid(slot), number)
        events = []
        while not [event for event in events if not isinstance(event, Advanced)]:
            events = executor.poll(1.0)
        assert isinstance(events[-1], Finished)
    finally:
        executor.close()


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


def test_a_worker_that_still_comes_up_is_not_silent(segment, setting, place):
    """A busy machine takes long to import torch: that is no reason to kill and to begin again."""
    executor = LocalExecutor(["cpu"], setting, place / "text", place / "cache", silence=0.5)
    executor.start()
    try:
        (slot,) = executor.slots
        coming = executor.pid(slot)
        os.kill(coming, signal.SIGSTOP)
        executor.submit(slot, segment)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert executor.poll(0.2) == []
        assert executor.pid(slot) == coming
    finally:
        executor.close()


def test_workers_that_never_come_up_end_in_one_line(setting, place, capfd):
    executor = LocalExecutor(["nonsense"], setting, place / "text", place / "cache")
    executor.start()

    def wait() -> None:
        for _ in range(200):
            assert executor.poll(1.0) == []

    try:
        with pytest.raises(EinsearchError) as raised:
            wait()
    finally:
        executor.close()
    assert str(raised.value) == (
        "no worker comes up: its process ended with exit code 1 (3 times in a row); its error stands above; mend that, "
        "then the same command goes on"
    )
    assert "nonsense" in capfd.readouterr().err


def test_a_gpu_that_cannot_be_opened_stops_the_study(segment, setting, place):
    if torch.cuda.is_available():
        pytest.skip("CUDA works here")
    executor = LocalExecutor(["cuda:0"], setting, place / "text", place / "cache")
    executor.start()
    try:
        executor.submit(executor.slots[0], segment)
        events = []
        while not events:
            events = executor.poll(1.0)
    finally:
        executor.close()
    (refused,) = events
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("device cuda:0 cannot be used: ")


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
