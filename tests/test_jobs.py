"""What goes along with a job, what its command is, what is refused before anything is sent."""

import http.server
import shlex
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from einsearch import job_files
from einsearch.errors import EinsearchError
from einsearch.job_files import ARCHIVE, Parcel, Sent
from einsearch.job_order import entrypoint, refuse
from einsearch.jobs import Jobs
from einsearch.search.config import read_study_file


def unpacked(parcel: Parcel, folder: Path) -> Path:
    parcel.write(folder)
    with tarfile.open(folder / ARCHIVE) as archive:
        archive.extractall(folder / "there", filter="data")
    return folder / "there"


def test_a_study_file_travels_with_its_space_and_its_data(tiny_study, tmp_path_factory):
    (tiny_study.parent / "text" / ".gitignore").write_text("*.txt\n")
    parcel = Parcel()
    sent = parcel.put_study(tiny_study)
    there = unpacked(parcel, tmp_path_factory.mktemp("sent"))
    config, copy = read_study_file(tiny_study), read_study_file(there / sent.path)
    assert Path(copy.data or "").is_relative_to(there)
    assert Path(copy.space).read_text() == Path(config.space).read_text()
    for file in (tiny_study.parent / "text").iterdir():
        assert (Path(copy.data or "") / file.name).read_bytes() == file.read_bytes()
    assert (copy.name, copy.budget, copy.rungs, copy.ladder, copy.protocol) == (
        config.name, config.budget, config.rungs, config.ladder, config.protocol
    )  # fmt: skip


def test_files_of_one_name_do_not_meet(tiny_study, tmp_path, tmp_path_factory):
    """The study's own text, and another folder of that name as --data."""
    (tmp_path / "other" / "text").mkdir(parents=True)
    (tmp_path / "other" / "text" / "a.txt").write_text("other")
    parcel = Parcel()
    parcel.put_study(tiny_study)
    sent = parcel.put("--data", str(tmp_path / "other" / "text"))
    assert isinstance(sent, Sent)
    there = unpacked(parcel, tmp_path_factory.mktemp("sent"))
    assert [file.name for file in (there / sent.path).iterdir()] == ["a.txt"]
    assert len(list(Path(read_study_file(there / "study.yaml").data or "").iterdir())) == 4


def test_what_is_not_here_stays_as_it_is():
    """A shipped space, or a path that only the head has."""
    parcel = Parcel()
    assert parcel.put("--space", "btt") == "btt"
    assert parcel.put("--data", "/of/the/head") == "/of/the/head"
    assert parcel.put("--study", ".") == "."
    assert (bool(parcel), parcel.digest) == (False, None)


def test_the_digest_is_of_names_and_contents(tiny_study):
    def digest() -> str | None:
        parcel = Parcel()
        parcel.put_study(tiny_study)
        return parcel.digest

    first = digest()
    (tiny_study.parent / "text" / "0.txt").touch()
    assert digest() == first
    (tiny_study.parent / "text" / "0.txt").write_text("changed")
    assert digest() != first


def test_data_that_is_too_large(tiny_study, monkeypatch):
    monkeypatch.setattr(job_files, "UPLOAD_BYTES", 10_000)
    with pytest.raises(EinsearchError, match=r"text 0 MB would go with the job, and 0 MB can; put it where the head"):
        Parcel().put_study(tiny_study)


@pytest.fixture
def words(tmp_path: Path) -> Callable[[str], list[str]]:
    """Gives the words of an entry's last command, as a shell reads them, and where it runs; nothing is unpacked."""
    programs = {"einsearch": 'printf "%s\\n" einsearch "$@"; pwd', "tar": "exit 0"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def read(entry: str) -> list[str]:
        environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
        command = ["/bin/sh", "-c", entry]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd="/")
        return answer.stdout.replace(str(tmp_path), "/home/me").splitlines()

    return read


def test_the_command_of_a_job(words):
    assert words(entrypoint([("--budget", "1e14"), ("--deterministic", None)])) == [
        "einsearch", "run", "--backend=ray", "--address=auto", "--runs=/home/me/einsearch-runs",
        "--budget=1e14", "--deterministic", "/",
    ]  # fmt: skip
    assert words(entrypoint([("--backend", "tune")], command="resume")) == [
        "einsearch", "resume", "--address=auto", "--runs=/home/me/einsearch-runs", "--backend=tune", "/"
    ]  # fmt: skip
    assert words(entrypoint([("--backend", "local"), ("--runs", "/a b/c")])) == [
        "einsearch", "run", "--backend=local", "--runs=/a b/c", "/"
    ]  # fmt: skip


def test_the_command_of_a_job_with_files(words, tmp_path):
    nasty = 'it\'s $HOME; rm -rf "x"'
    entry = entrypoint([("--data", Sent(nasty)), ("--study", nasty)], study_file=Sent("s.yaml"), parcel="0a1b")
    place = "/home/me/einsearch-runs/.sent/0a1b"
    assert words(entry)[-4:] == [f"--data={place}/{nasty}", f"--study={nasty}", f"{place}/s.yaml", place]
    unpack = shlex.split(entry.replace('"$HOME"', "/home/me"))[:9]
    assert unpack == ["mkdir", "-p", place, "&&", "tar", "-xf", ARCHIVE, "-C", place]
    elsewhere = entrypoint([("--data", Sent("t")), ("--runs", f"{tmp_path}/a b")], parcel="0a1b")
    assert words(elsewhere)[-3:] == [
        "--data=/home/me/a b/.sent/0a1b/t", "--runs=/home/me/a b", "/home/me/a b/.sent/0a1b"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@db/einsearch",
        "postgresql://me@db/einsearch?sslpassword=secret",
        "postgresql://me:sec/ret@db/x",
        "postgresql://me:secret@db:port/einsearch",
        "s3://key:secret@bucket",
    ],
)
@pytest.mark.parametrize("option", ["--store", "--storage"])
def test_a_password_is_refused_and_not_shown(option, url):
    with pytest.raises(EinsearchError, match=f"leave the password out of {option} and set EINSEARCH_STORE") as caught:
        refuse([("--study", "x"), (option, url)])
    assert "secret" not in str(caught.value)
    assert "ret@" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "path"), [("--runs", "runs"), ("--storage", "../here"), ("--store", "sqlite:///runs/einsearch.db")]
)
def test_a_path_that_means_nothing_on_the_head(option, path):
    with pytest.raises(
        EinsearchError, match=f"{option} {path} is a path on the head node, where the job runs; give an"
    ):
        refuse([(option, path)])


def test_what_may_be_sent():
    refuse([("--store", "postgresql+psycopg://me@db:5432/einsearch"), ("--storage", "s3://bucket/path")])
    refuse([("--store", "sqlite:////shared/einsearch.db"), ("--runs", "/shared/runs"), ("--data", "text")])


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:8265", "ray://127.0.0.1:10001", "http://", "http://me@host"]
)
def test_an_address_that_is_none(address):
    pytest.importorskip("ray")
    with pytest.raises(EinsearchError, match="is no address of a job server; give http://HOST:8265"):
        Jobs(address)


def test_an_address_where_nothing_listens():
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        EinsearchError, match=rf"no job server answers at http://127.0.0.1:{port} \(.*refused.*\); start"
    ):
        Jobs(f"http://127.0.0.1:{port}/")


def test_a_server_that_is_silent(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr("einsearch.jobs._PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EinsearchError, match=rf"no job server answers at {address} \(.*timed out.*\)"):
            Jobs(address)


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        (200, b"<html>hello", "Expecting value"),
        (200, b"{}", "it is none of Ray's"),
        (200, b"[]", "it is none of Ray's"),
        (200, b'{"ray_version": "much"}', "Invalid version"),
        (404, b"", "404"),
        (500, b"", "500"),
        (401, b"", "Authentication required"),
    ],
)
def test_a_server_of_something_else(code, answer, said):
    pytest.importorskip("ray")

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(EinsearchError, match=f"the job server at {address} cannot be used: .*{said}") as caught:
            Jobs(address)
        server.shutdown()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("missing", "said"), [("ray", "the Ray backend needs Ray"), ("aiohttp", "the whole of Ray")])
def test_without_ray_or_its_job_client(monkeypatch, missing, said):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing != "ray":
        pytest.importorskip("ray")
    with pytest.raises(EinsearchError, match=rf"{said} \(.*\): pip install 'einsearch\[ray\]'"):
        Jobs()
