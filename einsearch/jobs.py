"""Studies as Ray jobs: sent to a cluster's head, followed, stopped. The driver runs on the head."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from einsearch.errors import EinsearchError
from einsearch.search.config import read_study_file
from einsearch.search.ray_cluster import INSTALL, require_ray

ADDRESS = "http://127.0.0.1:8265"
"""Of the job server of a head on this machine."""

STOP_SECONDS = 120
"""That a stopped study has to write its checkpoints before it is killed; Ray gives 3."""

UPLOAD_BYTES = 90 << 20
"""Ray takes 100 MiB of files with a job."""


class Jobs:
    """The job server of a Ray cluster.

    Raises EinsearchError where nothing answers at the address, or Ray's job client is missing.
    """

    def __init__(self, address: str = ADDRESS) -> None:
        require_ray()
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise EinsearchError(f"jobs need the whole of Ray ({error}): {INSTALL}") from None
        if not address.startswith(("http://", "https://")):
            raise EinsearchError(f"{address!r} is no address of a job server; give http://HOST:8265")
        self.address = address
        self._client: Any = self._call(lambda: JobSubmissionClient(address))

    def _call(self, ask: Callable[[], Any]) -> Any:
        """What the server answers; EinsearchError in one line for trouble."""
        try:
            return ask()
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            line = " ".join(str(error).split())[:300]
            raise EinsearchError(f"the job server at {self.address} cannot be used: {line}") from None

    def submit(self, arguments: Sequence[str], *, command: str = "run") -> str:
        """Start `einsearch COMMAND ARGUMENTS` on the head and return the job's name.

        YAML files and small data among the arguments go along. Trials train on the cluster, and the study's files
        lie in ~/einsearch-runs of the head, where nothing else is said. Raises EinsearchError for a store URL with
        a password, which the job server would show to everybody, and for data too large to send.
        """
        refuse_passwords(arguments)
        job = f"einsearch-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory(prefix="einsearch-") as folder:
            sent = list(_sent(arguments, Path(folder)))
            environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}}
            if any(Path(folder).iterdir()):
                environment["working_dir"] = folder
            entry = entrypoint(sent, command)
            self._call(lambda: self._client.submit_job(entrypoint=entry, submission_id=job, runtime_env=environment))
        return job

    def follow(self, job: str, write: Callable[[str], object]) -> int:
        """Pass the job's output on until it ends, and return its exit code; 130 for one that was stopped.

        An interrupt (Ctrl-C) ends the following only.
        """
        self._require(job)

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        self._call(lambda: asyncio.run(tail()))
        return self.outcome(job)

    def outcome(self, job: str) -> int:
        """The exit code of a job that ended."""
        info = self._require(job)
        if info.status == "STOPPED":
            return 130
        if info.status == "SUCCEEDED":
            return 0
        return int(info.driver_exit_code or 1)

    def stop(self, job: str) -> bool:
        """Ask a job to stop in order; returns whether it was running."""
        self._require(job)
        return bool(self._call(lambda: self._client.stop_job(job)))

    def status(self, job: str) -> str:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return str(self._require(job).status)

    def _require(self, job: str) -> Any:
        try:
            return self._client.get_job_info(job)
        except RuntimeError as error:
            names = [each.submission_id for each in self._call(self._client.list_jobs) if each.submission_id]
            there = f"it has {', '.join(names[-5:])}" if names else "it has none"
            if "does not exist" in str(error):
                raise EinsearchError(f"there is no job {job} at {self.address}; {there}") from None
            raise EinsearchError(f"the job server at {self.address} cannot be used: {error}") from None


def entrypoint(arguments: Sequence[str], command: str = "run") -> str:
    """The shell command of a job.

    >>> entrypoint(["--budget", "1e14"])
    'einsearch run --backend ray --address auto --runs "$HOME"/einsearch-runs --budget 1e14'
    """
    words = [f"einsearch {command}"]
    if not any(_is(argument, "--backend") for argument in arguments):
        words.append("--backend ray --address auto")
    if not any(_is(argument, "--runs") for argument in arguments):
        words.append('--runs "$HOME"/einsearch-runs')
    return " ".join([*words, *map(shlex.quote, arguments)])


def _is(argument: str, option: str) -> bool:
    return argument == option or argument.startswith(f"{option}=")


def refuse_passwords(arguments: Sequence[str]) -> None:
    """EinsearchError where an argument is a URL with a password; the message does not show it."""
    for argument in arguments:
        text = argument.partition("=")[2] if argument.startswith("--") else argument
        if "://" not in text:
            continue
        try:
            password = make_url(text).password
        except (ArgumentError, ValueError):
            continue
        if password is not None:
            raise EinsearchError(
                "the job server shows the arguments of a job to everybody: leave the password out of --store and set "
                "EINSEARCH_STORE or ~/.pgpass on the head node"
            )


def _sent(arguments: Sequence[str], folder: Path) -> Iterator[str]:
    """The arguments as the head has them: local files that they name are copied into the folder, which goes along.

    Raises EinsearchError for a study file that cannot be read, and data too large to send.
    """
    option = ""
    for argument in arguments:
        name, separator, text = argument.partition("=") if argument.startswith("--") else (option, "", argument)
        path = Path(text).expanduser()
        if name in ("--space", "--data") and text and path.exists():
            text = _copied(path, folder)
        elif not argument.startswith("--") and option == "" and path.suffix in (".yaml", ".yml"):
            text = _study_file(path, folder)
        yield f"{name}={text}" if separator else text if not argument.startswith("--") else argument
        option = argument if argument.startswith("--") and not separator else ""


def _study_file(path: Path, folder: Path) -> str:
    """A study file with the files that it names."""
    config = read_study_file(path)
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in (("space", config.space), ("data", config.data)):
        if value is not None and Path(value).exists():
            fields[name] = _copied(Path(value), folder)
    (folder / path.name).write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path.name


def _copied(path: Path, folder: Path) -> str:
    size = sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
    if size > UPLOAD_BYTES:
        raise EinsearchError(
            f"{path} has {size / 1e6:.0f} MB, and {UPLOAD_BYTES / 1e6:.0f} MB go with a job; put it where the head "
            "sees it and give that path"
        )
    copy = folder / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copy(path, copy)
    return path.name
