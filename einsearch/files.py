"""Files that people open: replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from einsearch.errors import EinsearchError


def replace_file(path: Path, content: str | bytes, what: str, make_folder: bool = True) -> Path:
    """Write a file and return its path; an older one there stays as it is until the new one is complete.

    what: names the content in messages. Raises EinsearchError where the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content.encode() if isinstance(content, str) else content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise EinsearchError(
            f"cannot write the {what} to {path}: {error.strerror or error}; give another path"
        ) from error
    return path
