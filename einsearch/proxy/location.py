"""Where checkpoints lie: a folder that is reached by its path, or a URI that fsspec reads (s3://..., gs://...)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from einsearch.errors import EinsearchError

Location = Path | str
"""A local folder, or a URI."""


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
        raise EinsearchError(f"storage {text} needs a package: {error}") from None
    return text.rstrip("/")


def below(location: Location, *names: str) -> Location:
    """A place inside a location."""
    return location.joinpath(*names) if isinstance(location, Path) else "/".join((location, *names))


def is_there(location: Location) -> bool:
    """Whether a folder lies there, or something at the URI. Raises OSError where that cannot be said."""
    if isinstance(location, Path):
        return location.is_dir()
    system, path = _open(location)
    return bool(system.exists(path))


@contextmanager
def readable(location: Location) -> Iterator[Path]:
    """A folder that holds what lies there: itself, or a copy for as long as it is needed.

    Raises OSError where it cannot be read.
    """
    if isinstance(location, Path):
        yield location
        return
    system, path = _open(location)
    with tempfile.TemporaryDirectory(prefix="einsearch-") as folder:
        for name in system.ls(path, detail=False):
            system.get_file(name, str(Path(folder) / name.rpartition("/")[2]))
        yield Path(folder)


def publish(folder: Path, location: str, *, last: str) -> None:
    """Copy the files of a folder to a URI, `last` at the end: what has it is whole. Raises OSError where it cannot."""
    system, path = _open(location)
    system.makedirs(path, exist_ok=True)
    for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
        system.put_file(str(file), f"{path}/{file.name}")


def remove(location: Location) -> None:
    """Delete a location with all it holds; what is gone already is no error."""
    if isinstance(location, Path):
        shutil.rmtree(location, ignore_errors=True)
        return
    system, path = _open(location)
    try:
        system.rm(path, recursive=True)
    except FileNotFoundError:
        return


def _open(location: str) -> tuple[Any, str]:
    system, path = url_to_fs(location)
    return system, path
