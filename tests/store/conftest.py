"""The stores that every test of this folder runs over, and a driver that runs a small study."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from einsearch.store import Point, SegmentRow, Store, StudyRow, TrialRow

if TYPE_CHECKING:
    from ..postgresql import Server


PLACES = ("sqlite", "memory", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of a store over all places where one can be kept, or those that its module names in PLACES.

    A store in memory has no URL to open it by.
    """
    if "place" in metafunc.fixturenames:
        by_url = "store_url" in metafunc.fixturenames
        places = getattr(metafunc.module, "PLACES", PLACES)
        metafunc.parametrize("place", [place for place in places if not (by_url and place == "memory")])


@pytest.fixture
def store_url(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a place where no store has been made yet."""
    if place == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
    else:
        server: Server = request.getfixturevalue("postgresql_server")
        with server.database() as url:
            yield url


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store; a copy of it saves most tests the migrations."""
    file = tmp_path_factory.mktemp("new") / "store.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def store(place: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A new store."""
    if place == "memory":
        with Store.in_memory() as store:
            yield store
        return
    url: str = request.getfixturevalue("store_url")
    if place == "sqlite":
        shutil.copy(request.getfixturevalue("new_store"), url.removeprefix("sqlite:///"))
    with Store.open(url) as store:
        yield store


@dataclass
class Driver:
    """A study that is being run: its store, its lease, and short calls with plausible values."""

    store: Store
    study: StudyRow
    epoch: int
    _keys: Iterator[int] = field(default_factory=count)

    def add(self, **changes: Any) -> TrialRow:
        values: dict[str, Any] = {
            "key": f"key{next(self._keys)}",
            "seed": 0,
            "kind": "search",
            "candidate": {"theta": [0.5, 0.5]},
            "label": "BTT",
            "flops_per_step": 10,
            "parameters": 7,
            "facts": {"nu": 0.5},
        }
        return self.store.add_trial(self.study.id, self.epoch, **(values | changes))

    def reserve(self, trial: TrialRow, end_step: int = 10, flops: int = 100) -> SegmentRow | None:
        step = self.trial(trial).step
        return self.store.reserve(trial.id, self.epoch, start_step=step, end_step=end_step, flops=flops, worker="cpu:0")

    def reserved(self, trial: TrialRow, end_step: int = 10, flops: int = 100) -> SegmentRow:
        segment = self.reserve(trial, end_step, flops)
        assert segment is not None
        return segment

    def settle(self, segment: SegmentRow, **changes: Any) -> None:
        values: dict[str, Any] = {
            "end_step": segment.end_step,
            "flops": segment.flops,
            "seconds": 1.5,
            "tokens": 640,
            "points": [point(segment.end_step)],
            "checkpoint": f"checkpoints/{segment.trial_id}",
            "environment": {"device": "cpu"},
            "state": "paused",
            "rung": 0,
        }
        self.store.settle(segment.id, self.epoch, **(values | changes))

    def take_over(self, owner: str = "host:2:0") -> Driver:
        """Another driver of the same study, after this one died."""
        epoch = self.store.acquire_lease(self.study.id, owner=owner, alive=lambda _owner: False)
        return Driver(self.store, self.study, epoch, self._keys)

    def trial(self, trial: TrialRow) -> TrialRow:
        (found,) = (row for row in self.store.trials(self.study.id) if row.id == trial.id)
        return found

    def books(self) -> tuple[int, int, int]:
        """Spent, lost and reserved FLOPs."""
        study = self.store.study(self.study.name)
        return study.spent, study.lost, study.reserved

    def check(self) -> None:
        assert self.store.audit(self.study.id).violations == ()


def point(step: int, **changes: Any) -> Point:
    values: dict[str, Any] = {
        "step": step,
        "flops": 10 * step,
        "train_loss": 2.5,
        "validation_loss": None,
        "seconds": 0.1 * step,
    }
    return Point(**(values | changes))


@pytest.fixture
def new_driver(store: Store) -> Callable[..., Driver]:
    """Make a study and start driving it."""

    def make(name: str = "s", *, budget: int = 1000, protocol_id: str = "p1") -> Driver:
        study = store.create_study(
            name=name, config={"lr": 1e-3}, protocol={"torch": "2.13"}, protocol_id=protocol_id, budget=budget
        )
        epoch = store.acquire_lease(study.id, owner="host:1:0", alive=lambda _owner: None)
        return Driver(store, study, epoch)

    return make


@pytest.fixture
def driver(new_driver: Callable[..., Driver]) -> Driver:
    return new_driver()


@pytest.fixture
def make_point() -> Callable[..., Point]:
    return point
