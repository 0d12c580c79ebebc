"""From the store to the view: what changed since the last look."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution

from einsearch.dashboard.figures import figures
from einsearch.dashboard.study_note import beyond_limit, study_note
from einsearch.dashboard.trials import Surroundings, show_trial
from einsearch.dashboard.view import Note, ShownStudy, ShownTrial, StoreView
from einsearch.report.rungs import study_rungs
from einsearch.report.study_data import StudyData, snapshot
from einsearch.report.summary import summarize
from einsearch.search.suggest import distributions
from einsearch.space.search_space import SearchSpace
from einsearch.store import Curve, SegmentRow, Store, StudyRow
from einsearch.store.leases import LEASE_TIMEOUT


@dataclass(frozen=True, slots=True)
class _Made:
    """A trial as it was shown last, and what it was made of."""

    of: tuple[Curve, tuple[SegmentRow, ...], Surroundings]
    shown: ShownTrial


class Refresher:
    """Keeps a view in line with a store; with `name`, with that study alone.

    Raises EinsearchError where the store cannot be read or there is no such study.
    """

    def __init__(self, store: Store, view: StoreView, runs: Path, name: str | None = None) -> None:
        self._store, self._view, self._runs, self._name = store, view, runs, name
        self._seen: dict[int, object] = {}
        self._shown: dict[int, ShownStudy] = {}
        self._made: dict[int, dict[int, _Made]] = defaultdict(dict)
        self._warned: set[int] = set()
        self.warnings: list[str] = []
        """What a person should know of the studies, said once each."""

    def refresh(self) -> bool:
        """Read what changed and show it; whether anything did. Studies that were deleted are shown no more."""
        studies = [self._store.study(self._name)] if self._name else self._store.studies()
        changed = {study.id for study in studies} != set(self._shown)
        for study in studies:
            sign = self._sign(study)
            if self._seen.get(study.id) != sign:
                self._show(snapshot(self._store, study.id))
                self._seen[study.id] = sign
                changed = True
        if changed:
            kept = {study.id for study in studies}
            for held in (self._seen, self._shown, self._made):
                for gone in held.keys() - kept:
                    held.pop(gone)
            self._view.replace([self._shown[study.id] for study in studies])
        return changed

    def _sign(self, study: StudyRow) -> object:
        """Differs when the study may have changed: its books move with every segment, the lease with progress."""
        return study, self._store.lease(study.id), self._silent(study)

    def _silent(self, study: StudyRow) -> float | None:
        """Seconds, in steps, without a sign of life from the driver of a running study; None where all is well."""
        if study.state != "running":
            return None
        lease = self._store.lease(study.id)
        silent = time.time() - lease.heartbeat_at if lease else LEASE_TIMEOUT
        return None if silent < LEASE_TIMEOUT else silent // LEASE_TIMEOUT * LEASE_TIMEOUT

    def _show(self, data: StudyData) -> None:
        study, before = data.study, self._shown.get(data.study.id)
        summary = summarize(data)
        silent = self._silent(study)
        around = Surroundings(
            study=study.name,
            study_id=study.id,
            active=study.state == "running" and silent is None,
            rungs=study_rungs(data),
            frontier=data.frontier,
            parameters=_parameters(study.config),
            folder=self._runs / study.name / "dashboard",
        )
        self._shown[study.id] = ShownStudy(
            id=study.id,
            name=study.name,
            note=Note(study_note(data, summary, silent)).replacing(before.note if before else None),
            trials=tuple(self._trials(data, around)),
            parameters=around.parameters,
            figures=figures(data, summary),
            facts={"state": "interrupted" if silent is not None else study.state},
        )
        if (warning := beyond_limit(data)) and study.id not in self._warned:
            self._warned.add(study.id)
            self.warnings.append(warning)

    def _trials(self, data: StudyData, around: Surroundings) -> list[ShownTrial]:
        segments: dict[int, list[SegmentRow]] = defaultdict(list)
        for segment in data.segments:
            segments[segment.trial_id].append(segment)
        made = self._made[data.study.id]
        shown = []
        for curve in data.curves:
            if curve.trial.kind != "search":
                continue
            of = (curve, tuple(segments[curve.trial.id]), around)
            before = made.get(curve.trial.id)
            if before is None or before.of != of:
                made[curve.trial.id] = _Made(of, show_trial(curve, of[1], around, before.shown if before else None))
            shown.append(made[curve.trial.id].shown)
        return shown


def _parameters(config: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Optuna's parameters of the search space that a study was begun with."""
    space = config.get("plan", {}).get("space")
    return distributions(SearchSpace.from_json(space)) if space else {}
