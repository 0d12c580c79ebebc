"""The text a proxy model learns: encoded, split by document, cached by the hash of its content."""

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from einsearch.errors import EinsearchError
from einsearch.proxy.documents import Document, Source, read_documents
from einsearch.proxy.vocabulary import NEWLINE, encode

FORMAT_VERSION = 1
"""Raise it when the vocabulary, the split or the files of the cache change."""

VALIDATION_PERCENT = 5
SPLIT_RULE = f"distinct documents by sha256 of their symbols until {VALIDATION_PERCENT} % are validation"

Symbols = npt.NDArray[np.uint8]
Split = Literal["train", "validation", "duplicate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Two splits of one source, in symbols of ``vocabulary``, that share no document; mapped from the cache.

    Attributes:
        name: the source in words, such as a file name.
        hash: sha256 in hexadecimal of what the splits follow from; equal hashes, equal splits.
        path: the folder of the cache that holds the splits.
        train: documents in source order, a newline between two.
        validation: the same, at least 5 % of the symbols of all documents.
        skipped: binary or empty files of a folder that were left out.
    """

    name: str
    hash: str
    path: Path
    train: Symbols
    validation: Symbols
    train_documents: int
    validation_documents: int
    skipped: int

    @property
    def documents(self) -> int:
        """Distinct documents of both splits together."""
        return self.train_documents + self.validation_documents

    @property
    def description(self) -> str:
        """One line for people: ``Python 3.11.7 standard library, 1,234 documents, 12.9 MB``."""
        return f"{self.name}, {self.documents:,} documents, {_size(self.train.size + self.validation.size)}"


class FileRecord(BaseModel, frozen=True):
    """One document in ``corpus.json``: ``bytes`` as read, ``symbols`` as encoded."""

    path: str
    bytes: int
    symbols: int
    split: Split


class CorpusRecord(BaseModel, frozen=True):
    """The file ``corpus.json`` of a cached corpus; ``files`` are in source order."""

    version: int
    name: str
    hash: str
    split_rule: str
    train_symbols: int
    validation_symbols: int
    files: tuple[FileRecord, ...]


def load_corpus(source: Path | None, cache: Path) -> Corpus:
    """The corpus of a text file, a folder or, for None, the standard library of the running Python.

    It is built once in ``cache / hash[:16]`` and mapped from there afterwards. The source is always
    read whole, into memory, to find its hash. Any number of processes may load it at once.

    Raises:
        EinsearchError: the source cannot be used, or the cache cannot be written.
    """
    _require_apart(source, cache)
    read = read_documents(source)
    identity = _hash(read.documents)
    folder = cache / identity[:16]
    record = _read_record(folder, identity)
    if record is None:
        record = _build(read, identity, folder)
    splits = [file.split for file in record.files]
    return Corpus(
        name=read.name,
        hash=identity,
        path=folder,
        train=np.memmap(folder / "train.bin", dtype=np.uint8, mode="r"),
        validation=np.memmap(folder / "validation.bin", dtype=np.uint8, mode="r"),
        train_documents=splits.count("train"),
        validation_documents=splits.count("validation"),
        skipped=read.skipped,
    )


def split_documents(symbols: list[Symbols], name: str) -> list[Split]:
    """The split of every document, decided by content alone; a repeated document is a ``duplicate``.

    Distinct documents go to validation in the order of the sha256 of their symbols until they hold at
    least 5 % of their symbols; at least one stays on each side. Symbols, not bytes, are compared, so
    texts that differ only in what the vocabulary drops, such as ``\\r``, are the same document.

    Raises:
        EinsearchError: ``name`` holds fewer than two distinct documents.
    """
    first: dict[bytes, int] = {}
    for index, document in enumerate(symbols):
        first.setdefault(hashlib.sha256(document.data).digest(), index)
    if len(first) < 2:
        raise EinsearchError(
            f"data {name} holds 1 distinct document, but a train and a validation split need 2; give more text"
        )
    splits: list[Split] = ["duplicate"] * len(symbols)
    for index in first.values():
        splits[index] = "train"
    total = sum(symbols[index].size for index in first.values())
    validation = 0
    for digest in sorted(first)[:-1]:
        if validation * 100 >= total * VALIDATION_PERCENT:
            break
        splits[first[digest]] = "validation"
        validation += symbols[first[digest]].size
    return splits


def _require_apart(source: Path | None, cache: Path) -> None:
    """A cache below its source would be read as data and change the hash with every run."""
    if source is not None and cache.resolve().is_relative_to(source.resolve()):
        below = cache.resolve().relative_to(source.resolve())
        if not any(part.startswith(".") for part in below.parts):
            raise EinsearchError(
                f"the cache {cache} lies inside the data folder {source} and would become data itself; "
                "give a cache folder elsewhere"
            )


def _hash(documents: tuple[Document, ...]) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, SPLIT_RULE]).encode())
    for document in documents:
        # JSON keeps the pairs apart whatever characters a path has.
        pair = [document.path, hashlib.sha256(document.content).hexdigest()]
        digest.update(json.dumps(pair).encode())
    return digest.hexdigest()


def _read_record(folder: Path, identity: str) -> CorpusRecord | None:
    """The record of a whole cached corpus; None when it is absent or damaged, and so to be built."""
    try:
        record = CorpusRecord.model_validate_json((folder / "corpus.json").read_bytes())
        train, validation = (folder / "train.bin").stat(), (folder / "validation.bin").stat()
    except (FileNotFoundError, ValidationError):
        return None
    except OSError as error:
        raise EinsearchError(
            f"cannot read the corpus cache {error.filename}: {error.strerror}; "
            "make it readable or give another cache folder"
        ) from error
    sizes_match = (train.st_size, validation.st_size) == (record.train_symbols, record.validation_symbols)
    return record if sizes_match and record.hash == identity else None


def _build(source: Source, identity: str, folder: Path) -> CorpusRecord:
    symbols = [encode(document.content) for document in source.documents]
    splits = split_documents(symbols, source.name)
    train, validation = _join(symbols, splits, "train"), _join(symbols, splits, "validation")
    record = CorpusRecord(
        version=FORMAT_VERSION,
        name=source.name,
        hash=identity,
        split_rule=SPLIT_RULE,
        train_symbols=len(train),
        validation_symbols=len(validation),
        files=tuple(
            FileRecord(path=document.path, bytes=len(document.content), symbols=encoded.size, split=split)
            for document, encoded, split in zip(source.documents, symbols, splits, strict=True)
        ),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "train.bin", train)
        _write(folder / "validation.bin", validation)
        # Last, so that a build that was cut short leaves no record and is done again.
        _write(folder / "corpus.json", json.dumps(record.model_dump(), indent=1).encode())
    except OSError as error:
        raise EinsearchError(
            f"cannot write the corpus cache {folder}: {error.strerror}; make it writable or give another cache folder"
        ) from error
    return record


def _join(symbols: list[Symbols], splits: list[Split], wanted: Split) -> bytes:
    chosen = [document.data for document, split in zip(symbols, splits, strict=True) if split == wanted]
    return bytes([NEWLINE]).join(chosen)


def _write(path: Path, content: bytes) -> None:
    """Replaces ``path`` in one step.

    The name of the folder fixes what its files hold, so processes that build it at once, or mend it
    while another has it mapped, replace a file by an equal one and need no lock.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _size(symbols: int) -> str:
    """A number of one-byte symbols in bytes, kB or MB."""
    for unit, divisor in (("MB", 1e6), ("kB", 1e3)):
        if symbols >= divisor:
            return f"{symbols / divisor:.1f} {unit}"
    return f"{symbols} bytes"
