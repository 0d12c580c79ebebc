"""A real study, trained once for all tests of this folder, and a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from einsearch.dashboard.refresh import Refresher
from einsearch.dashboard.view import ShownStudy, StoreView
from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.store import Store

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
    "--virtual-time-budget=8000",
)


@pytest.fixture(scope="session")
def trained(write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `runs` hold the finished tiny study."""
    folder = tmp_path_factory.mktemp("trained")
    config = read_study_file(write_tiny_study(folder))
    store = f"sqlite:///{folder}/runs/einsearch.db"
    assert Study.open(config, store=store, runs=folder / "runs", device="cpu").run(workers=1)
    return folder


@dataclass
class Shown:
    """A store, the view of it, and what keeps them in line."""

    store: Store
    view: StoreView
    refresher: Refresher

    @property
    def study(self) -> ShownStudy:
        (found,) = (self.view.shown(frozen._study_id) for frozen in self.view.get_all_studies())
        assert found is not None
        return found


@pytest.fixture
def show() -> Iterator[Callable[[Path], Shown]]:
    """Show the store in the `runs` of a folder, read once."""
    stores: list[Store] = []

    def one(folder: Path) -> Shown:
        store = Store.open(f"sqlite:///{folder}/runs/einsearch.db", create=False)
        stores.append(store)
        view = StoreView()
        refresher = Refresher(store, view, folder / "runs")
        refresher.refresh()
        return Shown(store, view, refresher)

    yield one
    for store in stores:
        store.close()


@pytest.fixture
def shown(trained: Path, tmp_path: Path, show: Callable[[Path], Shown]) -> Shown:
    """The tiny study, in a store that a test may change."""
    shutil.copytree(trained / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("checkpoints", ".data"))
    return show(tmp_path)


@dataclass(frozen=True)
class Page:
    """A page after its scripts ran, what the browser logged, and all that the page itself asked for."""

    dom: str
    log: str
    asked_for: list[str]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str], Page]:
    """Open an address in a browser without a screen."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def page(address: str) -> Page:
        network = tmp_path / "network.json"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", f"--log-net-log={network}", "--dump-dom"]
        done = subprocess.run([*command, address], capture_output=True, text=True, timeout=180, check=True)
        return Page(done.stdout, done.stderr, asked_for(network, address))

    return page


def asked_for(network: Path, address: str) -> list[str]:
    """The addresses that the page asked for, without those that the browser asks for by itself."""
    origin = "/".join(address.split("/")[:3])
    events = json.loads(network.read_text(encoding="utf-8"))["events"]
    params = [event.get("params", {}) for event in events]
    return [each["url"] for each in params if "url" in each and each.get("initiator", "").startswith(origin)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `einsearch dashboard` as a process in the test's folder; it is ended after the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "EINSEARCH_STORE"}
        process = subprocess.Popen(
            [sys.executable, "-m", "einsearch", "dashboard", *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()
