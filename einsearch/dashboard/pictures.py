"""The images of trials: drawn when a page first asks for one, then kept as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO
from uuid import NAMESPACE_OID, uuid5

from optuna.artifacts.exceptions import ArtifactNotFound

from einsearch.files import replace_file

_DRAWING = Lock()
"""Matplotlib's settings belong to the whole process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An SVG. id: of its content, so that a browser asks again when that changes.

    draws: makes the bytes. stale: a pattern of files beside `path` that this one takes the place of.
    """

    id: str
    name: str
    path: Path
    draws: Callable[[], bytes]
    stale: str | None = None


def content_id(*content: object) -> str:
    """An artifact's id: the same for the same content."""
    return str(uuid5(NAMESPACE_OID, repr(content)))


class Pictures:
    """Optuna's artifact store over pictures that `find` knows by their id; it can only be read."""

    def __init__(self, find: Callable[[str], Picture | None]) -> None:
        self._find = find

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file of a picture, drawn now if it is not there yet.

        Raises ArtifactNotFound for an id that is none, EinsearchError where the file cannot be written.
        """
        picture = self._find(artifact_id)
        if picture is None:
            raise ArtifactNotFound(f"no picture {artifact_id}")
        with _DRAWING:
            if not picture.path.exists():
                replace_file(picture.path, picture.draws(), "picture")
                for other in picture.path.parent.glob(picture.stale) if picture.stale else ():
                    if other != picture.path:
                        other.unlink(missing_ok=True)
            return picture.path.open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        raise TypeError("the pictures of the dashboard can only be read")

    def remove(self, artifact_id: str) -> None:
        raise TypeError("the pictures of the dashboard can only be read")
