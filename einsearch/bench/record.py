"""Results as JSON: everything that was measured, and on what."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einsearch.bench.machine import Machine
from einsearch.bench.place import Place
from einsearch.bench.roofline import Roofline
from einsearch.errors import EinsearchError
from einsearch.files import replace_file

if TYPE_CHECKING:
    from einsearch.bench.mixture_rows import MixtureRow
    from einsearch.bench.rows import Row
    from einsearch.bench.step_rows import StepRow


def record(
    rows: Iterable[Row | StepRow | MixtureRow],
    *,
    machine: Machine,
    place: Place,
    command: str,
    roofline: Roofline | None,
) -> dict[str, Any]:
    """One document. Times are in the units that the fields' names say; `seconds` are those of every round."""
    return {
        "command": command,
        "machine": asdict(machine),
        "device": str(place.device),
        "dtype": place.dtype_name,
        "threads": place.threads,
        "keep_memory": place.keep_memory,
        "roofline": None if roofline is None else asdict(roofline),
        "rows": [asdict(row) for row in rows],
    }


def check_file(path: Path, what: str) -> None:
    """Raise EinsearchError where no file can be written at a path, before anything is measured."""
    if path.is_dir():
        raise EinsearchError(f"cannot write the {what} to {path}: it is a folder; give a file")
    if not path.parent.is_dir():
        raise EinsearchError(f"cannot write the {what} to {path}: there is no folder {path.parent}; make it first")


def write_record(path: Path, document: dict[str, Any]) -> Path:
    """Write the document and return its path; a file already there is replaced whole or not at all."""
    return replace_file(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n", "results", make_folder=False)
