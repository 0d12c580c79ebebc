"""A study, from asking to answer: the object behind `einsearch run` and for use in a notebook."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from einsearch.errors import EinsearchError
from einsearch.layers.choice import require_cache
from einsearch.proxy.batches import require_length
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import devices, setting_for
from einsearch.proxy.location import Location, below, parse_location, require_writable
from einsearch.proxy.protocol import Setting
from einsearch.search.backend import Backend
from einsearch.search.config import StudyConfig, write_flops
from einsearch.search.driver import Driver, Observer
from einsearch.search.mirror import OptunaMirror, delete_mirror
from einsearch.search.patient_mirror import PatientMirror
from einsearch.search.plan import Plan, make_plan
from einsearch.search.whereabouts import RUNS, default_store_url, is_alive, this_process
from einsearch.space.space_file import load_space
from einsearch.store import Curve, Store, StudyRow
from einsearch.store.errors import StoreUnreachable

__all__ = ["RUNS", "Study", "default_store_url", "is_alive", "stored_config", "this_process"]


class _Silent:
    def update(self, driver: Driver) -> None:
        return None


class Study:
    """One study in a store. Make one with :meth:`open`; it is new, stopped, or finished.

    >>> study = Study.open(StudyConfig(budget=10**12))     # doctest: +SKIP
    >>> study.run()                                        # doctest: +SKIP
    >>> study.dataframe()                                  # doctest: +SKIP
    """

    def __init__(
        self, config: StudyConfig, plan: Plan, setting: Setting, corpus: Corpus, store_url: str, runs: Path
    ) -> None:
        self.config, self.plan, self.setting, self.corpus = config, plan, setting, corpus
        self.store_url, self.runs = store_url, runs

    @classmethod
    def open(
        cls,
        config: StudyConfig,
        *,
        store: str | None = None,
        runs: Path = RUNS,
        device: str = "auto",
        here: bool = True,
    ) -> Study:
        """A new study, planned, or the stored one of that name if it was begun with the same settings.

        here: whether the device has to be one of this machine; else it is `cpu` or `cuda`, of a cluster. Loads the
        data. Nothing is written to the store before :meth:`run`. Raises EinsearchError for a
        configuration that cannot run (budget too small, no such data, other settings than stored, ...).
        """
        url = store or default_store_url(runs)
        stored = _stored(url, config.name)
        if stored is None:
            return cls._with_data(config, make_plan(config), url, runs, device, here)
        plan = Plan.from_json(stored.config["plan"], stored.budget)
        _check_space(config, plan, stored)
        study = cls._with_data(config, plan, url, runs, device, here)
        study._check_same(stored)
        return study

    @classmethod
    def _with_data(cls, config: StudyConfig, plan: Plan, url: str, runs: Path, device: str, here: bool) -> Study:
        corpus = load_corpus(Path(config.data) if config.data else None, runs / ".data")
        require_length(corpus, context=config.protocol.context)
        setting = setting_for(config.protocol, corpus, devices(device)[0] if here else torch.device(device))
        return cls(config, plan, setting, corpus, url, runs)

    @classmethod
    def load(
        cls, name: str, *, store: str | None = None, runs: Path = RUNS, device: str = "auto", here: bool = True
    ) -> Study:
        """The stored study of that name, with its present budget; the file of its search space is not read again."""
        url = store or default_store_url(runs)
        with Store.open(url, create=False) as opened:
            row = opened.study(name)
        study = cls._with_data(
            stored_config(row), Plan.from_json(row.config["plan"], row.budget), url, runs, device, here
        )
        study._check_same(row)
        return study

    @property
    def folder(self) -> Path:
        """Checkpoints and reports of this study."""
        return self.runs / self.config.name

    def row(self) -> StudyRow | None:
        """The study as the store has it; None before the first run."""
        return _stored(self.store_url, self.config.name)

    def run(
        self,
        *,
        workers: int | None = None,
        backend: Backend | None = None,
        storage: str | None = None,
        deterministic: bool = False,
        budget: int | None = None,
        observer: Observer | None = None,
    ) -> bool:
        """Run or continue the study; True where it finished, False where it was stopped by a signal.

        backend: what trains; by default `workers` processes of this machine, one a core or one a GPU. storage: where
        checkpoints are written, a folder or a URI (s3://...); by default the study's folder. deterministic: results
        are committed in the order of reservation, so that the whole study repeats (one worker always does). budget:
        raises the budget of a stored study.

        Raises EinsearchError where another driver runs the study, it was begun with other settings, or
        no work can be done.
        """
        backend = backend or Backend(workers=workers)
        checkpoints = self.checkpoints(storage)
        # What cannot run is refused before anything is stored.
        backend.places(self.setting)
        backend.require_nodes(self.setting, checkpoints)
        require_writable(checkpoints)
        if self.config.implementation == "auto":
            require_cache()
        with Store.open(self.store_url) as store:
            row = self._row_to_run(store)
            epoch = store.acquire_lease(row.id, owner=this_process(), alive=is_alive)
            with _leased(store, row.id, epoch):
                if budget is not None:
                    store.set_budget(row.id, epoch, budget)
                row = store.study(row.name)  # after the lease: what the last driver left is charged by now
                mirror = PatientMirror(
                    self.store_url,
                    lambda: OptunaMirror(self.store_url, row.name, self.plan.space, self.plan.rungs),
                )
                executor = backend.executor(
                    self.setting,
                    self.corpus,
                    data=Path(self.config.data) if self.config.data else None,
                    cache=self.runs / ".data",
                    folder=checkpoints,
                    scratch=self.folder.absolute(),
                    fixed=deterministic,
                )
                driver = Driver(
                    store=store,
                    study=row,
                    epoch=epoch,
                    config=self.config,
                    plan=self.plan,
                    setting=self.setting,
                    executor=executor,
                    checkpoints=checkpoints,
                    deterministic=deterministic,
                    observer=observer or _Silent(),
                    mirror=mirror,
                )
                try:
                    with stop_on_signals(driver), backend.errors():
                        return driver.run()
                finally:
                    executor.close()
                    mirror.close()

    def checkpoints(self, storage: str | None) -> Location:
        """Where the checkpoints of this study are written."""
        return below(
            self.folder.absolute() if storage is None else below(parse_location(storage), self.config.name),
            "checkpoints",
        )

    def _row_to_run(self, store: Store) -> StudyRow:
        existing = next((s for s in store.studies() if s.name == self.config.name), None)
        if existing is None:
            return store.create_study(
                name=self.config.name,
                config=self.config.to_json() | {"plan": self.plan.to_json()},
                protocol=self.setting.to_json(),
                protocol_id=self.setting.id,
                budget=self.config.budget,
            )
        self._check_same(existing)
        return existing

    def _check_same(self, row: StudyRow) -> None:
        """EinsearchError where the stored study of this name was begun with other settings, or is simulated."""
        if row.simulated:
            raise EinsearchError(f"study {row.name!r} is simulated: it cannot be trained; choose another --study")
        for name, value in self.config.to_json().items():
            before = row.budget if name == "budget" else row.config[name]
            if _plain(before) != _plain(value):
                shown = [write_flops(v) if name == "budget" else repr(v) for v in (before, value)]
                raise EinsearchError(
                    f"study {row.name!r} has {name} {shown[0]}, not {shown[1]}; choose another --study, or continue "
                    f"it as it is: einsearch resume {row.name}" + (" --budget ..." if name == "budget" else "")
                )
        then = Setting.from_json(row.protocol)
        for name, value in self.setting.to_json().items():
            if name != "data_name" and then.to_json()[name] != value:
                raise EinsearchError(
                    f"study {row.name!r} was begun with {name} {then.to_json()[name]!r}, now it is {value!r}: "
                    "losses would not compare; choose another --study"
                )

    def curves(self) -> list[Curve]:
        """The stored trials with their curves."""
        with Store.open(self.store_url, create=False) as store:
            return store.curves(store.study(self.config.name).id)

    def delete(self) -> None:
        """Remove the study from the store, its Optuna mirror included; files are left."""
        with Store.open(self.store_url, create=False) as store:
            store.delete_study(self.config.name)
        delete_mirror(self.store_url, self.config.name)


def _check_space(config: StudyConfig, plan: Plan, row: StudyRow) -> None:
    """EinsearchError where the file of the search space says something else than when the study was begun."""
    if config.space != row.config["space"]:
        return  # said in other words by _check_same
    space = load_space(config.space)
    if (space if space.widths else space.with_widths(plan.space.widths)) != plan.space:
        raise EinsearchError(
            f"search space {config.space} was changed since study {row.name!r} was begun; choose another --study, "
            f"or continue it as it was: einsearch resume {row.name}"
        )


def _stored(url: str, name: str) -> StudyRow | None:
    with Store.open(url) as store:
        return next((study for study in store.studies() if study.name == name), None)


def stored_config(row: StudyRow) -> StudyConfig:
    """The configuration a stored study was begun with; its budget is the present one."""
    asked = {name: value for name, value in row.config.items() if name != "plan"}
    return StudyConfig.from_json(asked | {"budget": row.budget}, Setting.from_json(row.protocol).protocol)


@contextmanager
def _leased(store: Store, study_id: int, epoch: int) -> Iterator[None]:
    """Give the lease back at the end; a store that is away cannot take it, and it lapses by itself."""
    away = False
    try:
        yield
    except StoreUnreachable:
        away = True
        raise
    finally:
        if not away:
            store.release_lease(study_id, epoch)


@contextmanager
def stop_on_signals(driver: Driver) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the driver in order; a second one raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if driver.stopping:
            raise KeyboardInterrupt
        driver.stop()

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them."""
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
