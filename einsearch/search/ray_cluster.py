"""The connection to a Ray cluster, and what the cluster has."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from einsearch.errors import EinsearchError

INSTALL = "pip install 'einsearch[ray]'"
_PATIENCE = 5.0
"""Seconds in which a head node has to take a connection, and to answer."""

_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of gRPC begins (RFC 9113, 3.4): a fixed text and a frame of settings, which the server answers."""

_FRAME, _SETTINGS = 9, 4
"""Bytes of a frame's header, and its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one trial occupies on its node: cores, and GPUs or a fraction of one."""

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise EinsearchError(f"{name}-per-trial is {value}; it must be a number of at least 0")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise EinsearchError(f"gpus-per-trial is {self.gpus}; give a fraction of one GPU, or whole ones")
        if self.cpus == 0 and self.gpus == 0:
            raise EinsearchError("a trial needs a part of something; give --cpus-per-trial or --gpus-per-trial")

    def devices(self, kind: str) -> tuple[str, ...]:
        """The torch devices of a trial in a process of its own, which sees only them."""
        return tuple(f"cuda:{n}" for n in range(max(1, int(self.gpus)))) if kind == "cuda" else (kind,)

    @property
    def memory(self) -> float | None:
        """The part of a GPU's memory that a trial may take; None: all of it."""
        return self.gpus if 0 < self.gpus < 1 else None


def one_line(error: object) -> str:
    """What an error says, for people: its beginning, in one line; of another process's traceback the end."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]
    return " ".join(text.split())[:300]


def require_ray() -> None:
    """EinsearchError with the install line where Ray is missing."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise EinsearchError(f"the Ray backend needs Ray ({error}): {INSTALL}") from None


def connect(address: str | None, cores: int) -> bool:
    """Connect this process to a cluster; returns whether it did, or was connected before.

    address: `auto` (the cluster that this machine is part of), HOST:PORT, ray://HOST:PORT, or None: Ray is started
    on this machine, with so many cores. Raises EinsearchError where nothing answers or the versions differ.
    """
    require_answer(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    with _stderr_aside() as said:
        try:
            if address is None:
                with _unheard_by_children(signal.SIGTERM):
                    ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
            else:
                ray.init(address=address, namespace="einsearch", **quiet)
        except Exception as error:  # noqa: BLE001 (Ray raises Exception itself)
            line, why = one_line(error), said()
        else:
            return True
    if "InvalidAuthToken" in why or "Unauthenticated" in why:
        line = (
            "it refuses the token; set RAY_AUTH_MODE and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, as its nodes have them"
        )
    raise EinsearchError(f"cannot use the Ray cluster at {address or 'this machine'}: {line}")


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """EinsearchError for trouble of Ray itself that reaches the driver: the cluster is gone, or refuses."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, ConnectionError) as error:
        raise EinsearchError(
            f"the Ray cluster fails: {one_line(error)}; the same command continues the study"
        ) from error


@contextmanager
def _stderr_aside() -> Iterator[Callable[[], str]]:
    """The C++ part of Ray writes every attempt to stderr by itself: that is kept, and given when asked for."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


@contextmanager
def _unheard_by_children(number: signal.Signals) -> Iterator[None]:
    """Processes that are started meanwhile never hear a signal that goes to the whole process group, as timeout(1)
    and batch systems send it: the driver decides what it means. Of SIGINT Ray itself sees to that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def require_answer(address: str | None) -> None:
    """EinsearchError where Ray is missing, or no cluster is at an address; Ray itself would try for minutes."""
    require_ray()
    if address is None or address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not re.fullmatch(r"[^\s/:]+|\[[\da-fA-F:.]+\]", host) or not port.isdigit():
        raise EinsearchError(f"{address!r} is no address of a Ray cluster; give auto, HOST:PORT or ray://HOST:PORT")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE)) as connection:
            connection.sendall(_HTTP2)
            answer = connection.recv(_FRAME, socket.MSG_WAITALL)
    except (OSError, OverflowError) as error:
        raise EinsearchError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`, or check the address"
        ) from None
    if len(answer) < _FRAME or answer[3] != _SETTINGS:
        raise EinsearchError(f"what answers at {address} is no Ray cluster; give the address that `ray start` printed")


def capacity(needs: Needs) -> int:
    """How many trials the nodes of the cluster hold at once.

    Raises EinsearchError where there is not room for one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = sum(room_on(node, needs) for node in nodes)
    if found:
        return found
    have = ", ".join(f"{sum(n.get(r, 0) for n in nodes):g} {name}" for r, name in (("CPU", "cores"), ("GPU", "GPUs")))
    raise EinsearchError(
        f"no node of the Ray cluster has {needs.cpus:g} cores and {needs.gpus:g} GPUs for a trial ({len(nodes)} nodes: "
        f"{have}); give a smaller --cpus-per-trial or --gpus-per-trial, or add nodes"
    )


def room_on(resources: dict[str, float], needs: Needs) -> int:
    """How many trials a node holds: as many on each GPU as its fractions allow, as many as the cores allow."""
    by_cores = math.floor(resources.get("CPU", 0) / needs.cpus + 1e-9) if needs.cpus else math.inf
    gpus = resources.get("GPU", 0)
    if not needs.gpus:
        by_gpus = math.inf
    elif needs.gpus < 1:
        by_gpus = math.floor(gpus) * math.floor(1 / needs.gpus + 1e-9)
    else:
        by_gpus = math.floor(gpus / needs.gpus)
    return int(min(by_cores, by_gpus))
