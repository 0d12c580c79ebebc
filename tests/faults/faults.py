"""What goes wrong: each does it to a running study, and leaves the study ended."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable

from tests.faults.lab import Lab, wait_until

Fault = Callable[[Lab], None]


def worker_killed(lab: Lab) -> None:
    """kill -9 in the middle of a segment."""
    process = lab.start()
    lab.wait_for(3, process)
    lab.workers(process)[0].kill()
    assert lab.end_of(process) == 0


def worker_paused(lab: Lab) -> None:
    """SIGSTOP for longer than a worker may be silent; it wakes again when nobody waits for it any more."""
    process = lab.start()
    lab.wait_for(3, process)
    paused = lab.workers(process)[0]
    paused.suspend()
    assert lab.end_of(process) == 0
    if paused.is_running():
        paused.resume()


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
    wait_until(lambda: bool(lab.look().get("reserved")), 240)
    process.send_signal(signal.SIGSTOP)  # or it might end before the second one has begun
    second = lab.start()
    code = lab.end_of(second)
    process.send_signal(signal.SIGCONT)
    assert code == 2, lab.output[-1][-2000:]
    assert "is being run by" in lab.output[-1]
    assert lab.end_of(process) == 0


def disk_full(lab: Lab) -> None:
    """No file of a worker may grow beyond 10 kB: checkpoints cannot be written."""
    process = lab.start()
    lab.wait_for(2, process)
    for worker in lab.workers(process):
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    assert lab.end_of(process) == 2
    assert "File too large" in lab.output[-1]
    lab.finish()


def checkpoints_truncated(lab: Lab) -> None:
    """Half of every checkpoint is gone when the study goes on."""
    process = lab.start()
    lab.wait_for(5, process)
    process.send_signal(signal.SIGINT)
    assert lab.end_of(process) == 130
    checkpoints = list(lab.folder.glob("runs/disturbed/checkpoints/*/*/tensors.safetensors"))
    assert checkpoints
    for checkpoint in checkpoints:
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: len(content) // 2])
    lab.finish()


def machine_lost(lab: Lab) -> None:
    """kill -9 of the driver and of everything that it started on its machine."""
    process = lab.start()
    lab.wait_for(3, process)
    subprocess.run(["kill", "-9", f"-{process.pid}"], check=True)
    process.communicate()
    lab.finish()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        worker_killed,
        worker_paused,
        driver_killed_ten_times,
        two_drivers,
        disk_full,
        checkpoints_truncated,
        machine_lost,
    )
}
"""Those that can happen anywhere."""
