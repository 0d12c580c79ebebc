"""The file a picture is written to; its suffix says in which format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from einsearch.draw.diagram import Diagram
from einsearch.draw.page import render_page
from einsearch.draw.picture import render
from einsearch.errors import EinsearchError
from einsearch.files import replace_file

FORMATS: dict[str, Callable[[Diagram], bytes]] = {
    ".svg": partial(render, format="svg"),
    ".png": partial(render, format="png"),
    ".html": lambda diagram: render_page(diagram).encode(),
}
"""How a picture is made, by the suffix of its file."""


def check_path(path: Path) -> None:
    """Raise EinsearchError where a picture cannot be written to such a path, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        shown = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise EinsearchError(f"picture {path} {shown}; write one of {', '.join(f'FILE{s}' for s in FORMATS)}")
    if not path.parent.is_dir():
        raise EinsearchError(f"cannot write the picture to {path}: there is no folder {path.parent}; make it first")


def write_picture(diagram: Diagram, path: Path) -> Path:
    """Write a picture and return its path; one already there is replaced whole or not at all.

    Raises EinsearchError where the suffix is unknown, the dimensions are too large for a picture, or the
    file cannot be written.
    """
    check_path(path)
    return replace_file(path, FORMATS[path.suffix.lower()](diagram), "picture", make_folder=False)
