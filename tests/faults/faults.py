"""What goes wrong: each does it to a running study, and leaves the study ended."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable

import psutil

from tests.faults.lab import CORES, SILENCE, Lab, kill_group

Fault = Callable[[Lab], None]


def worker_killed(lab: Lab) -> None:
    """kill -9 in the middle of a segment."""
    process = lab.start()
    lab.wait_for(3, process)
    with lab.held(process) as worker:
        worker.kill()
    lab.end_of(process)
    assert any(" died" in reason for reason in lab.losses()), lab.story()


def worker_paused(lab: Lab) -> None:
    """SIGSTOP for longer than a worker may be silent: only kill -9 ends it."""
    process = lab.start()
    lab.wait_for(3, process)
    with lab.held(process) as worker:
        worker.wait(timeout=SILENCE + 60)
    lab.end_of(process)
    assert any(reason.endswith(f"gave no sign of life for {SILENCE} s") for reason in lab.losses()), lab.story()


def driver_killed_ten_times(lab: Lab) -> None:
    """kill -9 at random moments, then the same command again."""
    moments = random.Random(5)
    for done in range(10):
        process = lab.start()
        lab.wait_for(done, process)
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    lab.finish()


def two_drivers(lab: Lab) -> None:
    """The second one is refused, and the first does not notice."""
    process = lab.start()
    lab.wait_for_work(process)
    process.send_signal(signal.SIGSTOP)  # or it might end before the second one has begun
    lab.end_of(lab.start(), expected=2)
    process.send_signal(signal.SIGCONT)
    assert "is being run by" in lab.output[-1]
    lab.end_of(process)


def disk_full(lab: Lab) -> None:
    """No file of a worker may grow beyond 10 kB: checkpoints cannot be written."""
    process = lab.start()
    lab.wait_for(2, process)
    for worker in lab.workers(process):
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    lab.end_of(process, expected=2)
    assert "File too large" in lab.output[-1]
    lab.finish()


def checkpoints_truncated(lab: Lab) -> None:
    """Half of every checkpoint is gone when the study goes on."""
    process = lab.start()
    lab.wait_for(5, process)
    process.send_signal(signal.SIGINT)
    lab.end_of(process, expected=130)
    checkpoints = list(lab.folder.glob("runs/disturbed/checkpoints/*/*/tensors.safetensors"))
    assert checkpoints
    for checkpoint in checkpoints:
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: len(content) // 2])
    lab.finish()
    assert any("cannot be read" in reason for reason in lab.losses()), lab.story()


def machine_lost(lab: Lab) -> None:
    """kill -9 of the driver and of everything that it started on its machine."""
    process = lab.start()
    lab.wait_for(3, process)
    kill_group(process)
    process.communicate()
    lab.finish()


def node_killed(lab: Lab) -> None:
    """kill -9 of everything on a node that trains; the study goes on with the other one."""
    process = lab.start()
    lab.wait_for(3, process)
    with lab.held(process) as worker:
        raylet = psutil.Process(worker.ppid())
        (node,) = (n for n in lab.cluster.worker_nodes if n.all_processes["raylet"][0].process.pid == raylet.pid)
        try:
            for victim in (raylet, *raylet.children(recursive=True)):
                victim.kill()
            lab.cluster.remove_node(node, allow_graceful=False)
            lab.end_of(process)
        finally:
            lab.cluster.add_node(num_cpus=CORES)
    assert any(" died" in reason for reason in lab.losses()), lab.story()


def database_restarted(lab: Lab) -> None:
    """The server is stopped at once, as by kill -9, and comes back some seconds later."""
    assert lab.server is not None
    process = lab.start()
    lab.wait_for(3, process)
    lab.server.stop("immediate")
    try:
        time.sleep(5)
    finally:
        lab.server.begin()
    lab.end_of(process)
    assert "answers again after" in lab.output[-1], lab.story()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        worker_killed,
        worker_paused,
        node_killed,
        driver_killed_ten_times,
        machine_lost,
        two_drivers,
        database_restarted,
        disk_full,
        checkpoints_truncated,
    )
}
