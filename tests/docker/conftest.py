"""The CPU image, built in a folder once for all tests that run it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .image import FOLDER, Build, read_stages


@pytest.fixture(scope="session")
def image() -> Iterator[Build]:
    """The steps of the image's `cpu` target, run for real; about a minute, and 2 GB of disk.

    TORCH_INDEX may name another index for torch than the Dockerfile does.
    """
    _, stages = read_stages((FOLDER / "Dockerfile").read_text())
    arguments = {"TORCH_INDEX": os.environ["TORCH_INDEX"]} if os.environ.get("TORCH_INDEX") else {}
    # Short, as the sockets of Ray and PostgreSQL need.
    with tempfile.TemporaryDirectory(prefix="image") as folder:
        build = Build(stages=stages, folder=Path(folder), arguments=arguments)
        build.target("cpu")
        yield build
