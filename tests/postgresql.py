"""A real PostgreSQL server for the tests: its own folder, a free port of the loopback, passwords asked for."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

PASSWORD = "t0p/Secret@word"  # has to be quoted in a URL
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB", "shared_buffers": "32MB"}
_SECONDS = "60"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH or where Debian has it, the newest version first."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent  # beside pg_ctl and pg_dump, which need not be on the PATH
    places = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(places, key=lambda path: float(path.parent.name), default=None)


class Server:
    """A server with databases for tests. Without fsync it still loses nothing that was committed, even by
    `restart("immediate")`: only a crash of the whole machine would."""

    def __init__(self) -> None:
        found = binaries()
        assert found is not None
        self._bin = found
        # Not in pytest's folders: those are closed to the user that a server must run as.
        self._folder = Path(tempfile.mkdtemp(prefix="einsearch-pg-"))
        self._user = _unprivileged()
        if self._user:
            shutil.chown(self._folder, self._user)
        self.port = 0
        self._free: list[str] = []
        self._created = 0

    def start(self) -> None:
        """Make the cluster and start it; a port that somebody else took meanwhile is not the last one tried."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        options = ["--username=einsearch", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        password.chmod(0o644)
        self._run("initdb", "--no-sync", "--locale=C", *options, "-D", str(self._data))
        settings = _SETTINGS | {"listen_addresses": "'127.0.0.1'", "unix_socket_directories": "''"}
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        for attempt in range(5):
            self.port = _free_port()
            try:
                self.control("start", "-o", f"-p {self.port}")
                return
            except subprocess.CalledProcessError:
                if attempt == 4:
                    raise

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def control(self, action: str, *options: str) -> None:
        """pg_ctl start, stop or restart, and wait until that is done."""
        log = str(self._folder / "log")
        self._run("pg_ctl", action, "-w", "-t", _SECONDS, "-D", str(self._data), "-l", log, *options)

    def stop(self, mode: str = "immediate") -> None:
        self.control("stop", "-m", mode)

    def begin(self) -> None:
        """Start again after `stop`, on the same port."""
        self.control("start", "-o", f"-p {self.port}")

    def restart(self, mode: str) -> None:
        self.control("restart", "-m", mode, "-o", f"-p {self.port}")

    def remove(self) -> None:
        """Stop the server, if it runs, and remove its folder."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        options: dict[str, Any] = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        # Into a file: the server keeps the streams of pg_ctl open, and would keep a pipe open with them.
        with (self._folder / "output").open("a+") as output:
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                **options,
            )
            if done.returncode:
                output.seek(0)
                raise subprocess.CalledProcessError(done.returncode, program, output.read())

    def url(self, database: str, *, user: str = "einsearch", password: str = PASSWORD) -> str:
        quoted = password.replace("/", "%2F").replace("@", "%40")
        return f"postgresql+psycopg://{user}:{quoted}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of its own, each of whose statements is a transaction."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="einsearch",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database. It is emptied and used again after: making one takes most of a second."""
        name = self._free.pop() if self._free else self._create()
        yield self.url(name)
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with self.connect(name) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")  # as in a new database
        self._free.append(name)

    def _create(self) -> str:
        self._created += 1
        name = f"test_{self._created}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that ends with the block, whatever happens in it."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _unprivileged() -> str | None:
    """Whom a server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
