"""Where checkpoints lie: a folder that is reached by its path, or a URI that fsspec reads (s3://..., gs://...)."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from einsearch.errors import EinsearchError

Location = Path | str
"""A local folder, or a URI."""


_OBJECTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Protocols of stores that have no folders."""


class StorageTrouble(OSError):
    """A storage does not answer or refuses: what lies there may well be whole."""


def parse_location(text: str) -> Location:
    """A path (absolute, file:// URIs too) or a URI whose file system can be had.

    Raises EinsearchError for a protocol that fsspec does not know, or whose package is missing.
    """
    protocol, separator, rest = text.partition("://")
    if not separator:
        return Path(text).expanduser().absolute()
    if protocol == "file":
        return Path(rest).absolute()
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError:
        raise EinsearchError(f"storage {text} has the unknown protocol {protocol}; give a folder or s3://...") from None
    except ImportError as error:
        raise EinsearchError(f"storage {text} needs a package ({error}): {_install(protocol)}") from None
    return text.rstrip("/")


def _install(protocol: str) -> str:
    return "pip install 'einsearch[s3]'" if protocol in ("s3", "s3a") else "install what fsspec asks for"


def require_writable(location: Location) -> None:
    """Write a small file to a URI and delete it. Raises EinsearchError where that is not possible."""
    if isinstance(location, Path):
        return
    name = f"{location}/.writable-{uuid.uuid4().hex[:8]}"
    try:
        with _trouble(location):
            system, path = _open(name)
            _make_folder(system, path.rpartition("/")[0])
            system.pipe_file(path, b"")
            system.rm_file(path)
    except OSError as error:
        raise EinsearchError(
            f"nothing can be written to the storage {location} ({_said(error)}); check that it exists and the "
            "credentials, or give another --storage"
        ) from None


def below(location: Location, *names: str) -> Location:
    """A place inside a location."""
    return location.joinpath(*names) if isinstance(location, Path) else "/".join((location, *names))


def is_there(location: Location) -> bool:
    """Whether a folder lies there, or something at the URI. Raises StorageTrouble where that cannot be said."""
    if isinstance(location, Path):
        return location.is_dir()
    with _trouble(location):
        system, path = _open(location)
        return bool(system.exists(path))


@contextmanager
def readable(location: Location) -> Iterator[Path]:
    """A folder that holds what lies there: itself, or a copy for as long as it is needed.

    Raises OSError where it cannot be read: FileNotFoundError where nothing is there, StorageTrouble where a URI's
    storage fails.
    """
    if isinstance(location, Path):
        yield location
        return
    with tempfile.TemporaryDirectory(prefix="einsearch-") as folder:
        with _trouble(location):
            system, path = _open(location)
            for name in system.ls(path, detail=False):
                system.get_file(name, str(Path(folder) / name.rpartition("/")[2]))
        yield Path(folder)


def publish(folder: Path, location: str, *, last: str) -> None:
    """Copy the files of a folder to a URI, `last` at the end: what has it is whole. Raises OSError where it cannot."""
    with _trouble(location):
        system, path = _open(location)
        _make_folder(system, path)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
            system.put_file(str(file), f"{path}/{file.name}")


def remove(location: Location) -> None:
    """Delete a location with all it holds, if that can be done: what stays takes room and is never read."""
    if isinstance(location, Path):
        shutil.rmtree(location, ignore_errors=True)
        return
    try:
        with _trouble(location):
            system, path = _open(location)
            system.rm(path, recursive=True)
    except OSError:
        return


@contextmanager
def _trouble(location: str) -> Iterator[None]:
    """Whatever a file system raises, as an OSError that names the location in one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise StorageTrouble(f"storage {location} fails: {_said(error)}") from error


def _make_folder(system: Any, path: str) -> None:
    """In a store of objects that would make a bucket, of a misspelt name too."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    if not protocols & _OBJECTS:
        system.makedirs(path, exist_ok=True)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _open(location: str) -> tuple[Any, str]:
    system, path = url_to_fs(location)
    system.invalidate_cache()  # other machines write there too
    return system, path
