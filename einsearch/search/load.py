"""A simulated study, run by the real driver, and what that cost the driver."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import text

from einsearch.errors import EinsearchError
from einsearch.search.config import StudyConfig
from einsearch.search.driver import Driver, Mirror, Observer
from einsearch.search.mirror import OptunaMirror, delete_mirror
from einsearch.search.plan import Plan, make_plan
from einsearch.search.simulated import SimulatedExecutor, simulated_setting
from einsearch.search.study import is_alive, stop_on_signals, this_process
from einsearch.store import Audit, Store
from einsearch.store.engine import parse_url

TOP_RUNG = 10**15
"""Training FLOPs of a simulated trial at its top rung: widths of some hundreds, so that candidates do not run out."""

_THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is simulated. segment_seconds: on average; 0: none, the driver sets the pace."""

    workers: int
    trials: int
    segment_seconds: float = 0.0
    space: str = "two-factor"
    sampler: str = "tpe"
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "trials"):
            if getattr(self, name) < 1:
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.segment_seconds <= 3600:
            raise EinsearchError(f"segment-seconds is {self.segment_seconds:g}; it must lie in 0 to 3600")

    @property
    def name(self) -> str:
        """Of the study: it says that it is simulated wherever it is listed."""
        return f"simulated-{self.trials}-trials-{self.workers}-workers-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds of the suggestions from trial number `begin` on, up to the next row's."""

    begin: int
    count: int
    median: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a load came to.

    finished: False where a signal stopped it. trials: search trials made. seconds: wall-clock, of the driver; by part
    in `parts`, where `rest` is what no part counts. cpu_seconds: of this process meanwhile; load_seconds: its
    wall-clock for making results up. idle_share: of the workers' time, from the end of a segment to the next one.
    database_bytes: that the study added. peak_memory_bytes: of this process.
    """

    finished: bool
    trials: int
    segments: int
    seconds: float
    cpu_seconds: float
    load_seconds: float
    parts: dict[str, float]
    suggestions: tuple[Latency, ...]
    idle_share: float
    database_bytes: int
    peak_memory_bytes: int
    audit: Audit

    @property
    def segments_per_second(self) -> float:
        return self.segments / self.seconds


def run_load(load: Load, url: str, folder: Path, observer: Observer) -> Measured:
    """Run a simulated study in the store at `url`, where it stays.

    Raises EinsearchError where the store has one of its name.
    """
    config, plan = planned(load)
    setting = simulated_setting(config.protocol)
    executor = SimulatedExecutor(load.workers, config.protocol, seconds=load.segment_seconds, seed=load.seed)
    with Store.open(url) as store:
        before = database_bytes(store, url)
        study = store.create_study(
            name=load.name,
            config=config.to_json() | {"plan": plan.to_json()},
            protocol=setting.to_json(),
            protocol_id=setting.id,
            budget=config.budget,
        )
        epoch = store.acquire_lease(study.id, owner=this_process(), alive=is_alive)
        try:
            optuna: Mirror = OptunaMirror(url, study.name, plan.space, plan.rungs)
            driver = Driver(
                store=store,
                study=study,
                epoch=epoch,
                config=config,
                plan=plan,
                setting=setting,
                executor=executor,
                checkpoints=folder,
                deterministic=load.deterministic,
                observer=observer,
                mirror=optuna,
            )
            began, cpu_began = time.perf_counter(), time.process_time()
            with stop_on_signals(driver):
                finished = driver.run()
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        finally:
            executor.close()
            store.release_lease(study.id, epoch)
        curves = driver.state.curves
        parts = dict(driver.state.times.seconds)
        return Measured(
            finished=finished,
            trials=sum(curve.trial.kind == "search" for curve in curves),
            segments=len(store.segments(study.id)),
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            load_seconds=executor.load_seconds,
            parts=parts | {"rest": seconds - sum(parts.values())},
            suggestions=latencies(driver.state.times.suggestions),
            idle_share=executor.idle_seconds / (executor.idle_seconds + executor.busy_seconds),
            database_bytes=database_bytes(store, url) - before,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            audit=store.audit(study.id),
        )


def delete_load(load: Load, url: str) -> None:
    """Remove the simulated study of :func:`run_load` from the store, its Optuna mirror included."""
    with Store.open(url, create=False) as store:
        store.delete_study(load.name)
    delete_mirror(url, load.name)


def planned(load: Load) -> tuple[StudyConfig, Plan]:
    """A study whose budget holds about so many trials, promotions included."""
    rungs = tuple(TOP_RUNG // 3**n for n in (2, 1, 0))
    config = StudyConfig(
        name=load.name, space=load.space, sampler=load.sampler, seed=load.seed, rungs=rungs, budget=100 * TOP_RUNG
    )
    plan = make_plan(config)
    budget = plan.ladder_flops + round(load.trials * plan.flops_per_candidate)
    values: dict[str, Any] = {name: getattr(config, name) for name in config.__dataclass_fields__}
    config = StudyConfig(**(values | {"budget": budget}))
    return config, make_plan(config)


def latencies(seconds: list[float]) -> tuple[Latency, ...]:
    """The suggestions by thousand."""
    found = []
    for begin in range(0, len(seconds), _THOUSAND):
        part = seconds[begin : begin + _THOUSAND]
        p99 = quantiles(part, n=100, method="inclusive")[-1] if len(part) > 1 else part[0]
        found.append(Latency(begin=begin, count=len(part), median=median(part), p99=p99))
    return tuple(found)


def database_bytes(store: Store, url: str) -> int:
    """Size of the database: of the server's whole one, or of the SQLite file with its log."""
    parsed = parse_url(url)
    if parsed.drivername == "sqlite":
        assert parsed.database is not None
        return sum(path.stat().st_size for path in Path(parsed.database).parent.glob(Path(parsed.database).name + "*"))
    with store._read() as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
