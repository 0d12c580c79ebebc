"""The pages of a study that was really trained, in a browser, from a server that is a process of its own."""

import json
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from threading import Thread

import pytest

from einsearch.dashboard.figures import FIGURES
from einsearch.dashboard.server import listen
from einsearch.store import Store


def line_of(process):
    """The next line that the server says."""
    ready, _, _ = select.select([process.stdout], [], [], 120)
    assert ready, "it says nothing"
    return process.stdout.readline()


def address_of(process):
    """What the server says that one should open."""
    line = line_of(process)
    found = re.fullmatch(r"Dashboard of sqlite:///.*: (http://127\.0\.0\.1:\d+/\S*) \(Ctrl-C ends it\)\n", line)
    assert found, (line, process.poll(), process.stderr.read() if process.poll() is not None else "")
    return found[1]


def get(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("checkpoints", ".data"))


def test_the_pages_show_the_study(runs, start, browse):
    server = start("tiny")
    study = address_of(server)
    home = study.partition("dashboard/")[0]
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        row = store.study("tiny")
        curves = {curve.trial.label: curve for curve in store.curves(row.id)}
    assert study == f"{home}dashboard/studies/{row.id}"
    kronecker = curves["Kronecker"]
    said = {
        f"{home}dashboard": ["1. tiny", "Direction: MAXIMIZE"],
        study: [*(title for title, _ in FIGURES.values()), "dense frontier", "compute multiplier", "rung 1", "History"],
        f"{study}/note": ["reached validation loss", "Leaders", "Dense runs and finals", "Kronecker"],
        f"{study}/trials?numbers={kronecker.trial.number}": [
            f"Trial {kronecker.trial.number} ", "Note", f"einsearch show {kronecker.trial.key} --study tiny",
            "(0.5|0.5|0|0.5|0.5|0|0)", f"{kronecker.losses[-1][1]:.4f}", "structure.svg", "curve.svg", "Complete",
        ],
        f"{study}/analytics": ["Hyperparameter Relationships"],
    }  # fmt: skip
    for address, texts in said.items():
        page = browse(address)
        assert "Uncaught" not in page.log, page.log
        assert "Error" not in page.log, page.log
        for text in texts:
            assert text in page.dom, (address, text)
        assert f"{home}static/bundle.js" in page.asked_for
        assert [url for url in page.asked_for if not url.startswith(home)] == []
        if "numbers=" in address:
            cells = {cell.strip() for cell in re.findall(r"<td[^>]*>([^<]*)</td>", page.dom)}
            assert {"(0.5|0.5|0|0.5|0.5|0|0)", "0.5, 1, 0.5", "width 16, depth 1", "a8 b8 d4 e4"} <= cells
            pictures = set(re.findall(r"/artifacts/\d+/\d+/[0-9a-f-]+", page.dom))
            assert len(pictures) == 2
            assert {f"{home}{picture[1:]}" for picture in pictures} <= set(page.asked_for)
            assert all(get(f"{home}{picture[1:]}").startswith(b"<?xml") for picture in pictures)
    assert len(list((runs / "tiny" / "dashboard").glob("*.svg"))) == 2


def test_that_these_checks_can_fail(browse):
    page = b"<script>missing()</script><img src='http://localhost:1/elsewhere.png'>"

    def bad(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [page]

    with listen("127.0.0.1", None, bad) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = browse(server.address)
        server.shutdown()
    assert "Uncaught" in found.log
    assert "http://localhost:1/elsewhere.png" in found.asked_for


@pytest.mark.slow  # in parts: test_pages_follow_the_store, and the one of a finished study above
def test_a_study_is_followed_while_it_runs(tiny_study, start, tmp_path):
    text = tiny_study.read_text()
    tiny_study.write_text(text.replace("budget: 2e8", "budget: 7e8").replace("6.4e7", "5e8"))
    command = [sys.executable, "-m", "einsearch", "run", tiny_study, "--workers", "1", "--device", "cpu", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 300
        while not has_study(tmp_path / "runs" / "einsearch.db"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        home = address_of(start("--every", "0.5")).partition("dashboard/")[0]
        seen = []
        while "finished" not in seen:
            assert time.monotonic() < deadline
            shown = json.loads(get(f"{home}api/studies/1"))
            (state,) = (each["value"] for each in shown["user_attrs"] if each["key"] == "state")
            seen += [state] if state not in seen else []
            time.sleep(0.2)
    assert run.returncode == 0
    assert seen[-2:] == ["running", "finished"]
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * 4


def has_study(path):
    if not path.exists():
        return False
    with Store.open(f"sqlite:///{path}") as store:
        return bool(store.studies())


def test_pages_follow_the_store_and_ctrl_c_ends_the_server(runs, start):
    server = start("--every", "0.5")
    home = address_of(server)
    assert b'"state", "value": "finished"' in get(f"{home}api/studies/1")
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        epoch = store.acquire_lease(1, owner="host:1:0", alive=lambda _owner: None)
        store.set_study_state(1, epoch, "stopped", seconds=1.0)
    deadline = time.monotonic() + 60
    while b'"state", "value": "stopped"' not in get(f"{home}api/studies/1"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=60)
    assert (server.returncode, out, err) == (0, "Stopped.\n", "")


def test_trouble_with_the_store_is_said_once_and_the_pages_stay(runs, start):
    server = start("tiny", "--every", "0.5")
    home = address_of(server).partition("dashboard/")[0]
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        store.delete_study("tiny")
    assert line_of(server).startswith("Not refreshed: there is no study 'tiny' in sqlite:///")
    time.sleep(2)
    assert b"Kronecker" in get(f"{home}api/studies/1")
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=60)
    assert (server.returncode, out, err) == (0, "Stopped.\n", "")
