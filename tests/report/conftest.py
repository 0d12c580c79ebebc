"""Small studies, booked through a real store, with losses from a formula."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from einsearch.proxy.flops import flops_per_step, parameter_count
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.report.study_data import StudyData, read_study
from einsearch.search.facts import facts_of
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse
from einsearch.store import Point, SegmentRow, Store, StudyRow, TrialRow

RUNGS = (9 * 10**9, 27 * 10**9, 81 * 10**9)
BUDGET = 10**12
CONTEXT, BATCH = 64, 32
CONFIG = {"space": "paper", "budget": BUDGET, "data": None, "sampler": "random", "seed": 0, "plan": {"rungs": RUNGS}}
SETTING = Setting(
    protocol=Protocol(),
    code="0.1.0+abc",
    data_name="a corpus",
    data_hash="d" * 64,
    torch="2.13.0",
    device="cpu",
    precision="float32",
)


def dense_loss(flops: float) -> float:
    """What dense reaches in these studies: a power law, so that a multiplier is known exactly."""
    return 4.0 * (flops / 10**9) ** -0.1


def candidate_loss(flops: float, multiplier: float) -> float:
    """The loss of a candidate that saves so much."""
    return dense_loss(flops * multiplier)


@dataclass
class Recorder:
    """A study that is being run."""

    url: str
    store: Store
    study: StudyRow
    epoch: int

    def add(
        self, theta: str = "btt", *, width: int = 32, kind: str = "search", seed: int = 0, **changes: Any
    ) -> TrialRow:
        attention, _, ffn = theta.partition(" / ")
        candidate = Candidate.of_sites(
            {"attention": parse(attention), "ffn": parse(ffn or attention)}, ModelShape(width=width)
        )
        values: dict[str, Any] = {
            "key": candidate.key,
            "seed": seed,
            "kind": kind,
            "candidate": candidate.to_json(),
            "label": candidate.label,
            "flops_per_step": flops_per_step(candidate, CONTEXT, BATCH),
            "parameters": parameter_count(candidate, CONTEXT),
            "facts": facts_of(candidate, CONTEXT),
        }
        return self.store.add_trial(self.study.id, self.epoch, **(values | changes))

    def reserve(self, trial: TrialRow, to_flops: int) -> SegmentRow:
        step = self.store.trial(self.study.id, trial.key, seed=trial.seed).step
        end = to_flops // trial.flops_per_step
        segment = self.store.reserve(
            trial.id,
            self.epoch,
            start_step=step,
            end_step=end,
            flops=(end - step) * trial.flops_per_step,
            worker="cpu:0",
        )
        assert segment is not None
        return segment

    def settle(
        self, trial: TrialRow, segment: SegmentRow, multiplier: float, state: str, rung: int, reason: str | None = None
    ) -> None:
        """Book a segment with losses at its end and half a segment before."""
        steps = [(segment.start_step + segment.end_step) // 2, segment.end_step]
        points = [
            Point(
                step=step,
                flops=step * trial.flops_per_step,
                train_loss=3.0,
                validation_loss=candidate_loss(step * trial.flops_per_step, multiplier),
                seconds=0.1 * step,
            )
            for step in steps
        ]
        self.store.settle(
            segment.id,
            self.epoch,
            end_step=segment.end_step,
            flops=segment.flops,
            seconds=2.0,
            tokens=1000 * (segment.end_step - segment.start_step),
            points=[] if state == "failed" else points,
            checkpoint="somewhere",
            environment={"device": "cpu"},
            state=state,
            rung=rung,
            reason=reason,
        )

    def dense(self, width: int = 32, to_flops: int = 2 * RUNGS[-1], multiplier: float = 1.0) -> TrialRow:
        """A dense run of the ladder, evaluated at every doubling of FLOPs."""
        trial = self.add("dense", width=width, kind="ladder")
        targets = [to_flops // 2**n for n in range(6, -1, -1) if to_flops // 2**n >= 8 * trial.flops_per_step]
        for target in targets:
            state = "complete" if target == targets[-1] else "queued"
            self.settle(trial, self.reserve(trial, target), multiplier, state, -1)
        return trial

    def search(self, theta: str = "btt", *, multiplier: float = 1.0, rungs: int = len(RUNGS), **where: Any) -> TrialRow:
        """A candidate trained through so many rungs."""
        trial = self.add(theta, **where)
        for rung in range(rungs):
            state = "complete" if rung == len(RUNGS) - 1 else "paused"
            self.settle(trial, self.reserve(trial, RUNGS[rung]), multiplier, state, rung)
        return trial

    def fail(self, reason: str, **where: Any) -> TrialRow:
        trial = self.add(**where)
        self.settle(trial, self.reserve(trial, RUNGS[0]), 1.0, "failed", -1, reason)
        return trial

    def data(self) -> StudyData:
        return read_study(self.url, self.study.name)


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store; a copy of it saves most tests the migrations."""
    file = tmp_path_factory.mktemp("new") / "store.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def new_recorder(new_store: Path, tmp_path: Path) -> Callable[..., Recorder]:
    """Make a study and start running it."""

    def make(name: str = "tiny", config: dict[str, Any] = CONFIG, budget: int = BUDGET) -> Recorder:
        file = tmp_path / "store.db"
        if not file.exists():
            shutil.copy(new_store, file)
        url = f"sqlite:///{file}"
        store = Store.open(url)
        stores.append(store)
        study = store.create_study(
            name=name, config=config, protocol=SETTING.to_json(), protocol_id=SETTING.id, budget=budget
        )
        return Recorder(url, store, study, store.acquire_lease(study.id, owner="host:1:0", alive=lambda _owner: None))

    stores: list[Store] = []
    yield make
    for store in stores:
        store.close()


@pytest.fixture
def recorder(new_recorder: Callable[..., Recorder]) -> Recorder:
    return new_recorder()


@pytest.fixture
def full(recorder: Recorder) -> StudyData:
    """A finished study that has one of everything."""
    recorder.dense(16, RUNGS[-1])
    recorder.dense(32)
    recorder.search("btt", multiplier=1.5)
    recorder.search("(0.5|0.5|0|0.5|0.5|0|0)", multiplier=0.8, rungs=2)
    recorder.search("low-rank(1/2)", multiplier=0.6, rungs=1)
    recorder.search("btt(1/4)", width=48, multiplier=1.1, rungs=1)
    recorder.fail("the loss is not finite at step 7", theta="btt", width=64)
    lost = recorder.add("btt", width=80)
    recorder.store.lose(recorder.reserve(lost, RUNGS[0]).id, recorder.epoch, "worker cpu:0 died")
    recorder.store.set_study_state(recorder.study.id, recorder.epoch, "finished", seconds=125.0)
    return recorder.data()
