"""Several threads and processes on one store, and processes that are killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import einsearch
from einsearch.store import LeaseLost, Store

ROOT = Path(einsearch.__file__).parents[1]
FIT, TRIALS, COST = 11, 24, 90  # 1000 FLOPs hold eleven segments of 90


def start(code, *arguments):
    """Run Python code in a process of its own; it says what it did on stdout."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_threads_reserving_at_once_never_exceed_the_budget(driver):
    trials = [driver.add() for _ in range(TRIALS)]
    with ThreadPoolExecutor(4) as pool:
        segments = list(pool.map(lambda trial: driver.reserve(trial, flops=COST), trials))
    assert sum(segment is not None for segment in segments) == FIT
    assert driver.books() == (0, 0, FIT * COST)
    driver.check()


# Runs `work(barrier, argument)` in a process for each argument, all past the barrier at once.
AT_ONCE = """
import multiprocessing, sys
from einsearch.store import Store

def main(work, arguments):
    fork = multiprocessing.get_context("fork")  # spares each process the imports
    barrier = fork.Barrier(len(arguments))
    processes = [fork.Process(target=work, args=(barrier, argument)) for argument in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
"""

RESERVE = f"""
{AT_ONCE}
url, epoch, trials = sys.argv[1], int(sys.argv[2]), [int(trial) for trial in sys.argv[3:]]

def work(barrier, share):
    with Store.open(url, create=False) as store:
        barrier.wait()
        for trial in trials[share::3]:
            segment = store.reserve(trial, epoch, start_step=0, end_step=1, flops={COST}, worker="w")
            answer = "refused" if segment is None else "reserved"
            print(answer + "\\n", end="", flush=True)

main(work, range(3))
"""


def test_processes_reserving_at_once_never_exceed_the_budget(driver, store_url):
    trials = [driver.add().id for _ in range(TRIALS)]
    process = start(RESERVE, store_url, driver.epoch, *trials)
    answers = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    assert (answers.count("reserved"), answers.count("refused")) == (FIT, TRIALS - FIT)
    assert driver.books() == (0, 0, FIT * COST)
    driver.check()


OPEN = f"""
{AT_ONCE}
def work(barrier, url):
    barrier.wait()
    with Store.open(url) as store:
        print(f"{{store.studies()}}\\n", end="", flush=True)

main(work, [sys.argv[1]] * 4)
"""


def test_processes_that_open_a_new_store_at_once(store_url):
    process = start(OPEN, store_url)
    assert process.communicate(timeout=60)[0] == "[]\n" * 4
    assert process.returncode == 0


DRIVE = """
import sys
from einsearch.store import Store
import einsearch.store.ledger as ledger

url, where = sys.argv[1:]

def hang(*arguments, **values):
    print("ready", flush=True)
    sys.stdin.readline()

store = Store.open(url)
study = store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1000)
epoch = store.acquire_lease(study.id, owner="host:1:0", alive=lambda owner: None)
trial = store.add_trial(
    study.id, epoch, key="k", seed=0, kind="search", candidate={}, label="", flops_per_step=1, parameters=1,
    facts={},
)
if where == "inside reserve":
    ledger.book = hang  # the segment is inserted, nothing is committed
segment = store.reserve(trial.id, epoch, start_step=0, end_step=10, flops=100, worker="w")
if where == "inside settle":
    ledger.write_points = hang
    store.settle(
        segment.id, epoch, end_step=10, flops=100, seconds=1, tokens=1, points=[], checkpoint="c",
        environment={}, state="complete", rung=0,
    )
hang()
"""


@pytest.mark.parametrize(
    ("where", "lost"), [("inside reserve", 0), ("between reserve and settle", 100), ("inside settle", 100)]
)
def test_a_driver_killed_at_any_point_leaves_right_books(store_url, where, lost):
    process = start(DRIVE, store_url, where)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    with Store.open(store_url) as store:
        study = store.study("s")
        assert (study.spent, study.lost, study.reserved) == (0, 0, lost)
        epoch = store.acquire_lease(study.id, owner="host:2:0", alive=lambda _owner: False)
        study = store.study("s")
        assert (study.spent, study.lost, study.reserved) == (0, lost, 0)
        (trial,) = store.trials(study.id)
        assert (trial.state, trial.step, trial.checkpoint) == ("queued", 0, None)
        assert store.audit(study.id).violations == ()
        with pytest.raises(LeaseLost):
            store.heartbeat(study.id, epoch - 1)
