"""What is sent to a cluster's head as a job: a command in its shell's words, and the files that go along."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from einsearch.errors import EinsearchError
from einsearch.job_files import ARCHIVE, Parcel, Sent

Option = tuple[str, str | None]
"""An option of `einsearch run` as it is written, and its value; None for one without."""

_RUNS = '"$HOME"/einsearch-runs'
"""On the head, in its shell's words."""

_ALONE = "unset RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Else every node would load what was sent, and run its workers in that folder, which Ray removes when it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job: the head's command and files."""

    entrypoint: str
    parcel: Parcel

    @classmethod
    def of(cls, options: Sequence[Option], *, study_file: Path | None = None, command: str = "run") -> Order:
        """Of `einsearch COMMAND` with these options.

        The study file and local files that are named as --space or --data go along. Trials train on the cluster, and
        the study's files lie in ~/einsearch-runs of the head, where nothing else is said. Raises EinsearchError for a
        password, which the job server would show to everybody, paths that mean nothing on the head, and data too
        large to send.
        """
        refuse(options)
        parcel = Parcel()
        sent = [(name, parcel.put(name, value) if value is not None else None) for name, value in options]
        file = parcel.put_study(study_file) if study_file is not None else None
        return cls(entrypoint=entrypoint(sent, command=command, study_file=file, parcel=parcel.digest), parcel=parcel)


def entrypoint(
    options: Sequence[tuple[str, str | Sent | None]],
    *,
    command: str = "run",
    study_file: Sent | None = None,
    parcel: str | None = None,
) -> str:
    """The shell command of a job. parcel: the digest of the files that go along.

    They are unpacked into the runs folder, at a place that their content decides: the same study submitted again has
    the same paths, also on a head that was started anew.

    >>> entrypoint([("--budget", "1e14")])
    'exec einsearch run --backend=ray --address=auto --runs="$HOME"/einsearch-runs --budget=1e14'
    """
    given = dict(options)
    runs = shlex.quote(str(given["--runs"])) if "--runs" in given else _RUNS
    place = f"{runs}/.sent/{parcel}"

    def in_shell(value: str | Sent) -> str:
        return shlex.quote(value) if isinstance(value, str) else f"{place}/{shlex.quote(value.path)}"

    words = ["exec", "einsearch", command]
    if "--backend" not in given:
        words.append("--backend=ray")
    if given.get("--backend") != "local":
        words.append("--address=auto")
    if "--runs" not in given:
        words.append(f"--runs={runs}")
    words += [name if value is None else f"{name}={in_shell(value)}" for name, value in options]
    if study_file is not None:
        words.append(in_shell(study_file))
    unpack = f"mkdir -p {place} && tar -xf {ARCHIVE} -C {place} && cd {place} && {_ALONE} && " if parcel else ""
    return unpack + " ".join(words)


def refuse(options: Sequence[Option]) -> None:
    """EinsearchError for values that must not or cannot be sent; the message shows no password."""
    for name, value in options:
        if value is None:
            continue
        if "://" in value and _has_password(value):
            raise EinsearchError(
                f"the job server shows the arguments of a job to everybody: leave the password out of {name} and set "
                "EINSEARCH_STORE or ~/.pgpass on the head node"
            )
        path = value.removeprefix("sqlite:///")
        here = name in ("--runs", "--storage") or (name == "--store" and path != value)
        if here and "://" not in path and not path.startswith("/"):
            raise EinsearchError(f"{name} {value} is a path on the head node, where the job runs; give an absolute one")


def _has_password(url: str) -> bool:
    """Whether it may: a URL that cannot be read is taken for one with a password where it looks so."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "@" in url
    return parsed.password is not None or any("pass" in name.lower() for name in parsed.query)
