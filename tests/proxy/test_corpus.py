"""Reading documents, the split without overlap, and the cache: concurrent, damaged, unreadable."""

import os
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import CorpusRecord, load_corpus, split_documents
from einsearch.proxy.documents import cut, is_binary, read_documents
from einsearch.proxy.vocabulary import decode, encode

REPOSITORY = Path(__file__).parents[2]


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def texts(count: int) -> dict[str, bytes]:
    return {f"{number:03}.txt": f"text number {number}\n".encode() * 5 for number in range(count)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", texts(40))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def paths_of(source: Path | None) -> list[str]:
    return [document.path for document in read_documents(source).documents]


def assert_refused(source: Path, cache: Path, message: str) -> None:
    with pytest.raises(EinsearchError, match=f"^{re.escape(message)}$"):
        load_corpus(source, cache)


def test_folder_is_read_in_path_order_without_hidden_and_binary_files(tmp_path: Path, cache: Path) -> None:
    root = write_folder(
        tmp_path / "data",
        texts(30)
        | {
            "sub/b.txt": b"in a folder\n",
            ".hidden": b"hidden",
            ".git/config": b"hidden",
            "nul.bin": b"text\0text",
            "latin.bin": b"abc" + b"\xff" * 3,
            "empty.txt": b"",
        },
    )
    assert paths_of(root) == [*sorted(texts(30)), "sub/b.txt"]
    corpus = load_corpus(root, cache)
    assert (corpus.name, corpus.skipped, corpus.documents) == ("data", 3, 31)


def test_loops_of_links_end_and_pipes_are_not_read(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    source = read_documents(folder)
    assert (len(source.documents), source.skipped) == (40, 1)


def test_standard_library_is_read_without_tests_and_installed_packages() -> None:
    paths = paths_of(None)
    assert {"ast.py", "json/decoder.py", "unittest/case.py"} < set(paths)
    assert paths == sorted(paths, key=lambda path: path.partition("#")[0])
    for part in ("site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"):
        assert not [path for path in paths if part in path.split("/")]
    assert not [path for path in paths if path.rpartition("/")[2].startswith(("test_", "_sysconfigdata"))]
    assert read_documents(None).name.startswith("Python 3.")


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        (b"plain text\r\n\t", False),
        ("ça va, été là déjà, naïf et bête comme toujours".encode(), False),
        ("\u0442\u0435\u043a\u0441\u0442".encode(), True),
        (b"x" * 70 + b"\xff" * 30, False),
        (b"x" * 69 + b"\xff" * 31, True),
        (b"x" * 99 + b"\0", True),
    ],
)
def test_is_binary(content: bytes, binary: bool) -> None:
    assert is_binary(content) is binary


def test_single_file_is_cut_at_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_bytes(b"".join(b"line %d\r\n" % number for number in range(1000)))
    source = read_documents(file)
    assert source.name == "book.txt"
    assert len(source.documents) >= 20
    assert b"".join(document.content for document in source.documents) == file.read_bytes()
    assert all(document.content.endswith(b"\r\n") for document in source.documents)
    assert source.documents[3].path == "book.txt#3"


def test_large_file_is_cut_into_pieces_of_64_kib(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"0123456789abcde\n" * 2**17)
    assert {len(document.content) for document in read_documents(tmp_path / "book.txt").documents} == {2**16}


def test_a_file_that_dominates_its_folder_is_cut(folder: Path) -> None:
    (folder / "zzz.txt").write_bytes(b"".join(b"line %d\n" % number for number in range(2000)))
    paths = paths_of(folder)
    assert paths[:40] == sorted(texts(40))
    assert len(paths) >= 58
    assert paths[40:42] == ["zzz.txt#0", "zzz.txt#1"]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_pieces_join_to_the_whole(content: bytes, size: int) -> None:
    pieces = list(cut(content, size))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= size + 3 for piece in pieces)


@given(st.text(st.sampled_from("ab\né€𝄞\r"), max_size=60), st.integers(1, 20))
def test_cut_keeps_characters_and_line_ends_whole(text: str, size: int) -> None:
    pieces = [piece.decode() for piece in cut(text.encode(), size)]
    assert not any(left.endswith("\r") and right.startswith("\n") for left, right in pairwise(pieces))


def test_train_is_in_source_order_joined_by_newlines(folder: Path, cache: Path) -> None:
    corpus = load_corpus(folder, cache)
    record = CorpusRecord.model_validate_json((corpus.path / "corpus.json").read_bytes())
    expected = {
        split: "\n".join(texts(40)[file.path].decode() for file in record.files if file.split == split)
        for split in ("train", "validation")
    }
    assert decode(corpus.train) == expected["train"]
    assert decode(corpus.validation) == expected["validation"]
    assert (corpus.train_documents, corpus.validation_documents) == (38, 2)
    assert [file.path for file in record.files] == sorted(texts(40))
    assert record.split_rule == "distinct documents by sha256 of their symbols until 5 % are validation"


def test_duplicates_are_kept_once_even_when_only_line_ends_differ(tmp_path: Path, cache: Path) -> None:
    files = texts(30)
    copies = {f"copy/{path}": content.replace(b"\n", b"\r\n") for path, content in files.items()}
    corpus = load_corpus(write_folder(tmp_path / "data", files | copies), cache)
    train, validation = decode(corpus.train), decode(corpus.validation)
    for content in files.values():
        # A newline ends the line before "text", so that 1 is not found in 11.
        seen = [f"\n{content.decode()}" in f"\n{split}" for split in (train, validation)]
        assert sorted(seen) == [False, True]
    assert corpus.documents == 30


documents = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=30)


@given(documents)
def test_split_shares_no_document_and_has_its_size(contents: list[bytes]) -> None:
    symbols = [encode(content) for content in contents]
    distinct = {document.tobytes() for document in symbols}
    if len(distinct) == 1:
        with pytest.raises(EinsearchError, match=r"^data x holds 1 distinct document, but .* need 2; give"):
            split_documents(symbols, "x")
        return
    splits = split_documents(symbols, "x")
    sides: dict[str, set[bytes]] = {"train": set(), "validation": set(), "duplicate": set()}
    for document, split in zip(symbols, splits, strict=True):
        sides[split].add(document.tobytes())
    assert sides["train"]
    assert sides["validation"]
    assert not sides["train"] & sides["validation"]
    assert sides["train"] | sides["validation"] == distinct
    share = sum(map(len, sides["validation"])) / sum(map(len, distinct))
    assert share >= 0.05 or len(sides["train"]) == 1


@given(documents.filter(lambda contents: len(set(map(decode, map(encode, contents)))) > 1), st.randoms())
def test_split_does_not_depend_on_order(contents: list[bytes], source: random.Random) -> None:
    def validation(contents: list[bytes]) -> set[bytes]:
        symbols = [encode(content) for content in contents]
        splits = split_documents(symbols, "x")
        return {document.tobytes() for document, split in zip(symbols, splits, strict=True) if split == "validation"}

    shuffled = source.sample(contents, len(contents))
    assert validation(contents) == validation(shuffled)


def test_hash_follows_content_paths_and_order(tmp_path: Path, cache: Path) -> None:
    files = texts(40)
    swapped = files | {"000.txt": files["001.txt"], "001.txt": files["000.txt"]}
    changed = files | {"000.txt": files["000.txt"] + b"!"}
    renamed = {f"{'new' if path == '000.txt' else ''}{path}": content for path, content in files.items()}
    variants = {"a": files, "b": files, "c": swapped, "d": changed, "e": renamed}
    corpora = {name: load_corpus(write_folder(tmp_path / name, variant), cache) for name, variant in variants.items()}
    assert corpora["a"].hash == corpora["b"].hash
    assert (corpora["a"].name, corpora["b"].name) == ("a", "b")
    assert len({corpus.hash for corpus in corpora.values()}) == 4
    assert re.fullmatch("[0-9a-f]{64}", corpora["a"].hash)
    assert corpora["a"].path == cache / corpora["a"].hash[:16]


def test_second_load_maps_the_cache_without_encoding(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_corpus(folder, cache)

    def fail(data: bytes) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr("einsearch.proxy.corpus.encode", fail)
    second = load_corpus(folder, cache)
    assert decode(second.train) == decode(first.train)
    assert (second.hash, second.documents) == (first.hash, first.documents)
    assert not second.train.flags.writeable
    (folder / "000.txt").write_bytes(b"new")
    with pytest.raises(AssertionError, match="encoded again"):
        load_corpus(folder, cache)


@pytest.mark.parametrize("name", ["train.bin", "validation.bin", "corpus.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_damaged_cache_is_rebuilt(folder: Path, cache: Path, name: str, damage: str) -> None:
    corpus = load_corpus(folder, cache)
    train, validation = decode(corpus.train), decode(corpus.validation)
    file = corpus.path / name
    whole = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(whole[:-1] if damage == "cut" else b"")
    mended = load_corpus(folder, cache)
    assert file.read_bytes() == whole
    assert (decode(mended.train), decode(mended.validation)) == (train, validation)
    assert sorted(path.name for path in corpus.path.iterdir()) == [
        "corpus.json",
        "train.bin",
        "validation.bin",
    ]


def test_two_processes_build_the_same_cache(folder: Path, cache: Path) -> None:
    # Each waits for the other at the moment of writing, so that both do build.
    code = """
import sys, time
from pathlib import Path
import einsearch.proxy.corpus as module

folder, cache, own, other = map(Path, sys.argv[1:])
build = module._build

def wait_and_build(*arguments):
    own.touch()
    deadline = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return build(*arguments)

module._build = wait_and_build
corpus = module.load_corpus(folder, cache)
print(corpus.hash, corpus.train.size, corpus.validation.size)
"""
    signs = [str(folder.parent / "first"), str(folder.parent / "second")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(cache), *order],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for order in (signs, signs[::-1])
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert [errors for _, errors in results] == ["", ""]
    corpus = load_corpus(folder, cache)
    expected = f"{corpus.hash} {corpus.train.size} {corpus.validation.size}\n"
    assert [output for output, _ in results] == [expected, expected]
    assert len(list(corpus.path.iterdir())) == 3


def test_missing_path(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "nowhere"
    assert_refused(path, cache, f"data {path} does not exist; give a text file or a folder of text files")


def test_pipe(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert_refused(path, cache, f"data {path} is neither a file nor a folder; give a text file or a folder")


def test_empty_file(tmp_path: Path, cache: Path) -> None:
    path = write_folder(tmp_path, {"empty.txt": b""}) / "empty.txt"
    assert_refused(path, cache, f"data {path} is empty; give a file with text")


def test_binary_file(tmp_path: Path, cache: Path) -> None:
    path = write_folder(tmp_path, {"a.out": b"ELF\0"}) / "a.out"
    assert_refused(
        path,
        cache,
        f"data {path} is binary: it has a NUL byte, or more than 30 % of its bytes are not ASCII text; "
        "give a text file",
    )


def test_folder_without_text(tmp_path: Path, cache: Path) -> None:
    root = write_folder(tmp_path / "data", {"a.out": b"ELF\0", "empty": b"", ".hidden": b"text"})
    assert_refused(
        root,
        cache,
        f"data folder {root} has no text file (2 binary or empty files skipped, hidden files not counted); "
        "give a folder with text files",
    )


def test_repeated_text(tmp_path: Path, cache: Path) -> None:
    path = write_folder(tmp_path, {"same.txt": b"ab\n" * 4096}) / "same.txt"
    write_folder(tmp_path / "data", {"a": b"x", "b": b"x"})
    message = "holds 1 distinct document, but a train and a validation split need 2; give more text"
    assert_refused(tmp_path / "data", cache, f"data data {message}")
    assert load_corpus(path, cache).documents == 2  # whole pieces are equal, the last one is shorter


def test_unreadable_file(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Patched, since tests that run as root can read everything.
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    message = "Permission denied; make it readable or move it out of the data"
    assert_refused(folder, cache, f"cannot read data {folder / '000.txt'}: {message}")
    assert_refused(folder / "000.txt", cache, f"cannot read data {folder / '000.txt'}: {message}")


def test_unreadable_folder(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert_refused(
        folder,
        cache,
        f"cannot read data {folder}: Permission denied; make it readable or move it out of the data",
    )


def test_dangling_link(folder: Path, cache: Path) -> None:
    (folder / "dangling").symlink_to(folder / "nowhere")
    assert_refused(
        folder,
        cache,
        f"cannot read data {folder / 'dangling'}: No such file or directory; "
        "make it readable or move it out of the data",
    )


def test_cache_inside_the_data(folder: Path) -> None:
    assert_refused(
        folder,
        folder / "cache",
        f"the cache {folder / 'cache'} lies inside the data folder {folder} and would become data itself; "
        "give a cache folder elsewhere",
    )
    assert load_corpus(folder, folder / ".cache").hash == load_corpus(folder, folder / ".cache").hash


def test_cache_that_cannot_be_written(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(EinsearchError, match=r"^cannot write the corpus cache .*/[0-9a-f]{16}: No space left"):
        load_corpus(folder, cache)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_cache_that_is_a_file(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, {"file": b""})
    with pytest.raises(
        EinsearchError,
        match=r"^cannot read the corpus cache .*: Not a directory; make it readable or give another cache",
    ):
        load_corpus(folder, tmp_path / "file")


@pytest.mark.parametrize(
    ("count", "size", "description"),
    [
        (20, 20, "data, 20 documents, 418 bytes"),
        (1234, 10, "data, 1,234 documents, 13.6 kB"),
        (20, 60_000, "data, 20 documents, 1.2 MB"),
    ],
)
def test_description(tmp_path: Path, cache: Path, count: int, size: int, description: str) -> None:
    files = {str(number): str(number).encode().ljust(size) for number in range(count)}
    assert load_corpus(write_folder(tmp_path / "data", files), cache).description == description


@pytest.mark.parametrize(
    ("imported", "heavy"), [("einsearch.proxy.corpus, einsearch.proxy.batches", "torch"), ("json", "json")]
)
def test_modules_do_not_import_torch(imported: str, heavy: str) -> None:
    """The second case shows that the check can fail."""
    code = f"import sys, {imported}; sys.exit({heavy!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert result.returncode == (imported == heavy)
