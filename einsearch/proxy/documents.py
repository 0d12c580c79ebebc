"""Reads a text file, a folder of text files or Python's standard library into documents."""

import os
import platform
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from einsearch.errors import EinsearchError

PIECE_BYTES = 64 * 1024
"""About how long a piece of a cut file is, in bytes."""

LEAST_PIECES = 20
"""No document holds more than this fraction of a source: one in ``LEAST_PIECES``."""

BINARY_PERCENT = 30
"""A file with a larger percentage of bytes outside ASCII text counts as binary."""

_TEXT_BYTES = bytes(range(32, 127)) + b"\t\n\r\f"
_LEFT_OUT_FOLDERS = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


@dataclass(frozen=True)
class Document:
    """One text: its path below the source, with ``#number`` for a piece of a file, and its raw bytes."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Source:
    """The documents of one source in their order, and the number of files ``skipped``: binary or empty."""

    name: str
    documents: tuple[Document, ...]
    skipped: int


def read_documents(source: Path | None) -> Source:
    """Every text document of ``source``; None is the standard library of the running Python.

    A folder is read in the order of its relative paths, without hidden files and linked folders. A
    file that holds more than one byte in ``LEAST_PIECES`` of the whole, so every single file, is cut.

    Raises:
        EinsearchError: the source is missing, unreadable, empty or binary.
    """
    if source is None:
        return _read_standard_library()
    if source.is_dir():
        return _read_folder(source, source.resolve().name, list(_walk(source, _is_visible)))
    if source.is_file():
        return _read_file(source)
    if source.exists():
        raise EinsearchError(f"data {source} is neither a file nor a folder; give a text file or a folder")
    raise EinsearchError(f"data {source} does not exist; give a text file or a folder of text files")


def _read_file(path: Path) -> Source:
    content = _read_bytes(path)
    if not content:
        raise EinsearchError(f"data {path} is empty; give a file with text")
    if is_binary(content):
        raise EinsearchError(
            f"data {path} is binary: it has a NUL byte, or more than {BINARY_PERCENT} % of its bytes "
            "are not ASCII text; give a text file"
        )
    return Source(path.name, tuple(_cut_long([Document(path.name, content)])), skipped=0)


def _read_standard_library() -> Source:
    root = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in _walk(root, _is_library_folder) if _is_library_file(path)]
    return _read_folder(root, f"Python {platform.python_version()} standard library", paths)


def _read_folder(root: Path, name: str, paths: list[str]) -> Source:
    documents = []
    for path in sorted(paths):
        file = root / path
        # A pipe or a socket would block the read; a dangling link is left to fail in it.
        content = b"" if file.exists() and not file.is_file() else _read_bytes(file)
        if content and not is_binary(content):
            documents.append(Document(path, content))
    skipped = len(paths) - len(documents)
    if not documents:
        raise EinsearchError(
            f"data folder {root} has no text file ({skipped} binary or empty files skipped, "
            "hidden files not counted); give a folder with text files"
        )
    return Source(name, tuple(_cut_long(documents)), skipped)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise EinsearchError(
        f"cannot read data {error.filename}: {error.strerror}; make it readable or move it out of the data"
    ) from error


def _walk(root: Path, enters: Callable[[str], bool]) -> Iterator[str]:
    """Relative POSIX paths of the visible files below ``root``, in folders whose name ``enters`` accepts."""
    # os.walk leaves linked folders unvisited, so a loop of links ends; without onerror it hides failures.
    for folder, subfolders, files in os.walk(root, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if enters(name)]
        for name in files:
            if _is_visible(name):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _is_library_folder(name: str) -> bool:
    # config-* is written when Python is built and holds the paths of that machine.
    return _is_visible(name) and name not in _LEFT_OUT_FOLDERS and not name.startswith("config-")


def _is_library_file(path: str) -> bool:
    name = path.rpartition("/")[2]
    # _sysconfigdata* is written when Python is built; with it, no two machines would share a corpus.
    left_out = name.startswith(("test_", "_sysconfigdata")) or name.endswith("_test.py")
    return name.endswith(".py") and not left_out


def is_binary(content: bytes) -> bool:
    """True for a NUL byte, or more than ``BINARY_PERCENT`` % of the bytes outside ASCII text."""
    outside = content.translate(None, delete=_TEXT_BYTES)
    return b"\0" in outside or len(outside) * 100 > len(content) * BINARY_PERCENT


def _cut_long(documents: list[Document]) -> Iterator[Document]:
    """Cuts each document that would make the validation split overshoot its share by much."""
    longest = sum(len(document.content) for document in documents) // LEAST_PIECES
    for document in documents:
        if len(document.content) <= longest:
            yield document
            continue
        pieces = cut(document.content, max(1, min(PIECE_BYTES, longest)))
        for number, piece in enumerate(pieces):
            yield Document(f"{document.path}#{number}", piece)


def cut(content: bytes, size: int) -> Iterator[bytes]:
    """Pieces of at most about ``size`` bytes that end at a line end where one lies within reach.

    >>> list(cut(b"one\\ntwo\\nthree", 6))
    [b'one\\n', b'two\\n', b'three']
    """
    start = 0
    while start < len(content):
        end = _piece_end(content, start, min(start + size, len(content)))
        yield content[start:end]
        start = end


def _piece_end(content: bytes, start: int, limit: int) -> int:
    if limit == len(content):
        return limit
    end = 1 + max(content.rfind(b"\n", start, limit), content.rfind(b"\r", start, limit))
    if end == 0:
        end = limit
        # A cut inside a UTF-8 character would turn it into several "?": continuation bytes are 10xxxxxx.
        while end < len(content) and end < limit + 3 and content[end] & 0xC0 == 0x80:
            end += 1
    elif content[end - 1 : end + 1] == b"\r\n":
        end += 1
    return end
