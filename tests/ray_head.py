"""The head of a Ray cluster as `ray start` makes it: processes of their own, with a job server and a token."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_PATIENCE = 180.0
"""Seconds for a start on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A cluster of one node. client: for those outside. home: of its jobs. environment: what a command needs."""

    address: str
    client: str
    jobs: str
    folder: Path
    home: Path
    environment: dict[str, str]

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Those of the cluster whose command has this in it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                mine = any(str(self.folder) in word for word in words) or _below(process, self.folder)
                if mine and name in " ".join(words):
                    found.append(process)
        return found


def _below(process: psutil.Process, folder: Path) -> bool:
    """Whether a worker's raylet is of this cluster."""
    parent = process.parent()
    return parent is not None and any(str(folder) in word for word in parent.cmdline())


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, below those that the system gives to connections."""
    found: list[int] = []
    while len(found) < count:
        port = 20000 + secrets.randbelow(10000)
        with socket.socket() as trial:
            if port not in found and trial.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


@contextlib.contextmanager
def running_head(cpus: int = 2) -> Iterator[Head]:
    """A head on this machine, with einsearch on the PATH of its jobs."""
    # Short, as the sockets of Ray need.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    home = folder / "home"
    home.mkdir()
    port, dashboard, agent, client = free_ports(4)
    access = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "180",
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    unset = ("EINSEARCH_STORE", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    known = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-gpus=0"]
    command += [f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    command += [f"--temp-dir={folder / 'ray'}", "--object-store-memory=100000000", "--log-style=record"]
    environment = known | access | {"HOME": str(home), "PATH": path, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True, cwd=folder
        )
    jobs = f"http://127.0.0.1:{dashboard}"
    at = {"address": f"127.0.0.1:{port}", "client": f"ray://127.0.0.1:{client}", "jobs": jobs}
    head = Head(**at, folder=folder, home=home, environment=access)
    try:
        _wait(process, jobs, access["RAY_AUTH_TOKEN"], folder / "log")
        yield head
    finally:
        left = head.processes()
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], jobs: str, token: str, log: Path) -> None:
    request = urllib.request.Request(f"{jobs}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError as error:
            ended, late = process.poll() is not None, time.monotonic() > deadline
            if ended or late:
                raise AssertionError(f"no Ray head came up ({error}):\n{log.read_text()[-3000:]}") from error
        time.sleep(0.2)
