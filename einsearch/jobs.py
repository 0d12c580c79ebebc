"""Studies as Ray jobs: sent to a cluster's head, followed, stopped. The driver runs on the head."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.job_order import Order
from einsearch.search.ray_cluster import INSTALL, one_line, require_ray

ADDRESS = "http://127.0.0.1:8265"
"""Of the job server of a head on this machine."""

STOP_SECONDS = 120
"""That a stopped study has to write its checkpoints before it is killed; Ray gives 3."""

STOPPED = 130
"""Exit code of a study that was stopped, as after Ctrl-C."""

_PATIENCE = 10.0
"""Seconds in which a job server has to answer."""

_NO_COMMAND = 127
"""Exit code of a shell that does not find a command."""


class Jobs:
    """The job server of a Ray cluster.

    Raises EinsearchError where nothing answers at the address, or Ray's job client is missing.
    """

    def __init__(self, address: str = ADDRESS) -> None:
        require_ray()
        try:
            import aiohttp  # noqa: F401
            import requests  # noqa: F401
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise EinsearchError(f"jobs need the whole of Ray ({error}): {INSTALL}") from None
        if not re.fullmatch(r"https?://[^\s/:@]+(:\d{1,5})?/?", address):
            raise EinsearchError(f"{address!r} is no address of a job server; give http://HOST:8265")
        self.address = address.rstrip("/")
        self._require_answer()
        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # it tells of every request and file
        self._client: Any = self._call(lambda: JobSubmissionClient(self.address))

    def _require_answer(self) -> None:
        """Ray's client itself waits without end for a server that takes a connection and is silent."""
        try:
            urllib.request.urlopen(f"{self.address}/api/version", timeout=_PATIENCE).close()
        except urllib.error.HTTPError:
            return  # an answer: Ray's client says what it means
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise EinsearchError(
                f"no job server answers at {self.address} ({one_line(reason)}); start a head with `ray start --head`, "
                "or check the address"
            ) from None

    def _call(self, ask: Callable[[], Any]) -> Any:
        """What the server answers; EinsearchError in one line for trouble."""
        import aiohttp
        from ray.exceptions import RayError

        # What is no job server answers with anything: text instead of JSON, other fields, another type.
        trouble = (RayError, aiohttp.ClientError, RuntimeError, ValueError, OSError, KeyError, TypeError)
        try:
            return ask()
        except trouble as error:
            said = one_line(error) if not isinstance(error, KeyError | TypeError) else "it is none of Ray's"
            raise EinsearchError(f"the job server at {self.address} cannot be used: {said}") from None

    def submit(self, order: Order) -> str:
        """Start what was ordered on the head and return the job's name."""
        job = f"einsearch-{uuid.uuid4().hex[:8]}"
        environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}}
        with tempfile.TemporaryDirectory(prefix="einsearch-") as folder:
            if order.parcel:
                order.parcel.write(Path(folder))
                environment["working_dir"] = folder
            self._call(
                lambda: self._client.submit_job(entrypoint=order.entrypoint, submission_id=job, runtime_env=environment)
            )
        return job

    def follow(self, job: str, write: Callable[[str], object]) -> int:
        """Pass the job's output on until it ends, and return its exit code; 130 for one that was stopped.

        An interrupt (Ctrl-C) ends the following only. Raises EinsearchError for a job that could not be started, and
        where the connection is lost.
        """
        self._require(job)

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        self._call(lambda: asyncio.run(tail()))
        return self.outcome(job)

    def outcome(self, job: str) -> int:
        """The exit code of a job, when it has ended. Raises EinsearchError for one that could not be started."""
        while (info := self._require(job)).status in ("PENDING", "RUNNING"):
            time.sleep(0.2)
        if info.status == "STOPPED":
            return STOPPED
        if info.status == "SUCCEEDED":
            return 0
        if info.driver_exit_code == _NO_COMMAND:
            raise EinsearchError(
                f"the head at {self.address} found no `einsearch`: install it there, and start Ray with it on the PATH"
            )
        if info.driver_exit_code is None:
            raise EinsearchError(
                f"job {job} failed at {self.address}: {one_line(info.message or 'no reason was given')}"
            )
        return int(info.driver_exit_code)

    def stop(self, job: str) -> bool:
        """Ask a job to stop in order; returns whether it was running."""
        self._require(job)
        return bool(self._call(lambda: self._client.stop_job(job)))

    def status(self, job: str) -> str:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return str(self._require(job).status.value)

    def _require(self, job: str) -> Any:
        if not re.fullmatch(r"[\w.-]+", job):
            raise EinsearchError(f"{job!r} is no name of a job; give one as `einsearch submit` printed it")

        def ask() -> Any:
            try:
                return self._client.get_job_info(job)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
            return None

        info = self._call(ask)
        if info is None:
            names = [each.submission_id for each in self._call(self._client.list_jobs) if each.submission_id]
            there = f"it has {', '.join(names[-5:])}" if names else "it has none"
            raise EinsearchError(f"there is no job {job} at {self.address}; {there}")
        return info
