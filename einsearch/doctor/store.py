"""A store: whether it answers, how fast, and whether its tables are those of this einsearch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from einsearch.doctor.finding import Finding, ok, warning, wrong
from einsearch.doctor.study import study_findings
from einsearch.errors import EinsearchError
from einsearch.store import Store
from einsearch.store.check import schema_faults
from einsearch.store.migrate import revisions

_SLOW = 0.02
"""Seconds a call: a segment takes some of them."""

_NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "lustre", "gpfs", "beegfs")
"""File systems on which SQLite's locks are not to be trusted."""


def store_findings(url: str, study: str | None) -> Iterator[Finding]:
    """Of a store and its studies, or the one of that name; the first that is wrong may end it."""
    file = _file(url)
    if file is not None and not file.exists():
        yield ok("store", f"none yet at {file}; `einsearch run` makes it")
        return
    try:
        with Store.as_it_is(url) as store:
            faults = schema_faults(store)
            for fault in faults:
                yield wrong("store", f"{store.url}: {fault}", "do that, or restore a copy")
            if faults:
                return
            yield _answers(store)
            if file is not None and _on_network(file):
                yield warning(
                    "store",
                    f"{file} is SQLite on a network file system, whose locks may fail",
                    "keep it on a local disk, or move it: `einsearch db copy FROM postgresql+psycopg://...`",
                )
            studies = store.studies()
            if study is not None:
                studies = [store.study(study)]
            if not studies:
                yield ok("studies", "none yet")
            for row in studies:
                yield from study_findings(store, row)
    except EinsearchError as error:
        yield wrong("store", str(error), "nothing can be run or read before this is mended")


def _answers(store: Store) -> Finding:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        store.studies()
        took.append(time.perf_counter() - began)
    text = f"{store.url}: schema {revisions(store)[0]}, answers in {median(took) * 1000:.1f} ms"
    if median(took) > _SLOW:
        return warning("store", text, "move the database nearer to the driver: each segment takes some calls")
    return ok("store", text)


def _file(url: str) -> Path | None:
    """The file of a store that is SQLite."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None  # opening it says what is wrong
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).absolute()


def _on_network(path: Path) -> bool:
    mounts = [mount for mount in psutil.disk_partitions(all=True) if path.is_relative_to(mount.mountpoint)]
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return nearest is not None and nearest.fstype.startswith(_NETWORK)
