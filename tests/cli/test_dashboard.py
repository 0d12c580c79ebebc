"""`einsearch dashboard`: what it refuses, and where it listens. Its pages: tests/dashboard/."""

import socket
import sys

import pytest

from einsearch.dashboard.server import DEFAULT_PORT, listen
from einsearch.errors import EinsearchError
from einsearch.store import Store


@pytest.fixture
def empty(tmp_path):
    """A store without a study, where the command looks for it."""
    url = f"sqlite:///{tmp_path}/runs/einsearch.db"
    Store.open(url).close()
    return url


@pytest.fixture
def taken():
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_where_there_is_no_store_or_no_study(cli, tmp_path):
    answer = cli("dashboard", "tiny")
    there = f"sqlite:///{tmp_path}/runs/einsearch.db"
    assert (answer.code, answer.err) == (
        2, f"einsearch: there is no store at {there} yet; `einsearch run` makes one\n"
    )  # fmt: skip
    assert not (tmp_path / "runs").exists()
    Store.open(there).close()
    answer = cli("dashboard", "tiny")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"einsearch: there is no study 'tiny' in {there}; it has no study yet\n"


def test_a_port_in_use(cli, empty, taken):
    answer = cli("dashboard", "--port", taken)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"einsearch: port {taken} on 127.0.0.1 is in use; give another --port, or none to take a free one\n"
    )


def test_a_host_that_is_not_this_machine(cli, empty):
    answer = cli("dashboard", "--host", "192.0.2.1")
    assert answer.code == 2
    assert answer.err.startswith("einsearch: cannot listen on 192.0.2.1: ")
    assert answer.err.endswith("; give an address of this machine as --host\n")
    assert answer.err.count("\n") == 1


def test_a_port_that_is_none(cli, empty):
    answer = cli("dashboard", "--port", 70000)
    assert answer.code == 2
    assert answer.err.startswith("einsearch: Invalid value for '--port'")


def test_without_optuna_dashboard(cli, empty, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    answer = cli("dashboard")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: the dashboard needs optuna-dashboard (")
    assert answer.err.endswith("): pip install 'einsearch[dashboard]'\n")


def test_a_password_is_never_shown(cli):
    answer = cli("dashboard", "--store", "postgresql://me:secret@127.0.0.1:1/db?sslpassword=secret")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "secret" not in answer.err + answer.out


def test_the_port_it_takes_by_itself():
    """The usual one or, where that is in use, a free one; each is said."""
    with listen("127.0.0.1", None, lambda *_: []) as first, listen("127.0.0.1", None, lambda *_: []) as second:
        ports = [server.server_address[1] for server in (first, second)]
        assert len(set(ports)) == 2
        assert ports[1] != DEFAULT_PORT
        assert first.address == f"http://127.0.0.1:{ports[0]}/"
        with pytest.raises(EinsearchError, match=f"port {ports[1]} on 127.0.0.1 is in use"):
            listen("127.0.0.1", ports[1], lambda *_: [])


def test_it_listens_on_loopback_unless_told():
    with listen("0.0.0.0", None, lambda *_: []) as server:
        assert server.server_address[0] == "0.0.0.0"
        assert server.address.startswith("http://127.0.0.1:")
