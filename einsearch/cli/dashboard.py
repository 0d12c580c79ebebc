"""`einsearch dashboard`: the studies of a store in optuna-dashboard."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import Annotated

import typer

from einsearch.cli.options import RunsOption, StoreOption
from einsearch.dashboard.pages import application
from einsearch.dashboard.refresh import Refresher
from einsearch.dashboard.server import DEFAULT_PORT, listen
from einsearch.dashboard.view import StoreView
from einsearch.errors import EinsearchError
from einsearch.search.mirror import quiet_optuna
from einsearch.search.whereabouts import RUNS, default_store_url
from einsearch.store import Store

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_IDLE_SHARE = 4
"""A look at the store is followed by a rest of so many times its length, that training keeps the cores."""


def dashboard(
    study: Annotated[
        str | None, typer.Argument(help="Name of a study; by default all are shown.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help=f"By default {DEFAULT_PORT} or, where that is in use, a free one."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all: whoever reaches it may read everything.")
    ] = "127.0.0.1",
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between looks at the store.")] = 5.0,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
) -> None:
    """Show studies in optuna-dashboard with notes, pictures and figures, also while they run."""
    quiet_optuna()
    view = StoreView()
    pages = application(view)
    with Store.open(store or default_store_url(runs), create=False) as opened:
        refresher = Refresher(opened, view, runs, study)
        refresher.refresh()
        with listen(host, port, pages) as server:
            path = f"dashboard/studies/{opened.study(study).id}" if study else ""
            _say(f"Dashboard of {opened.url}: {server.address}{path} (Ctrl-C ends it)")
            if host not in _LOOPBACK:
                _say(f"It listens on {host}, without a password: whoever reaches it may read all of it.")
            threading.Thread(target=server.serve_forever, daemon=True).start()
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                _keep_fresh(refresher, every)
            except KeyboardInterrupt:
                _say("Stopped.")
            finally:
                server.shutdown()


def _keep_fresh(refresher: Refresher, every: float) -> None:
    """Look at the store until Ctrl-C; trouble with it is said once, and the pages show what was read last."""
    said: str | None = None
    rest = every
    while True:
        while refresher.warnings:
            _say(f"Note: {refresher.warnings.pop()}")
        time.sleep(rest)
        began = time.monotonic()
        try:
            refresher.refresh()
        except EinsearchError as error:
            if str(error) != said:
                _say(f"Not refreshed: {error}")
            said = str(error)
        else:
            if said is not None:
                _say("Refreshed again.")
            said = None
        rest = max(every, _IDLE_SHARE * (time.monotonic() - began))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
